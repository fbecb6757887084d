"""The command that reads images: what it prints, what it does with images that it cannot read, how fast it starts."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import htrcompress
from htrcompress import HtrError
from htrcompress.catalogue import DEFAULT
from htrcompress.catalogue.find import locate
from htrcompress.cli import run_command
from htrcompress.transcribe import TranscribeOptions, expand, transcribe

ROOT = Path(__file__).parent.parent


@pytest.fixture
def images(tmp_path: Path, picture: Callable[..., NDArray[np.uint8]]) -> Path:
    """A folder of three images and other files."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, width in (("b.png", 300), ("a.JPG", 80), ("c.tif", 150)):
        Image.fromarray(picture(width)).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    return folder


def run(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "htrcompress.transcribe", *map(str, arguments)]
    root = str(Path(htrcompress.__file__).parents[1])
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, timeout=60, env=os.environ | {"PYTHONPATH": root}
    )


def test_a_folder_stands_for_its_images(images: Path) -> None:
    assert [path.name for path in expand([images])] == ["a.JPG", "b.png", "c.tif"]
    assert expand([images / "c.tif", images])[0] == images / "c.tif"
    assert expand([Path("missing.png")]) == [Path("missing.png")]


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(HtrError, match="no images to read"):
        expand([])
    with pytest.raises(HtrError, match=f"{tmp_path.name} holds no images"):
        expand([tmp_path])


def test_it_prints_paths_and_texts(images: Path, tiny_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = transcribe(TranscribeOptions([images], tiny_onnx))
    readings = htrcompress.load(tiny_onnx).read(sorted(images.glob("*.[pJt][!x]*")))
    expected = [f"{path}\t{reading.text}" for path, reading in zip(expand([images]), readings, strict=True)]
    assert capsys.readouterr().out.splitlines() == expected
    assert max(map(len, expected)) > 80  # no wrapping
    assert [(image.text, image.score) for image in result.images] == [(r.text, r.score) for r in readings]
    assert result.exit_code == 0


def test_an_unreadable_image_does_not_stop_the_others(images: Path, tiny_onnx: Path) -> None:
    (images / "b.png").write_bytes(b"broken")
    ran = run("images", "missing.png", "--model", tiny_onnx, folder=images.parent)
    assert ran.returncode == 2
    assert [line.split("\t")[0] for line in ran.stdout.splitlines()] == ["images/a.JPG", "images/c.tif"]
    errors = ran.stderr.splitlines()
    assert len(errors) == 2
    assert "images/b.png" in errors[0]
    assert errors[1] == "error: no image at missing.png"


def test_json_is_the_last_line_on_stdout(images: Path, tiny_onnx: Path) -> None:
    ran = run("images", "--model", tiny_onnx, "--json", folder=images.parent)
    assert ran.returncode == 0
    (line,) = ran.stdout.splitlines()
    result = json.loads(line)
    assert [image["path"] for image in result["images"]] == ["images/a.JPG", "images/b.png", "images/c.tif"]
    assert [f"{image['path']}\t{image['text']}" for image in result["images"]] == ran.stderr.splitlines()


def test_what_follows_two_dashes_is_a_name(images: Path, tiny_onnx: Path) -> None:
    shutil.copy(images / "b.png", images / "--my-line.png")
    done = run("--model", tiny_onnx, "--", "--my-line.png", folder=images)
    assert done.returncode == 0 and done.stdout.startswith("--my-line.png\t"), done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_that_cannot_be_written_is_told(images: Path, tiny_onnx: Path) -> None:
    command = [sys.executable, "-m", "htrcompress.transcribe", str(images), "--model", str(tiny_onnx)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 2 and done.stderr == "error: the output: No space left on device\n"


def test_nobody_needs_to_read_to_the_end(images: Path, tiny_onnx: Path) -> None:
    for number in range(300):
        shutil.copy(images / "b.png", images / f"d{number}.png")
    command = [sys.executable, "-m", "htrcompress.transcribe", str(images), "--model", str(tiny_onnx), "--batch", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline().startswith(str(images))  # while most are not read yet
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "\0.png"], ids=["long", "nul"])
def test_names_that_no_disk_can_have_are_told(name: str, tiny_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(transcribe, "images", [name, "--model", str(tiny_onnx)])
    captured = capsys.readouterr()
    assert ended.value.code == 2 and captured.err.startswith("error: ") and captured.err.count("\n") == 1


@pytest.mark.skipif(os.sep != "/", reason="names are bytes on POSIX alone")
def test_a_name_that_is_not_utf8_is_read_like_others(images: Path, tiny_onnx: Path) -> None:
    odd = images / os.fsdecode(b"caf\xe9.png")
    shutil.copy(images / "b.png", odd)
    done = run(odd, images / "b.png", "--model", tiny_onnx)
    first, second = done.stdout.splitlines()
    assert done.returncode == 0 and first.partition("\t")[2] == second.partition("\t")[2] and not done.stderr


def test_what_systems_leave_in_a_folder_is_not_read(images: Path) -> None:
    for name in ("._b.png", ".hidden.png", "Thumbs.db"):
        (images / name).write_bytes(b"no image")
    (images / "dead.png").symlink_to("nowhere")
    assert [path.name for path in expand([images])] == ["a.JPG", "b.png", "c.tif"]


def test_without_a_model_the_newest_run_is_taken_or_the_model_that_ships(
    images: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(images.parent)
    assert transcribe(TranscribeOptions([images])).model == locate(DEFAULT)
    assert DEFAULT in capsys.readouterr().err
    assert transcribe(TranscribeOptions([images], DEFAULT)).model == locate(DEFAULT)
    assert not capsys.readouterr().err
    for name in ("student", "teacher"):
        target = images.parent / "runs" / "1-distill" / f"{name}.safetensors"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_model, target)
    assert transcribe(TranscribeOptions([images])).model.name == "student.safetensors"


@pytest.mark.parametrize("arguments", [[], ["images", "--bogus", 1], ["images", "--model", "missing.onnx"]])
def test_mistakes_end_with_status_2(images: Path, arguments: list[object]) -> None:
    ran = run(*arguments, folder=images.parent)
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_it_starts_small(images: Path, tiny_onnx: Path) -> None:
    """A line of text within 150 MB, and without the modules that take seconds to import."""
    code = """if True:
        import sys, htrcompress.transcribe as t
        t.transcribe(t.TranscribeOptions([t.Path(sys.argv[1])], t.Path(sys.argv[2])))
        assert not {"torch", "accelerate", "transformers", "onnx", "urllib.request"} & set(sys.modules)
        print(open("/proc/self/status").read(), file=sys.stderr)"""
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    command = [sys.executable, "-c", code, str(images / "b.png"), str(tiny_onnx)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = re.search(r"VmHWM:\s+(\d+)", ran.stderr)
    assert peak
    assert int(peak[1]) < 150_000


def test_one_name_that_is_not_utf_8_costs_one_line(images: Path, tiny_onnx: Path) -> None:
    try:
        shutil.copy(images / "b.png", os.fsencode(images) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this disk takes no such name")
    (images / "c.tif").write_bytes(b"broken")
    paths = [os.fsencode(path) for path in sorted(images.iterdir()) if path.suffix != ".txt"]
    command = [sys.executable, "-m", "htrcompress.transcribe", *paths, "--model", str(tiny_onnx), "--json"]
    ran = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60)
    assert ran.returncode == 2, ran.stderr
    found = json.loads(ran.stdout)["images"]
    assert [bool(image["text"]) for image in found] == [True, True, False, True]
    assert os.fsencode(found[3]["path"]) == paths[3]


def test_light_ink_is_hinted_at_and_turned(images: Path, tiny_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grey = np.full((32, 300), 230, np.uint8)
    for start in range(10, 290, 9):
        grey[10:20, start : start + 3] = 30
    for name, pixels in (("dark.png", grey), ("light.png", 255 - grey)):
        Image.fromarray(pixels).save(images / name)
    paths = [images / "dark.png", images / "light.png"]
    dark, light = transcribe(TranscribeOptions(paths, tiny_onnx)).images
    assert light.hint and not dark.hint and light.text != dark.text
    assert "light.png" in capsys.readouterr().err
    dark, light = transcribe(TranscribeOptions(paths, tiny_onnx, invert="auto")).images
    assert light.text == dark.text and light.score == pytest.approx(dark.score) and not light.hint


def test_each_hint_is_told_once(images: Path, tiny_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, light = np.full((500, 400), 230, np.uint8), np.full((32, 300), 20, np.uint8)
    light[10:20, 10:290:8] = 230
    for name, pixels in (("page.png", page), ("leaf.png", page), ("light.png", light)):
        Image.fromarray(pixels).save(images / name)
    transcribe(TranscribeOptions([images / name for name in ("page.png", "leaf.png", "light.png")], tiny_onnx))
    hints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hint: ")]
    assert len(hints) == 2 and "page.png and 1 others" in hints[0] and "--write" in hints[0] and "--invert" in hints[1]


def test_an_unknown_decoder_is_named(images: Path, tiny_onnx: Path) -> None:
    with pytest.raises(HtrError, match="guess"):
        transcribe(TranscribeOptions([images], tiny_onnx, decoder="guess"))

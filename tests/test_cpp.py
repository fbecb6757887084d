"""`export/cpp`: its scaling is ours to the bit, damaged files are refused, and it reads what `transcribe` reads."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from cpp_builds import Parts, passes, run
from numpy.typing import NDArray
from PIL import Image

from htrcompress import image
from htrcompress.card import Card
from htrcompress.errors import HtrError

ROOT = Path(__file__).parents[1]
CARD = Card("tiny", {"family": "gated"}, tuple(' aé𝒳"\\'), height=32, stride=4, max_width=1000, metrics={"cer": np.nan})


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.write_bytes(b"P5\n# grey\n%d %d\n255\n" % pixels.shape[::-1] + pixels.tobytes())
    return path


def noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Noise, or black and white only, whose means are often exact halves."""
    values = rng.integers(0, 256, (height, width), dtype=np.uint8)
    return values if rng.random() < 0.5 else (values // 128 * 255).astype(np.uint8)


def test_scaling_is_ours_to_the_bit(parts: Parts, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = [(int(a), int(b), int(c), int(d)) for a, b, c, d in rng.integers(1, 90, (150, 4))]
    sizes += [(1, 1, 64, 64), (64, 64, 1, 1), (7, 3000, 32, 9), (2000, 3, 5, 700), (32, 90, 32, 90), (61, 2, 122, 4)]
    jobs, expected = [], []
    for number, (h, w, height, width) in enumerate(sizes):
        pixels = noise(rng, h, w)
        jobs.append((save(tmp_path / f"{number}.pgm", pixels), height, width, tmp_path / f"{number}.raw"))
        expected.append(image.scale(pixels, height, width))
    assert parts("scale", *jobs) == [f"ok {height} {width}" for _, height, width, _ in jobs]
    for job, pixels in zip(jobs, expected, strict=True):
        assert job[3].read_bytes() == pixels.tobytes(), f"{job[0]} at {pixels.shape}"


def test_lines_get_the_width_that_they_get_here_and_wide_ones_are_refused(parts: Parts, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    jobs, expected = [], []
    for number, (h, w) in enumerate([*rng.integers(1, 200, (60, 2)), (1000, 1), (1, 999), (30, 900), (31, 901)]):
        path = save(tmp_path / f"{number}.pgm", noise(rng, int(h), int(w)))
        jobs.append((path, 32, 960, tmp_path / f"{number}.raw"))
        try:
            pixels = image.resize_to_height(image.load_grey(path), 32, 960, str(path))
            expected.append(f"ok {pixels.shape[0]} {pixels.shape[1]}")
        except HtrError as error:
            expected.append(f"error: {error}")
    assert parts("line", *jobs) == expected
    assert 0 < sum(line.startswith("error") for line in expected) < 40


def test_every_kind_of_pgm(parts: Parts, tmp_path: Path) -> None:
    files = {
        "plain": b"P2\n# a comment\n3 2 # another\n255\n0 1 2\n253 254 255\n",
        "binary": b"P5 3 2 255\n\x00\x01\x20\xfd\xfe\xff",
        "of 4 bits": b"P2 3 1 15 0 7 15",
        "of 1 bit": b"P5 2 1 1\n\x00\x01",
        "with more after it": b"P5 1 1 255\n\x20P5 1 1 255\n\x07",
    }
    jobs = []
    for name, data in files.items():
        path = tmp_path / f"{name}.pgm"
        path.write_bytes(data)
        with Image.open(path) as picture:
            jobs.append((path, picture.height, picture.width, tmp_path / f"{name}.raw"))
    assert all(line.startswith("ok") for line in parts("scale", *jobs))
    for path, height, width, raw in jobs:
        found = np.frombuffer(raw.read_bytes(), np.uint8).reshape(height, width)
        assert np.abs(found.astype(int) - image.load_grey(path).astype(int)).max() <= 1, path


def test_damaged_pgm_files_are_refused_in_one_sentence(parts: Parts, tmp_path: Path) -> None:
    damaged = [b"", b"P", b"P5", b"P5 1 #", b"P6 1 1 255\n\0\0\0", b"P5 2 2 255\n\0\0\0", b"P5 2 1 65535\n\0\0"]
    damaged += [b"P5 0 5 255\n", b"P5 -1 5 255\n", b"P5 2 1 0\n\0\0", b"P5 1 1 15\n\x10", b"P5 10000 10000 255\n"]
    damaged += [b"P5 99999 99999 255\n", b"P5 999999999999 1 255\n"]
    damaged += [b"P2 1 1 255 256", b"P2 2 1 255 1", b"P2 1 1 255 x", b"P2 1 1 15 16"]
    (tmp_path / "circle.pgm").symlink_to("circle.pgm")
    absent = [tmp_path / "missing.pgm", tmp_path, tmp_path / ("a" * 300), tmp_path / "circle.pgm"]
    jobs = [(path, 1, 1, tmp_path / "out") for path in absent]
    for number, data in enumerate(damaged):
        (tmp_path / f"{number}.pgm").write_bytes(data)
        jobs.append((tmp_path / f"{number}.pgm", 1, 1, tmp_path / "out"))
    lines = parts("scale", *jobs)
    assert len(lines) == len(jobs)
    for line, (path, *_) in zip(lines, jobs, strict=True):
        assert line.startswith("error: ") and str(path) in line, line
    assert not (tmp_path / "out").exists()


def test_cards_are_read_as_they_are_written(parts: Parts, tmp_path: Path) -> None:
    escaped = json.dumps(json.loads(CARD.to_json()), indent=1)  # é and 𝒳 as escapes
    jobs = []
    for number, text in enumerate((CARD.to_json(), escaped)):
        (tmp_path / f"{number}.json").write_text(text, encoding="utf-8")
        jobs.append([tmp_path / f"{number}.json"])
    assert parts("card", *jobs) == ['ok tiny 32 4 1000  aé𝒳"\\'] * 2


def test_damaged_cards_are_refused_in_one_sentence(parts: Parts, tmp_path: Path) -> None:
    good = CARD.to_json()
    damaged = ["", "{", "[" * 100_000, '{"a":' * 100_000, good + "x", good[:-1], "null", "[1]", "[1 2]", '{"a" 1}']
    damaged += ["nul", "-", "+1", "{1: 2}", '"\\ud800"', '"\\u12', '"\\x"', '"\x01"', '{"htrcompress": 2}']
    damaged += [good.replace("32", wrong) for wrong in ("32.5", "NaN", '"32"', "0", "1e9", "-32")]
    damaged += [good.replace('"charset"', '"characters"'), json.dumps({**json.loads(good), "charset": [1]})]
    files = [text.encode() for text in damaged]
    files += [
        good.encode().replace("é".encode(), bad) for bad in (b"\xe9", b"\xc1\x81", b"\xed\xa0\x80", b"\xf5\x80\x80\x80")
    ]
    certain = len(files)
    rng = np.random.default_rng(2)
    for _ in range(300):  # a byte changed anywhere: read or refused, but never a crash
        data = bytearray(good.encode())
        data[rng.integers(len(data))] = rng.integers(256)
        files.append(bytes(data))
    jobs = [[tmp_path / f"{number}.json"] for number in range(len(files))]
    for (path,), data in zip(jobs, files, strict=True):
        path.write_bytes(data)
    lines = parts("card", *jobs)
    assert len(lines) == len(jobs)
    assert [line for line in lines[:certain] if not line.startswith("error: ")] == []
    assert all(line.startswith(("error: ", "ok ")) for line in lines)


def test_find_package_finds_the_library(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(mine CXX)\nfind_package(htr REQUIRED)\n"
        "add_executable(mine main.cpp)\ntarget_link_libraries(mine PRIVATE htr::htr)\n"
    )
    (tmp_path / "main.cpp").write_text(
        "#include <htr/htr.h>\n#include <iostream>\nint main() {\n"
        '    try { htr::Recognizer recognizer("none.onnx"); }\n'
        "    catch (const htr::Error& error) { std::cout << error.what(); }\n}\n"
    )
    passes("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={installed}")
    passes("cmake", "--build", tmp_path / "build", "-j1")
    assert passes(tmp_path / "build" / "mine") == "no model at none.onnx"


def test_the_demo_tells_what_is_wrong(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    (tmp_path / "model.pt").write_bytes(b"nothing")
    model = ["--model", tmp_path / "model.onnx"]
    cases = [[], ["a.pgm"], ["a.pgm", "--model"], ["--width", "3"], ["a.pgm", *model, "--batch", "0"]]
    cases += [["a.pgm", "--model", tmp_path / name] for name in ("none.onnx", "model.pt", "a" * 300)]
    cases += [["a.pgm", *model, "--runtime", tmp_path / "none.so"]]
    for words in cases:
        done = run(installed / "bin" / "htr_read", *words)
        assert done.returncode == 2 and done.stdout == "", words
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr


def test_the_demo_reads_what_transcribe_reads(
    installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "ONNXRUNTIME_ROOT" not in os.environ:
        pytest.skip("ONNXRUNTIME_ROOT is not set: the back end is not built without onnxruntime_c_api.h")
    import onnxruntime

    from htrcompress.data.synthetic import open_synthetic
    from htrcompress.export.onnx_export import export_onnx
    from htrcompress.models.serialization import load_model
    from htrcompress.transcribe import transcribe

    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
    model = tmp_path / "model.onnx"
    export_onnx(*load_model(ROOT / "models" / "tiny-student.safetensors"), model)
    paths = []
    for number, line in enumerate(open_synthetic().split("test")[:20]):
        paths.append(save(tmp_path / f"{number}.pgm", line.pixels()))
    expected = [f"{path}\t{found.text}" for path, found in zip(paths, transcribe(paths, model).images, strict=True)]
    options = ["--model", model, "--runtime", library, "--threads", "1"]
    for batch in ("1", "7", "32"):
        printed = passes(installed / "bin" / "htr_read", *paths, *options, "--batch", batch)
        assert printed.splitlines() == expected

    wide = save(tmp_path / "wide.pgm", np.zeros((2, 5000), np.uint8))
    absent = [tmp_path / "none.pgm", tmp_path / ("a" * 300)]
    done = run(installed / "bin" / "htr_read", paths[0], wide, *absent, paths[1], *options)
    assert done.returncode == 2 and done.stdout.splitlines() == expected[:2]
    assert [line.split(" ")[1] for line in done.stderr.splitlines()] == [str(wide), "no", "no"]

    export_onnx(*load_model(ROOT / "models" / "tiny-student.safetensors"), tmp_path / "raw.onnx", decode="none")
    done = run(installed / "bin" / "htr_read", paths[0], "--model", tmp_path / "raw.onnx", *options[2:])
    assert done.returncode == 2 and "gives logits and no labels" in done.stderr and done.stderr.count("\n") == 1

    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:-2000])
    done = run(installed / "bin" / "htr_read", paths[0], "--model", tmp_path / "cut.onnx", *options[2:])
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "cut.onnx" in done.stderr

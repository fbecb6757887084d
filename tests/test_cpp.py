"""`export/cpp`: its parts give what Python gives, damaged files are refused, and it reads what `transcribe` reads."""

import hashlib
import math
import os
from pathlib import Path

import numpy as np
import pytest
from cpp_builds import Parts, passes, run
from numpy.typing import NDArray
from PIL import Image

from htrcompress import image
from htrcompress.card import Card
from htrcompress.decoding import reference
from htrcompress.errors import HtrError
from htrcompress.utils.machine import cores, cpu_quota

ROOT = Path(__file__).parents[1]
CARD = Card("tiny", {"family": "gated"}, tuple(' ="\\aé𝒳'), height=32, stride=4, max_width=1000)


def noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Noise, or black and white only, whose means are often exact halves."""
    values = rng.integers(0, 256, (height, width), dtype=np.uint8)
    return values if rng.random() < 0.5 else (values // 128 * 255).astype(np.uint8)


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.write_bytes(pixels.tobytes())
    return path


def document(card: Card) -> str:
    return "".join(f"{key}={value}\n" for key, value in card.to_metadata().items())


def test_scaling_is_that_of_python_to_the_bit(parts: Parts, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = [(int(a), int(b), int(c), int(d)) for a, b, c, d in rng.integers(1, 90, (150, 4))]
    sizes += [(1, 1, 64, 64), (64, 64, 1, 1), (7, 3000, 32, 9), (2000, 3, 5, 700), (32, 90, 32, 90), (61, 2, 122, 4)]
    jobs, expected = [], []
    for number, (h, w, height, width) in enumerate(sizes):
        pixels = noise(rng, h, w)
        jobs.append((save(tmp_path / f"{number}.in", pixels), height, width, tmp_path / f"{number}.out", h, w))
        expected.append(image.scale(pixels, height, width))
    assert parts("scale", *jobs) == [f"ok {height} {width}" for _, height, width, *_ in jobs]
    for job, pixels in zip(jobs, expected, strict=True):
        assert job[3].read_bytes() == pixels.tobytes(), f"{job[0]} at {pixels.shape}"


def test_lines_get_the_width_that_python_gives_and_wide_ones_are_refused(parts: Parts, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    jobs, expected = [], []
    for number, (h, w) in enumerate([*rng.integers(1, 200, (60, 2)), (1000, 1), (1, 999), (30, 900), (31, 901)]):
        pixels = noise(rng, int(h), int(w))
        path = save(tmp_path / f"{number}.in", pixels)
        jobs.append((path, 32, 960, tmp_path / f"{number}.out", h, w))
        try:
            scaled = image.resize_to_height(pixels, 32, 960, str(path))
            expected.append(f"ok {scaled.shape[0]} {scaled.shape[1]}")
        except HtrError:
            expected.append("error:")
    found = parts("line", *jobs)
    assert [line if line.startswith("ok") else line.split(" ")[0] for line in found] == expected
    assert 0 < sum(line.startswith("error") for line in expected) < 40
    assert all(line.count("\n") == 0 and ".in" in line for line in found if line.startswith("error"))


def test_pixels_that_are_not_a_picture_are_refused(parts: Parts, tmp_path: Path) -> None:
    path = save(tmp_path / "a.in", np.zeros((2, 3), np.uint8))
    sizes = [(0, 5), (-1, 5), (2, 2), (3, 3), (100_000, 100_000)]
    lines = parts("line", *((path, 32, 960, tmp_path / "out", h, w) for h, w in sizes))
    assert len(lines) == len(sizes) and all(line.startswith("error: ") and str(path) in line for line in lines)
    assert not (tmp_path / "out").exists()


def test_hashes_are_sha256(parts: Parts, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    contents = [rng.bytes(size) for size in (0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000, 100_001)]
    for number, data in enumerate(contents):
        (tmp_path / f"{number}").write_bytes(data)
    found = parts("sha256", *([tmp_path / f"{number}"] for number in range(len(contents))))
    assert found == [f"ok {hashlib.sha256(data).hexdigest()}" for data in contents]


def test_the_greedy_decoder_is_the_reference(parts: Parts, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    jobs, expected = [], []
    for number in range(100):
        steps, classes = int(rng.integers(1, 60)), int(rng.integers(1, 12))
        logits = (3 * rng.normal(size=(1, steps, classes))).astype(np.float32)
        logits = np.round(logits) if number % 3 == 0 else logits  # ties
        logits[..., 0] += 4 * (number % 2)
        frames = int(rng.integers(0, steps + 1))
        (tmp_path / f"{number}").write_bytes(logits.tobytes())
        jobs.append((tmp_path / f"{number}", frames, classes))
        labels, lengths, scores = reference.greedy(logits, np.array([frames]))
        expected.append((labels[0, : lengths[0]].tolist(), scores[0]))
    for line, (labels, score) in zip(parts("greedy", *jobs), expected, strict=True):
        _, found, *words = line.split(" ")
        assert [int(word) for word in words] == labels
        np.testing.assert_allclose(float(found), score if labels else -np.inf, atol=1e-5)


def test_quotas_of_containers_are_those_of_python(parts: Parts, tmp_path: Path) -> None:
    trees = [
        ("0::/", {"cpu.max": "max 100000"}),
        ("0::/", {"cpu.max": "200000 100000\n"}),
        ("0::/a/b", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "150000 100000", "cpu.max": "max 100000"}),
        ("0::/../../a", {"a/cpu.max": "1000 100000"}),
        ("0::/a", {"unified/a/cpu.max": "300000 100000"}),
        ("4:cpu,cpuacct:/docker/x\n3:memory:/", {"cpu,cpuacct/cpu.cfs_quota_us": "250000"}),
        ("4:cpu:/x", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}),
        ("4:cpu:/x", {"cpu/x/cpu.cfs_quota_us": "250000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}),
        ("4:cpuset:/x", {"cpuset/x/cpu.max": "100000 100000"}),
        ("nonsense", {"cpu.max": "100000 100000"}),
        ("0::/", {"cpu.max": "x y"}),
        ("0::/", {"cpu.max": ""}),
    ]
    jobs, expected = [], []
    for number, (membership, files) in enumerate(trees):
        mounted = tmp_path / f"{number}"
        for name, text in files.items():
            (mounted / name).parent.mkdir(parents=True, exist_ok=True)
            (mounted / name).write_text(text)
        (tmp_path / f"{number}.groups").write_text(membership)
        jobs.append((mounted, tmp_path / f"{number}.groups"))
        quota = cpu_quota(*jobs[-1])
        expected.append(f"ok {0 if math.isinf(quota) else math.ceil(quota)}")
    assert parts("quota", *jobs, (tmp_path / "none", tmp_path / "none")) == [*expected, "ok 0"]
    assert len(set(expected)) > 3


def test_cores_are_those_that_the_process_may_use(parts: Parts) -> None:
    assert parts("cores", "_") == [f"ok {cores()}"]
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert parts("cores", "_") == ["ok 1"]
    finally:
        os.sched_setaffinity(0, allowed)


def test_cards_are_read_as_they_are_written(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.meta").write_text(document(CARD), encoding="utf-8")
    assert parts("meta", [tmp_path / "a.meta"]) == [f'ok 32 4 1000 {CARD.digest()}  ="\\aé𝒳']


def test_damaged_cards_are_refused_in_one_sentence(parts: Parts, tmp_path: Path) -> None:
    good = document(CARD)
    damaged = ["", "htrcompress", "=1\n", good + "x", good + "htrcompress.height=32\n", good + "\n", good + "a=\x01\n"]
    sizes = ("", "32.5", "NaN", "0", "1e9", "-32", " 32", "99999999999999999999", "0x20", "1048577")
    damaged += [good.replace(".height=32", f".height={size}") for size in sizes]
    damaged += [good.replace(f"{key}=", f"{key}s=") for key in CARD.flat()]
    damaged += [good.replace("format=1", "format=2"), good.replace("digest=", "digest=x"), good.replace("é", "\u0085")]
    damaged += [good.replace("aé𝒳\n", f"{charset}\n") for charset in ("aéa", "é\x7f")]
    damaged += [good.replace(f"charset={''.join(CARD.charset)}", "charset=")]
    assert good not in damaged
    files = [text.encode() for text in damaged]
    broken = (b"\xe9", b"\xc1\x81", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\x80")
    files += [good.encode().replace("é".encode(), bytes_) for bytes_ in broken]
    certain = len(files)
    rng = np.random.default_rng(2)
    for _ in range(300):  # a byte changed anywhere: read or refused, but never a crash
        data = bytearray(good.encode())
        data[rng.integers(len(data))] = rng.integers(256)
        files.append(bytes(data))
    jobs = [[tmp_path / f"{number}.meta"] for number in range(len(files))]
    for (path,), data in zip(jobs, files, strict=True):
        path.write_bytes(data)
    lines = parts("meta", *jobs)
    assert len(lines) == len(jobs)
    assert [number for number, line in enumerate(lines[:certain]) if not line.startswith("error: ")] == []
    assert all(line.startswith(("error: ", "ok ")) for line in lines)


def test_find_package_finds_the_library(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(mine CXX)\nfind_package(htr REQUIRED)\n"
        "add_executable(mine main.cc)\ntarget_link_libraries(mine PRIVATE htr::htr)\n"
    )
    (tmp_path / "main.cc").write_text(
        "#include <htr/htr.h>\n#include <iostream>\nint main() {\n"
        '    try { htr::Recognizer recognizer("none.onnx"); }\n'
        "    catch (const htr::Error& error) { std::cout << error.what(); }\n}\n"
    )
    passes("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={installed}")
    passes("cmake", "--build", tmp_path / "build", "-j2")
    assert passes(tmp_path / "build" / "mine") == "no model at none.onnx"


def test_the_demo_names_what_is_wrong(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    (tmp_path / "model.pt").write_bytes(b"nothing")
    model = ["--model", tmp_path / "model.onnx"]
    cases = [[], ["a.png"], ["a.png", "--model"], ["--width", "3"], ["a.png", *model, "--batch", "0"]]
    cases += [["a.png", "--model", tmp_path / name] for name in ("none.onnx", "model.pt", "a" * 300)]
    cases += [["a.png", *model, "--runtime", tmp_path / "none.so"], ["a.png", *model, "--decoder", "beam"]]
    for words in cases:
        done = run(demo, *words)
        assert done.returncode == 2 and done.stdout == "", words
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr


@pytest.fixture(scope="module")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The shipped tiny student as ONNX files: with its decode inside, and with logits alone."""
    if "ONNXRUNTIME_ROOT" not in os.environ:
        pytest.skip("ONNXRUNTIME_ROOT is not set: the back end is not built without onnxruntime_c_api.h")
    from htrcompress.export.onnx_export import export_onnx
    from htrcompress.models.serialization import load_model

    folder = tmp_path_factory.mktemp("onnx")
    export_onnx(*load_model(ROOT / "models" / "tiny-student.safetensors"), folder / "model.onnx")
    export_onnx(*load_model(ROOT / "models" / "tiny-student.safetensors"), folder / "raw.onnx", decode="none")
    return folder / "model.onnx", folder / "raw.onnx"


def read_options(model: Path) -> list[str | Path]:
    """What tells `htr_read` to run a model with Python's ONNX Runtime on one thread."""
    import onnxruntime

    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
    return ["--model", model, "--runtime", library, "--threads", "1"]


def write_pictures(folder: Path, suffix: str, count: int) -> list[Path]:
    from htrcompress.data.synthetic import open_synthetic

    paths = []
    for number, line in enumerate(open_synthetic().split("test")[:count]):
        paths.append(folder / f"{number}{suffix}")
        Image.fromarray(line.pixels()).save(paths[-1])
    return paths


def test_the_demo_reads_what_transcribe_reads(demo: Path, tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    from htrcompress.transcribe import TranscribeOptions, transcribe

    model, raw = tiny_files
    paths = [*write_pictures(tmp_path, ".png", 20), *write_pictures(tmp_path, ".pgm", 2)]
    texts = {
        str(path): image.text
        for path, image in zip(paths, transcribe(TranscribeOptions(paths, model)).images, strict=True)
    }
    expected = [f"{path}\t{texts[str(path)]}" for path in paths]
    for batch in ("1", "7", "32"):
        assert passes(demo, *paths, *read_options(model), "--batch", batch).splitlines() == expected
    assert passes(demo, *paths, *read_options(raw), "--decoder", "greedy").splitlines() == expected
    threads = [*read_options(model)[:4], "--threads", "2"]
    assert passes(demo, *paths, *threads).splitlines() == expected


def test_pictures_of_every_kind_are_read_as_python_reads_them(
    demo: Path, tiny_files: tuple[Path, Path], tmp_path: Path
) -> None:
    """Grey, colour and transparent on white, as PNG and as JPEG of high quality."""
    from htrcompress.transcribe import TranscribeOptions, transcribe

    [path] = write_pictures(tmp_path, ".png", 1)
    with Image.open(path) as picture:
        grey = picture.copy()
    alpha = Image.new("RGBA", grey.size, (0, 0, 0, 0))
    alpha.putalpha(Image.fromarray(255 - np.asarray(grey)))
    pictures = {"rgb.png": grey.convert("RGB"), "alpha.png": alpha, "grey.jpg": grey, "rgb.jpg": grey.convert("RGB")}
    for name, picture in pictures.items():
        picture.save(tmp_path / name, **({"quality": 100} if name.endswith("jpg") else {}))
    paths = [tmp_path / name for name in pictures]
    [*images] = transcribe(TranscribeOptions(paths, tiny_files[0])).images
    printed = passes(demo, *paths, *read_options(tiny_files[0])).splitlines()
    assert printed == [f"{path}\t{image.text}" for path, image in zip(paths, images, strict=True)]


def test_unreadable_pictures_cost_only_themselves(demo: Path, tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    good = write_pictures(tmp_path, ".png", 2)
    Image.fromarray(np.zeros((2, 5000), np.uint8)).save(tmp_path / "wide.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(good[0].read_bytes()[:200])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "odd.pgm").write_bytes(b"P5 # a comment\n2 1 15\n\x07\x0f")
    names = ("wide.png", "none.png", "a" * 300, "empty.png", "cut.png", "text.png", "odd.pgm")
    bad = [*(tmp_path / name for name in names), tmp_path]
    done = run(demo, good[0], *bad, good[1], *read_options(tiny_files[0]))
    assert done.returncode == 2 and [line.split("\t")[0] for line in done.stdout.splitlines()] == [*map(str, good)]
    errors = done.stderr.splitlines()
    assert len(errors) == len(bad)
    assert all(str(path) in line and line.startswith("error: ") for path, line in zip(bad, errors, strict=True))


def test_models_that_cannot_serve_are_refused(demo: Path, tiny_files: tuple[Path, Path], tmp_path: Path) -> None:
    import onnx

    model, raw = tiny_files
    [path] = write_pictures(tmp_path, ".png", 1)
    damaged = tmp_path / "metadata.onnx"
    graph = onnx.load(model)
    next(entry for entry in graph.metadata_props if entry.key == "htrcompress.height").value = "48"
    onnx.save(graph, damaged)
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:-2000])
    (tmp_path / "bytes.onnx").write_bytes(model.read_bytes().replace(b"charset\x12", b"charseu\x12"))
    refused = [raw, damaged, tmp_path / "cut.onnx", tmp_path / "bytes.onnx"]
    for broken in refused:
        done = run(demo, path, *read_options(broken))
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and broken.name in done.stderr, done.stderr

"""`load` and `Recognizer.read`: the same text in every runtime, batch and order, and files that are refused."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import get_ident

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

import htrcompress
from htrcompress import HtrError, Reading, Recognizer
from htrcompress.card import CARD_KEY, Card
from htrcompress.image import pad
from htrcompress.runtime.backend import Output
from htrcompress.runtime.schedule import BATCHES_PER_WINDOW

Picture = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="session", params=["torch", "onnx"])
def recognizer(request: pytest.FixtureRequest, tiny_model: Path) -> Recognizer:
    path = tiny_model if request.param == "torch" else request.getfixturevalue("tiny_onnx")
    return htrcompress.load(path, threads=1, device="cpu")


def same(one: list[Reading], other: list[Reading]) -> bool:
    texts = [r.text for r in one] == [r.text for r in other]
    return texts and np.allclose([r.score for r in one], [r.score for r in other], atol=1e-4)


def test_a_line_reads_the_same_alone_and_beside_others(recognizer: Recognizer, picture: Picture) -> None:
    lines = [picture(width) for width in (61, 400, 5, 62, 1, 120, 63, 64, 2, 400)]
    alone = [recognizer.read([line])[0] for line in lines]
    assert len({reading.text for reading in alone if reading.text}) >= 6
    assert all((reading.score > -np.inf) == bool(reading.text) for reading in alone)
    assert all(reading.score < 0 for reading in alone)
    assert same(recognizer.read(lines), alone)
    assert same(recognizer.read(lines, batch_size=3), alone)
    assert same(recognizer.read(lines[::-1], batch_size=4), alone[::-1])


def test_runtimes_agree_with_each_other(tiny_model: Path, tiny_onnx: Path, picture: Picture) -> None:
    lines = [picture(width, seed=1) for width in range(30, 60)]
    one, other = htrcompress.load(tiny_model), htrcompress.load(str(tiny_onnx))
    assert same(one.read(lines), other.read(lines))
    assert one.card == other.card
    assert (one.backend.name, other.backend.name) == ("PyTorch", "ONNX Runtime")


def test_no_images_are_no_readings(recognizer: Recognizer) -> None:
    assert recognizer.read([]) == []


def test_every_kind_of_picture(recognizer: Recognizer, picture: Picture, tmp_path: Path) -> None:
    grey = picture(90)
    path = tmp_path / "a.png"
    Image.fromarray(grey).save(path)
    rgb = np.stack([grey] * 3, 2)
    rgba = np.concatenate((rgb, np.full((32, 90, 1), 255, np.uint8)), 2)
    kinds = [grey, path, str(path), Image.fromarray(grey), rgb, rgba, Image.fromarray(rgb), lambda: grey]
    readings = recognizer.read(kinds)
    assert same(readings, [readings[0]] * len(kinds))
    assert readings[0].text


def test_lines_are_scaled_to_the_height_of_the_model(recognizer: Recognizer, picture: Picture) -> None:
    doubled = np.kron(picture(90), np.ones((2, 2), np.uint8))
    assert same(recognizer.read([doubled]), recognizer.read([picture(90)]))


def test_more_images_than_a_window(recognizer: Recognizer, picture: Picture) -> None:
    lines = [picture(8 + i % 50) for i in range(4 * BATCHES_PER_WINDOW + 5)]
    expected = recognizer.read(lines)
    assert same(recognizer.read(iter(lines), batch_size=2), expected)


def test_reading_starts_before_all_images_are_loaded(recognizer: Recognizer, picture: Picture) -> None:
    loaded = []
    images = ((lambda i=i: loaded.append(i) or picture(20)) for i in range(1000))
    next(recognizer.read_each(images, batch_size=2))
    assert len(loaded) <= 3 * 2 * BATCHES_PER_WINDOW


def test_an_image_that_cannot_be_read_is_named(recognizer: Recognizer, picture: Picture, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    images = [picture(40), tmp_path / "bad.png", picture(1001), np.zeros((4, 4)), None, picture(0)]
    with pytest.raises(HtrError, match=r"bad\.png"):
        recognizer.read(images)
    results = list(recognizer.read_each(images))
    assert isinstance(results[0], Reading)
    for number, result in enumerate(results[1:], 2):
        assert isinstance(result, HtrError)
        assert f"image {number}" in str(result) or "bad.png" in str(result)
    assert "1001 pixels wide" in str(results[2])


@pytest.mark.parametrize("images", ["a.png", Path("a.png"), np.zeros((4, 4), np.uint8)], ids=["str", "path", "array"])
def test_a_single_image_is_not_a_list(recognizer: Recognizer, images: object) -> None:
    with pytest.raises(HtrError, match="list"):
        recognizer.read(images)  # type: ignore[arg-type]


def test_a_batch_holds_at_least_one_line(recognizer: Recognizer) -> None:
    for size in (0, 10**18, 1.5):
        with pytest.raises(HtrError, match="batch size"):
            recognizer.read([], batch_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rows", "length"), [(1, 0), (3, 0), (2, -1), (2, 99)])
def test_a_network_that_gives_something_else_is_noticed(
    tiny_onnx: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch, rows: int, length: int
) -> None:
    recognizer = htrcompress.load(tiny_onnx, threads=1)
    answer = Output(np.zeros((rows, 4), np.int32), np.full(rows, length, np.int32), np.zeros(rows, np.float32))
    monkeypatch.setattr(recognizer.backend, "run", lambda *_: answer)
    with pytest.raises(HtrError, match="does not give a text for each of 2 lines"):
        recognizer.read([picture(40), picture(50)])


def test_a_cpu_computes_as_many_lines_as_its_caches_hold(recognizer: Recognizer, picture: Picture) -> None:
    seen, run = [], recognizer.backend.run
    lines = [picture(20 + i) for i in range(20)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recognizer.backend, "run", lambda pixels, widths: seen.append(len(widths)) or run(pixels, widths))
        expected = recognizer.read(lines, batch_size=1)
        assert same(recognizer.read(lines, batch_size=20), expected)
    assert seen[20:] == [8, 8, 4]  # with one thread


def test_threads_read_side_by_side_what_one_reads(tiny_onnx: Path, picture: Picture, tmp_path: Path) -> None:
    model = Path(shutil.copy(tiny_onnx, tmp_path))
    recognizer, lines = htrcompress.load(model, threads=3), [picture(20 + i) for i in range(20)]
    model.unlink()  # what was loaded is what is read with, whenever
    lane, seen = recognizer.backend.stream(), []
    assert lane is not recognizer.backend and lane is recognizer.backend.stream()
    run = lane.run
    lane.run = lambda pixels, widths: seen.append((len(widths), get_ident())) or run(pixels, widths)  # type: ignore
    cases = (
        (lines, 32, [7, 7, 6]),  # as many batches as streams
        (lines, 4, [4] * 5),  # the batch size bounds each stream
        (lines, 1, [1] * 20),
        (lines[:3], 32, [1] * 3),
        (lines[:2], 32, [1] * 2),
    )
    for some, batch_size, sizes in cases:
        seen.clear()
        expected = htrcompress.load(tiny_onnx, threads=1).read(some)
        assert same(recognizer.read(some, batch_size), expected)
        assert sorted(size for size, _ in seen) == sorted(sizes)
        assert get_ident() not in {thread for _, thread in seen}
    seen.clear()
    assert len(recognizer.read(lines[:1])) == 1 and not seen  # lines for less than half of the streams: all threads


def test_a_failure_beside_others_is_told(tiny_onnx: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = htrcompress.load(tiny_onnx, threads=2)
    lane = recognizer.backend.stream()
    run = lane.run

    def fail(pixels: np.ndarray, widths: np.ndarray) -> object:
        if widths.max() > 60:
            raise HtrError("too much")
        return run(pixels, widths)

    monkeypatch.setattr(lane, "run", fail)
    with pytest.raises(HtrError, match="too much"):
        recognizer.read([picture(20 + i) for i in range(60)], batch_size=2)


def test_the_backend_gives_what_is_documented(recognizer: Recognizer, picture: Picture) -> None:
    pixels, widths = pad([picture(50), picture(70)])
    assert pixels.shape == (2, 1, 32, 70)
    assert (pixels[0, 0, :, 50:] == 255).all()
    output = recognizer.backend.run(pixels, widths)
    labels, lengths, scores = output.labels, output.lengths, output.scores
    assert (labels.dtype, lengths.dtype, scores.dtype) == (np.int32, np.int32, np.float32)
    assert labels.shape == (2, 18)
    for row, length in zip(labels, lengths, strict=True):
        assert (row[:length] > 0).all()
        assert (row[length:] == -1).all()


@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.ckpt", "a.pkl", "a.bin"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(HtrError, match=r"pickle.*never read"):
        htrcompress.load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "says"),
    [("a.engine", "no model at"), ("a.txt", "not a model"), ("a", "no model at"), ("a.onnx", "no model at")],
)
def test_other_files_are_refused(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(HtrError, match=says):
        htrcompress.load(tmp_path / name)


@pytest.mark.parametrize("keep", [0, 10, 5000, -1])
def test_a_truncated_onnx_file_is_refused(tiny_onnx: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(tiny_onnx.read_bytes()[:keep])
    with pytest.raises(HtrError, match=r"cut\.onnx") as caught:
        htrcompress.load(path)
    assert "\n" not in str(caught.value)


def edited(tiny_onnx: Path, path: Path, edit: Callable[[onnx.ModelProto], object]) -> Path:
    model = onnx.load(tiny_onnx)
    edit(model)
    onnx.save(model, path)
    return path


def with_card(exported: bool = False, **entries: object) -> Callable[[onnx.ModelProto], None]:
    """Another card; `exported` as if the graph had been exported with it."""

    def edit(model: onnx.ModelProto) -> None:
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        card = json.dumps(json.loads(metadata[CARD_KEY]) | entries)
        metadata = Card.from_json(card, "a card").to_metadata() if exported else metadata | {CARD_KEY: card}
        for entry in model.metadata_props:
            entry.value = metadata[entry.key]

    return edit


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda model: model.ClearField("metadata_props"), "carries no htrcompress card"),
        (with_card(height=48), "contradicts itself"),
        (with_card(stride=8), "contradicts itself"),
        (with_card(max_width=100_000), "contradicts itself"),
        (with_card(charset=["a", "b"]), "contradicts itself"),
        (lambda model: model.metadata_props.pop(), "contradicts itself"),
        (with_card(exported=True, height=48), "does not fit its card"),
        (lambda model: model.graph.output.pop(0), "does not fit its card"),
        (lambda model: model.graph.input[0].type.tensor_type.shape.dim[0].__setattr__("dim_value", 1), "does not fit"),
    ],
    ids=["no card", "height", "stride", "width", "charset", "no digest", "another height", "no labels", "fixed batch"],
)
def test_graphs_that_are_not_ours_are_refused(
    tiny_onnx: Path, tmp_path: Path, edit: Callable[[onnx.ModelProto], object], says: str
) -> None:
    with pytest.raises(HtrError, match=says):
        htrcompress.load(edited(tiny_onnx, tmp_path / "a.onnx", edit))


def test_a_charset_that_is_too_small_is_noticed(tiny_onnx: Path, tmp_path: Path, picture: Picture) -> None:
    recognizer = htrcompress.load(edited(tiny_onnx, tmp_path / "a.onnx", with_card(exported=True, charset=["a"])))
    with pytest.raises(HtrError, match="outside a charset of 1"):
        recognizer.read([picture(300)])


def test_threads_and_device_are_checked(tiny_onnx: Path) -> None:
    with pytest.raises(HtrError, match="threads"):
        htrcompress.load(tiny_onnx, threads=0)
    with pytest.raises(HtrError, match="no device is called 'tpu'"):
        htrcompress.load(tiny_onnx, device="tpu")


def python(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, htrcompress; print([m for m in ('torch', 'onnxruntime', 'numpy', 'PIL') if m in sys.modules])"
    assert python(code) == "[]"


def test_every_public_name_is_there() -> None:
    assert set(htrcompress.__all__) <= set(dir(htrcompress))
    assert all(getattr(htrcompress, name) is not None for name in htrcompress.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = htrcompress.nothing


def test_reading_with_onnx_needs_no_torch(tiny_onnx: Path, tmp_path: Path, picture: Picture) -> None:
    Image.fromarray(picture(300)).save(tmp_path / "a.png")
    code = """if True:
        import re, sys, htrcompress
        model, image = sys.argv[1:]
        print(htrcompress.load(model).read([image])[0].text)
        print([m for m in ("torch", "onnx", "rapidfuzz", "jsonargparse") if m in sys.modules])
        print(int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) < 300_000)"""
    text, *rest = python(code, tiny_onnx, tmp_path / "a.png").split("\n")
    assert text == htrcompress.load(tiny_onnx).read([picture(300)])[0].text
    assert rest == ["[]", "True"]


@pytest.mark.parametrize(
    ("missing", "suffix", "says"),
    [("onnxruntime", ".onnx", "htrcompress[cpu]"), ("torch", ".safetensors", "htrcompress[train]")],
)
def test_a_missing_runtime_names_its_extra(tiny_onnx: Path, missing: str, suffix: str, says: str) -> None:
    code = """if True:
        import sys, htrcompress
        sys.modules[sys.argv[1]] = None
        try:
            htrcompress.load(sys.argv[2])
        except htrcompress.HtrError as error:
            print(error)"""
    told = python(code, missing, tiny_onnx.with_suffix(suffix))
    assert missing in told
    assert says in told
    assert missing != "onnxruntime" or ("htrcompress[gpu]" in told and "never both" in told)


def test_a_recognizer_is_pickled_and_copied(recognizer: Recognizer, picture: Picture) -> None:
    lines = [picture(60), picture(90)]
    expected = recognizer.read(lines)
    pickled = pickle.loads(pickle.dumps(recognizer))  # noqa: S301 - its own
    for other in (pickled, copy.copy(recognizer), copy.deepcopy(recognizer)):
        assert same(other.read(lines), expected)
        assert other.backend.device == recognizer.backend.device


@pytest.mark.parametrize("fixture", ["tiny_onnx", "tiny_model"])
def test_a_closed_recognizer_says_so(fixture: str, request: pytest.FixtureRequest, picture: Picture) -> None:
    with htrcompress.load(request.getfixturevalue(fixture)) as recognizer:
        assert recognizer.read([picture(60)])
    recognizer.close()
    with pytest.raises(HtrError, match="closed"):
        recognizer.read([picture(60)])
    with pytest.raises(HtrError, match="closed"):
        recognizer.read_batch(np.zeros((1, 1, 32, 60), np.uint8), np.array([60], np.int32))


@pytest.mark.parametrize("part", ["metadata", "names"])
def test_strings_of_a_file_that_are_not_utf_8_are_refused(tiny_onnx: Path, tmp_path: Path, part: str) -> None:
    data = tiny_onnx.read_bytes()
    word = {"metadata": b"htrcompress", "names": b"labels"}[part]
    assert word in data
    path = tmp_path / "a.onnx"
    path.write_bytes(data.replace(word, b"\xff" + word[1:]))
    with pytest.raises(HtrError, match=r"a\.onnx"):
        htrcompress.load(path)

"""Packed datasets: as good as their source, and refused when they are damaged."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from trainings import SHORT, interrupt_after, log

from htrcompress.charset import Charset
from htrcompress.config import TrainConfig
from htrcompress.data import packing, shards
from htrcompress.data.__main__ import DataOptions, look
from htrcompress.data.characters import charset_of, unknown_characters
from htrcompress.data.checksum import checksum_of_joined
from htrcompress.data.lines import Dataset, JoinedLines, Line
from htrcompress.data.packed import PackedLines
from htrcompress.data.packed_files import MANIFEST, PLAN, open_shard
from htrcompress.data.prepare import EncodedLines, drop_too_narrow, encode_splits
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.bentham import BenthamOptions
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError
from htrcompress.train import TrainOptions, train
from htrcompress.training.data import open_images, open_training_data

pytest.importorskip("pyarrow", reason="packing needs pyarrow (the extra [parquet])")

TEXTS = ("aabb", "Straße née", "x", "ﬃ 𝒳 ok", "a b c d")


def folder(root: Path, count: int = 23, texts: tuple[str, ...] = TEXTS) -> Path:
    """A TSV folder with lines of many sizes; the last training image stands in `test` as well."""
    root.mkdir()
    rows: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (20 + 5 * (i % 5), 40 + 31 * i % 400), np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
        rows["train" if i < count - 6 else "valid" if i < count - 3 else "test"].append(
            f"{i}.png\t{texts[i % len(texts)]}"
        )
    rows["test"].append(f"./{count - 7}.png\tagain")
    for name, lines in rows.items():
        (root / f"{name}.tsv").write_text("\n".join(lines), encoding="utf-8")
    return root


def packed(source: Path, out: Path, **options: object) -> Dataset:
    look(DataOptions(str(source), write=out, **options))  # type: ignore[arg-type]
    return open_dataset(str(out))


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SHARD", 5)
    monkeypatch.setattr(shards, "BLOCK", 3)


def test_checksums_of_parts_give_that_of_the_whole() -> None:
    pieces = [random.Random(i).randbytes(length) for i, length in enumerate((3, 0, 100_003, 1, 64, 7777))]
    checksums = np.array([zlib.crc32(piece) for piece in pieces], np.uint32)
    lengths = np.array([len(piece) for piece in pieces], np.int64)
    assert checksum_of_joined(checksums, lengths) == zlib.crc32(b"".join(pieces))
    assert checksum_of_joined(checksums[:0], lengths[:0]) == 0


def test_a_fingerprint_is_the_checksum_of_all_pixels_and_labels() -> None:
    images = [np.full((4, width), width, np.uint8) for width in (5, 9)]
    lines = EncodedLines(images, [[1, 2], []], ["ab", ""], ["one", "two"])
    value = 0
    for image, labels in zip(images, lines.labels, strict=True):
        value = zlib.crc32(repr((image.shape, *labels)).encode(), zlib.crc32(image.tobytes(), value))
    assert lines.fingerprint() == f"{value:08x}"


@pytest.mark.parametrize("height", [32, 0])
@pytest.mark.parametrize("processes", [1, 2])
def test_lines_come_back_from_a_packed_set(tmp_path: Path, small_shards: None, height: int, processes: int) -> None:
    source = open_dataset(str(folder(tmp_path / "source")))
    again = packed(tmp_path / "source", tmp_path / "packed", height=height, processes=processes)
    assert (again.name, again.format) == (source.name, source.format) and list(again.splits) == list(source.splits)
    for name, lines in source.splits.items():
        assert isinstance(again.splits[name], PackedLines)
        assert again.identity(name) == source.identity(name) and again.trained_on(name) == source.trained_on(name)
        assert replace(again, splits={name: list(again.splits[name])}).identity(name) == source.identity(name)
        for line, other in zip(lines, again.splits[name], strict=True):
            assert (line.id, line.text, line.split, line.group) == (other.id, other.text, other.split, other.group)
            if not height:
                assert (line.pixels() == other.pixels()).all()
    twice = packed(tmp_path / "packed", tmp_path / "twice", height=height)
    assert [twice.identity(name) for name in source.splits] == [source.identity(name) for name in source.splits]


@pytest.mark.parametrize("texts", [TEXTS, ("שלום (a) 12", "ab", "גג")])
def test_training_data_is_the_same_from_a_packed_set(
    tmp_path: Path, small_shards: None, texts: tuple[str, ...]
) -> None:
    packed(folder(tmp_path / "source", texts=texts), tmp_path / "packed", height=32)
    for config in (TrainConfig(max_too_narrow=0.9), TrainConfig(max_too_narrow=0.9, lines=11)):
        one, other = (open_training_data(str(tmp_path / f), 32, config, ReadConfig()) for f in ("source", "packed"))
        assert one.charset == other.charset and one.unknown == other.unknown and one.left_out == other.left_out
        for mine, theirs in ((one.train, other.train), (one.valid, other.valid)):
            assert isinstance(mine.images, list) and not isinstance(theirs.images, list)
            assert mine.fingerprint() == theirs.fingerprint() and mine.widths == theirs.widths
            assert list(mine.names) == list(theirs.names) and [*map(list, mine.labels)] == [*theirs.labels]
            assert (mine.frames_needed == theirs.frames_needed).all()
            assert all((a == b).all() for a, b in zip(mine.images, theirs.images, strict=True))
            batch, same = mine.batch([1, 0]), theirs.subset([1, 0]).batch([0, 1])
            assert (batch.pixels == same.pixels).all() and (batch.targets == same.targets).all()
        together = other.train.joined(one.valid)
        assert together.fingerprint() == one.train.joined(one.valid).fingerprint()


def test_several_packed_sets_are_one_dataset(tmp_path: Path) -> None:
    for name in ("one", "two"):
        packed(folder(tmp_path / f"{name}_source"), tmp_path / name, height=32)
    joined = open_dataset(f"{tmp_path / 'one'},{tmp_path / 'two'}")
    files = open_dataset(f"{tmp_path / 'one_source'},{tmp_path / 'two_source'}")
    assert [joined.identity(name) for name in joined.splits] == [files.identity(name) for name in files.splits]
    assert [joined.trained_on(name) for name in joined.splits] == [files.trained_on(name) for name in files.splits]
    charset = charset_of(joined.split("train"))
    assert charset == charset_of(files.split("train"))
    narrow = Charset(charset.characters[3:])
    both = (JoinedLines([data.split("train"), data.split("test")]) for data in (joined, files))
    assert unknown_characters(next(both), narrow) == unknown_characters(next(both), narrow) != {}
    for count in (None, 9):
        one, other = (
            encode_splits(data.limited("train", count, 1).splits, charset, 32, 4096)["train"]
            for data in (joined, files)
        )
        assert one.fingerprint() == other.fingerprint() and list(one.names) == list(other.names)
        assert drop_too_narrow(one, 4, 1.0)[1] == drop_too_narrow(other, 4, 1.0)[1]
    with pytest.raises(HtrError, match=r"--height 64"):
        joined.require_height(64)


def test_unreadable_images_stay_as_lines_without_pixels(tmp_path: Path) -> None:
    source = folder(tmp_path / "source")
    (source / "3.png").write_bytes(b"no image")
    with pytest.raises(HtrError, match=r"--max_unreadable.*3\.png"):
        packed(source, tmp_path / "packed", height=32)
    again = packed(source, tmp_path / "packed", max_unreadable=0.1, height=32)
    assert again.identity("train") == open_dataset(str(source)).identity("train")
    with pytest.raises(HtrError, match=r"3\.png"):
        again.split("train")[3].pixels()
    result = look(DataOptions(str(tmp_path / "packed")))
    assert result.unreadable == 1 and result.exit_code == 2 and "3.png" in result.errors[0]
    messages = set()
    for data in (source, tmp_path / "packed"):
        with pytest.raises(HtrError) as raised:
            open_training_data(str(data), 32, TrainConfig(max_too_narrow=0.9), ReadConfig())
        messages.add(str(raised.value))
        training = open_training_data(str(data), 32, TrainConfig(max_too_narrow=0.9, max_unreadable=0.1), ReadConfig())
        assert training.unreadable == 1 and "3.png" not in training.train.names
    assert len(messages) == 1


def test_odd_names_are_packed_or_refused_in_a_sentence(tmp_path: Path) -> None:
    def drawn(name: str, split: str) -> Dataset:
        return Dataset("odd", "made", {split: [Line(name, "a", split, lambda: np.zeros((9, 9), np.uint8))]})

    both = {**drawn("a", "x ö").splits, **drawn("b", "split0").splits, **drawn("c", "Train").splits}
    packing.pack(Dataset("odd", "made", both), tmp_path / "odd", 9, {})
    assert list(open_dataset(str(tmp_path / "odd")).splits) == list(both)
    assert sorted(path.name for path in (tmp_path / "odd").rglob("*.arrow")) == [
        f"split{i}-00000.arrow" for i in range(3)
    ]
    packing.pack(drawn("a", "../x"), tmp_path / "above", 9, {})
    with pytest.raises(HtrError, match=r"\.\./x"):
        open_dataset(str(tmp_path / "above"))
    with pytest.raises(HtrError, match=r"udce9.*UTF-8"):
        packing.pack(drawn("caf\udce9", "train"), tmp_path / "bad", 9, {})
    with pytest.raises(HtrError, match="no lines"):
        packing.pack(Dataset("odd", "made", {"train": []}), tmp_path / "none", 9, {})


def test_options_and_heights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    source, out = folder(tmp_path / "source"), tmp_path / "packed"
    packed(source, out, height=32)
    with pytest.raises(HtrError, match=r"--height 64"):
        open_training_data(str(out), 64, TrainConfig(max_too_narrow=0.9), ReadConfig())
    with pytest.raises(HtrError, match=r"--read"):
        open_dataset(str(out), ReadConfig(invisible="keep"))
    with pytest.raises(HtrError, match=r"--read"):
        open_dataset(str(out), ReadConfig(bentham=BenthamOptions(gap="drop")))
    assert open_dataset(str(out), ReadConfig(format="packed")).splits
    for height in (16, 24):  # another set, in a folder that holds one
        with pytest.raises(HtrError, match=r"--write"):
            packed(source, out, height=height)
    with pytest.raises(HtrError, match=r"--write"):
        packed(source, source)
    assert look(DataOptions(str(source), write=out, height=32)).written.resumed == 24  # type: ignore[union-attr]


def damaged(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x55
    path.write_bytes(data)


def test_a_damaged_set_is_refused_by_name(tmp_path: Path) -> None:
    out = tmp_path / "packed"
    packed(folder(tmp_path / "source"), out, height=32)
    shard, manifest = out / "train-00000.arrow", out / MANIFEST
    whole, text = shard.read_bytes(), manifest.read_text()
    for change in (
        lambda: shard.write_bytes(whole[:-100]),
        lambda: shard.write_bytes(whole[:5000]),
        lambda: shard.write_bytes(b"x" * len(whole)),
        lambda: shard.write_bytes((out / "test-00000.arrow").read_bytes()),
        shard.unlink,
        lambda: (shard.unlink(), os.mkfifo(shard)),
        lambda: damaged(shard, whole.index(b"Stra")),
        lambda: damaged(shard, len(whole) - 3),
    ):
        change()
        with pytest.raises(HtrError, match=r"train-00000\.arrow"):
            open_dataset(str(out))
        shard.unlink(missing_ok=True)
        shard.write_bytes(whole)
    damaged(shard, whole.index(open_dataset(str(out)).split("train")[2].pixels().tobytes()))
    lines = open_dataset(str(out)).split("train")
    assert lines[1].pixels().size
    with pytest.raises(HtrError, match=r"2\.png.*train-00000\.arrow"):
        lines[2].pixels()
    shard.write_bytes(whole)
    values = json.loads(text)
    for broken in (
        "[]",
        text[:100],
        json.dumps({**values, "htrcompress-packed": 2}),
        json.dumps({**values, "height": "x"}),
        json.dumps({**values, "splits": 3}),
        json.dumps({**values, "dropped": {"a": "b"}}),
        text.replace("train-00000.arrow", "../train-00000.arrow"),
        text.replace("train-00000.arrow", "t" * 5000 + ".arrow"),
        text.replace('"lines": 17', '"lines": 18', 1),
    ):
        manifest.write_text(broken)
        with pytest.raises(HtrError, match=r"packed\.json"):
            open_dataset(str(out))
    manifest.write_text(text)
    assert open_dataset(str(out)).splits


def test_a_set_that_lost_a_shard_is_packed_again(tmp_path: Path, small_shards: None) -> None:
    source, out = folder(tmp_path / "source"), tmp_path / "packed"
    before = packed(source, out, height=32)
    (out / "train-00000.arrow").unlink()
    damaged(out / "test-00000.arrow", 2000)
    result = look(DataOptions(str(source), write=out, height=32))
    assert result.written and result.written.resumed == 15
    assert open_dataset(str(out)).identity("train") == before.identity("train")


def test_a_set_may_be_called_like_the_built_in_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    assert look(DataOptions("source", write=Path("synthetic"), height=32)).name == "source"


def test_no_change_of_a_byte_crashes_the_reader(tmp_path: Path) -> None:
    out = tmp_path / "packed"
    packed(folder(tmp_path / "source", count=9), out, height=16)
    shard, manifest, rng = out / "train-00000.arrow", out / MANIFEST, random.Random(0)
    whole, values = shard.read_bytes(), json.loads(manifest.read_text())
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 5))):
            place = rng.randrange(len(data) - 8)
            data[place : place + 8] = rng.choice((rng.randbytes(8), bytes(8), b"\xff" * 8))
        shard.write_bytes(data)
        with contextlib.suppress(HtrError):  # with the checksum that the manifest has, and with that of the file
            open_dataset(str(out))
        with contextlib.suppress(HtrError):
            [entry] = values["splits"]["train"]["shards"]
            manifest.write_text(json.dumps(values))
            entry["checksum"] = open_shard(shard)[1]
            manifest.write_text(json.dumps(values))
            lines = open_dataset(str(out)).split("train")
            assert isinstance(lines, PackedLines) and lines.characters() and lines.frames_needed(Charset(("a",))).size
            for line in lines:
                with contextlib.suppress(HtrError):
                    line.pixels()


def test_a_build_goes_on_with_the_shards_that_are_missing(
    tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = folder(tmp_path / "source"), tmp_path / "packed"
    pack, done = shards.Job.pack, []

    def stopped(job: shards.Job, part: shards.Part) -> shards.Shard:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part.file)
        return pack(job, part)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards.Job, "pack", stopped)
        packed(source, out, processes=1, height=32)
    assert not (out / MANIFEST).exists()
    with pytest.raises(HtrError, match="not packed to the end"):
        open_dataset(str(out))
    with pytest.raises(HtrError, match="--write"):
        packed(source, out, height=24)
    damaged(out / done[1], 2000)  # it is noted as whole, and is made again
    (out / ".train-00000.arrow.1.tmp").write_bytes(b"half")
    result = look(DataOptions(str(source), write=out, height=32))
    assert result.written and result.written.resumed == 5
    assert sorted(path.name for path in out.iterdir() if path.name.startswith(".")) == []
    again = open_dataset(str(out))
    assert [line.pixels().shape[0] for line in again.split("train")] == [32] * 17


KILLED = """
import time
from pathlib import Path
from htrcompress.data import packing, shards
from htrcompress.data.__main__ import DataOptions, look
packing.SHARD, shards.BLOCK = 2, 1
batch = shards.Job._batch
shards.Job._batch = lambda *given: (time.sleep(0.2), batch(*given))[1]
look(DataOptions(SOURCE, write=Path(OUT), height=32, processes=2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_build_leaves_no_set_and_no_processes(tmp_path: Path) -> None:
    source, out = folder(tmp_path / "source"), tmp_path / "packed"
    code = KILLED.replace("SOURCE", repr(str(source))).replace("OUT", repr(str(out)))
    build = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    while not list(out.glob("*.arrow")):
        assert build.poll() is None
        time.sleep(0.05)
    build.send_signal(signal.SIGKILL)
    build.wait()
    assert not (out / MANIFEST).exists() and (out / PLAN).exists()
    with pytest.raises(HtrError, match="not packed to the end"):
        open_dataset(str(out))
    for _ in range(100):
        try:
            os.killpg(build.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail("its processes went on")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "SHARD", 2)
        assert look(DataOptions(str(source), write=out, height=32)).written.resumed > 0  # type: ignore[union-attr]
    assert open_dataset(str(out)).identity("train") == open_dataset(str(source)).identity("train")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path / "source")
    packed(source, tmp_path / "packed")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for act in (lambda: packed(source, tmp_path / "other"), lambda: open_dataset(str(tmp_path / "packed"))):
        with pytest.raises(HtrError, match=r"htrcompress\[parquet\]"):
            act()


def test_a_training_goes_on_from_a_packed_set_to_the_last_bit(
    whole: Path, lines: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(Path(lines), tmp_path / "packed", height=32)
    interrupt_after(monkeypatch, 3, KeyboardInterrupt())
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(TrainOptions(data=lines, model="tiny-student", out=run, train=SHORT))
    train(TrainOptions(data=str(tmp_path / "packed"), resume=run))
    once, again = (load_file(folder / "tiny-student.safetensors") for folder in (whole, run))
    assert all(torch.equal(once[name], again[name]) for name in once) and log(run) == log(whole)


def test_images_without_texts_are_packed_for_distillation(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for width in (50, 90):
        Image.new("L", (width, 40), width).save(tmp_path / "images" / f"{width}.png")
    packed(tmp_path / "images", tmp_path / "packed", height=32, gallery=tmp_path / "page.html")
    mine, theirs = (open_images(tmp_path / name, 32) for name in ("images", "packed"))
    assert list(mine.names) == list(theirs.names) and mine.fingerprint() == theirs.fingerprint()
    assert [list(labels) for labels in theirs.labels] == [[], []]
    with pytest.raises(HtrError, match="--height 64"):
        open_images(tmp_path / "packed", 64)
    packed(folder(tmp_path / "texts"), tmp_path / "packed texts", height=32)
    with pytest.raises(HtrError, match=r"--unlabelled.*packed texts"):
        open_images(tmp_path / "packed texts", 32)

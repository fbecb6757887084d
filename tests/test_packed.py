"""Packed datasets: as good as their source, and refused when they are damaged."""

import contextlib
import json
import os
import random
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from packed_sets import TEXTS, damaged, folder, packed

from htrcompress.charset import Charset
from htrcompress.config import TrainConfig
from htrcompress.data.__main__ import DataOptions, look
from htrcompress.data.characters import charset_of, unknown_characters
from htrcompress.data.checksum import checksum_of_joined
from htrcompress.data.lines import JoinedLines
from htrcompress.data.packed import PackedLines
from htrcompress.data.packed_files import MANIFEST, open_shard
from htrcompress.data.prepare import EncodedLines, drop_too_narrow, encode_splits
from htrcompress.data.readers import ReadConfig
from htrcompress.data.readers.bentham import BenthamOptions
from htrcompress.data.readers.open import open_dataset
from htrcompress.errors import HtrError
from htrcompress.training.data import open_training_data

pytest.importorskip("pyarrow", reason="packing needs pyarrow (the extra [parquet])")


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

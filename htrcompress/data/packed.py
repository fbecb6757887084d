"""Packed lines: a dataset's images, decoded and grey, and its texts in a few Arrow files that are mapped into memory.

`python -m htrcompress.data PATH --write DIR` makes such a folder (`packing.py`), and `--data DIR` reads it. Opening it
reads texts and sizes, never pixels, and a training reads the pixels of a batch when it needs them, so memory does not
grow with the set and all processes of a machine share one copy, the page cache of the system.

    DIR/packed.json           what is in it, written last: without it nothing here is a dataset
    DIR/train-00000.arrow     Arrow IPC: id, text, group, page, width, height, checksum, origin, problem, pixels

An image that could not be read when the set was packed is a line without pixels and with a `problem`, so that the
packed set has the same lines, and the same hashes, as its source.
"""

import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import Charset
from htrcompress.data.lazy import Lazy, Places
from htrcompress.data.lines import LazyLines, Line, Packing
from htrcompress.decoding import reference
from htrcompress.errors import HtrError
from htrcompress.image import resize_to_height, scaled_widths

STRINGS = ("id", "text", "group", "page", "problem")
NUMBERS = {"width": "int32", "height": "int32", "checksum": "uint32", "origin": "int64"}
_CODE_POINTS = 0x110000


class Block:
    """The lines of one record batch, as views of a mapped file.

    Args:
        batch: a record batch with the columns of `packed_files.schema`.
        file: the shard, for error messages.
    """

    def __init__(self, batch: Any, file: Path):
        self.file, self.count = file, batch.num_rows
        names = batch.schema.names
        arrays = {name: batch.column(names.index(name)) for name in names}
        self.numbers = {name: np.asarray(arrays[name]) for name in NUMBERS}
        self._bytes = {name: _buffers(arrays[name]) for name in (*STRINGS, "pixels")}

    def text(self, row: int, column: str = "text") -> str:
        """The text of a row in one of the columns of `STRINGS`."""
        offsets, data = self._bytes[column]
        return data[offsets[row] : offsets[row + 1]].tobytes().decode()

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """The image of a row, uint8 (h, w), read-only.

        Raises:
            HtrError: it could not be read when it was packed, or is not as it was packed.
        """
        problem = self.text(row, "problem")
        if problem:
            raise HtrError(problem)
        offsets, data = self._bytes["pixels"]
        found = data[offsets[row] : offsets[row + 1]]
        if zlib.crc32(found.data) != self.numbers["checksum"][row]:
            raise HtrError(f"the image of {self.text(row, 'id')} in {self.file} is damaged: pack the dataset again")
        return found.reshape(self.numbers["height"][row], self.numbers["width"][row])

    def intact(self) -> bool:
        """Whether all images are as they were packed; reads all pixels."""
        offsets, data = self._bytes["pixels"]
        parts = zip(offsets[:-1], offsets[1:], self.numbers["checksum"].tolist(), strict=True)
        return all(zlib.crc32(data[start:stop].data) == checksum for start, stop, checksum in parts)

    def codes(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The code points of all texts, one after the other, and how many each text has."""
        offsets, data = self._bytes["text"]
        text = data[offsets[0] : offsets[-1]]
        codes = np.frombuffer(text.tobytes().decode().encode("utf-32-le"), np.uint32)
        before = np.concatenate(([0], np.cumsum((text & 0xC0) != 0x80)))  # bytes that begin a character
        return codes, np.diff(before[offsets - offsets[0]])

    def consistent(self) -> bool:
        """Whether every image has as many bytes as its size says, and both sides or none."""
        offsets, _ = self._bytes["pixels"]
        sizes = self.numbers["width"].astype(np.int64) * self.numbers["height"]
        wide, high = self.numbers["width"] > 0, self.numbers["height"] > 0
        positive = bool((self.numbers["width"] >= 0).all() and (self.numbers["height"] >= 0).all())
        return positive and bool((wide == high).all() and (np.diff(offsets) == sizes).all())

    def checksum(self, value: int) -> int:
        """CRC-32 of all but the pixels, which have their own; `value` is that of the block before."""
        for name in sorted(self.numbers):
            value = zlib.crc32(np.ascontiguousarray(self.numbers[name]).data, value)
        for name in sorted(self._bytes):
            offsets, data = self._bytes[name]
            value = zlib.crc32(np.ascontiguousarray(offsets - offsets[0]).data, value)
            if name != "pixels":
                value = zlib.crc32(data[offsets[0] : offsets[-1]].data, value)
        return value


def _buffers(array: Any) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets int64 (n + 1,) and bytes of a column of large strings or binaries, without copying."""
    _, offsets, data = array.buffers()
    count, skipped = len(array), array.offset
    starts = np.frombuffer(offsets, np.int64)[skipped : skipped + count + 1] if count else np.zeros(1, np.int64)
    return starts, np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)


class PackedSplit:
    """All lines of one split of a packed dataset.

    Args:
        name: of the split.
        blocks: the record batches of its shards, in order.
        known_hash: the hash of its ids and texts (`Dataset.identity`).
        packing: how it was packed.
    """

    def __init__(self, name: str, blocks: Sequence[Block], known_hash: str, packing: Packing):
        self.name, self.blocks, self.hash, self.packing = name, blocks, known_hash, packing
        self.starts = list(accumulate((block.count for block in blocks), initial=0))
        self.numbers = {
            column: np.concatenate([np.zeros(0, kind), *(block.numbers[column] for block in blocks)])
            for column, kind in NUMBERS.items()
        }

    def __len__(self) -> int:
        return self.starts[-1]

    def find(self, row: int) -> tuple[Block, int]:
        """The block of a line and its row there."""
        number = bisect_right(self.starts, row) - 1
        return self.blocks[number], row - self.starts[number]

    def text(self, row: int, column: str = "text") -> str:
        """The text of a line in one of the columns of `STRINGS`."""
        block, at = self.find(row)
        return block.text(at, column)

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """The image of a line; see `Block.pixels`."""
        block, at = self.find(row)
        return block.pixels(at)

    def line(self, row: int) -> Line:
        """A line as an object."""
        return self._line(*self.find(row))

    def lines(self) -> Iterator[Line]:
        """All lines as objects, one after the other."""
        return (self._line(block, at) for block in self.blocks for at in range(block.count))

    def _line(self, block: Block, at: int) -> Line:
        name, text, group, page = (block.text(at, column) for column in ("id", "text", "group", "page"))
        origin = str(block.numbers["origin"][at])
        return Line(name, text, self.name, Pixels(block, at), group, page, origin)


class Pixels:
    """Gives the pixels of a packed line."""

    __slots__ = ("block", "row")

    def __init__(self, block: Block, row: int):
        self.block, self.row = block, row

    def __call__(self) -> NDArray[np.uint8]:
        return self.block.pixels(self.row)


class PackedLines(LazyLines):
    """Lines of a packed split, all or some, and whole columns of them."""

    def __init__(self, split: PackedSplit, places: Places | None = None):
        super().__init__(split.line, range(len(split)) if places is None else places)
        self.split = split

    def __iter__(self) -> Iterator[Line]:
        return self.split.lines() if isinstance(self.places, range) else super().__iter__()

    def chosen(self, indices: Sequence[int]) -> "PackedLines":
        """See `Lazy.chosen`."""
        return PackedLines(self.split, self.places_of(indices))

    @property
    def known_hash(self) -> str | None:
        """See `LazyLines.known_hash`: a part of a split has none."""
        return self.split.hash if isinstance(self.places, range) else None

    def require_height(self, height: int) -> None:
        """See `LazyLines.require_height`."""
        self.split.packing.require(height)

    def sources(self) -> list[int]:
        """See `LazyLines.sources`."""
        found: list[int] = self.column("origin").tolist()
        return found

    def column(self, name: str) -> NDArray[Any]:
        """A column of `NUMBERS`: `width`, `height`, `checksum` or `origin` of every line."""
        return self.split.numbers[name][np.asarray(self.places, np.int64)]

    def strings(self, column: str) -> Lazy[str]:
        """A column of `STRINGS`, such as `text`, whose items are read when they are asked for."""
        return Lazy(lambda row: self.split.text(row, column), self.places)

    def images(self, height: int) -> Lazy[NDArray[np.uint8]]:
        """The images scaled to a height, uint8 (height, w) each, read when they are asked for."""
        limit = np.iinfo(np.int32).max
        return Lazy(lambda row: resize_to_height(self.split.pixels(row), height, limit), self.places)

    def widths(self, height: int) -> NDArray[np.int64]:
        """The widths of the images at a height, in pixels; 0 where there is no image."""
        return scaled_widths(self.column("width").astype(np.int64), self.column("height").astype(np.int64), height)

    def characters(self) -> Counter[str]:
        """The characters of the texts, with counts."""
        counts = np.zeros(_CODE_POINTS, np.int64)
        times = np.bincount(np.asarray(self.places, np.int64), minlength=len(self.split))
        for start, (codes, lengths) in zip(self.split.starts, self._codes(), strict=False):
            weights = np.repeat(times[start : start + len(lengths)], lengths)
            found = np.bincount(codes[weights > 0], weights[weights > 0])
            counts[: len(found)] += found.astype(np.int64)
        return Counter({chr(code): int(counts[code]) for code in np.flatnonzero(counts)})

    def frames_needed(self, charset: Charset) -> NDArray[np.int64]:
        """The fewest frames that can emit each text (`reference.frames_needed`), int64."""
        if charset.reorders:
            needed = (reference.frames_needed(charset.encode(text)) for text in self.strings("text"))
            return np.fromiter(needed, np.int64, len(self))
        labels = np.zeros(_CODE_POINTS, np.int32)
        labels[[ord(character) for character in charset.characters]] = np.arange(1, charset.classes)
        parts = [np.zeros(0, np.int64)]
        for codes, lengths in self._codes():
            emitted, line = labels[codes], np.repeat(np.arange(len(lengths)), lengths)
            emitted, line = emitted[emitted > 0], line[emitted > 0]
            again = line[1:][(emitted[1:] == emitted[:-1]) & (line[1:] == line[:-1])]
            parts.append(np.bincount(line, minlength=len(lengths)) + np.bincount(again, minlength=len(lengths)))
        return np.concatenate(parts)[np.asarray(self.places, np.int64)]

    def _codes(self) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.int64]]]:
        """The code points of all texts of the split, and how many each text has, block by block."""
        return (block.codes() for block in self.split.blocks)

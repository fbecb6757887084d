"""Lines made ready for training: pixels at the model's height, labels, and what had to be left out."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import Charset
from htrcompress.data.batching import Batch, collate
from htrcompress.data.checksum import checksum_of_joined
from htrcompress.data.lazy import Lazy, chosen, joined
from htrcompress.data.lines import JoinedLines, Line, NamedLines, require_height
from htrcompress.data.loading import check_usable, failures, load_each
from htrcompress.data.packed import PackedLines
from htrcompress.decoding import reference
from htrcompress.errors import HtrError
from htrcompress.image import overlong
from htrcompress.utils import machine


@dataclass(frozen=True)
class Columns:
    """What batches are planned by, for each line.

    Attributes:
        height: of all images, in pixels.
        widths: in pixels, int64.
        frames: the fewest frames that can emit the labels, int64.
        checksums: CRC-32 of the pixels, uint32.
    """

    height: int
    widths: NDArray[np.int64]
    frames: NDArray[np.int64]
    checksums: NDArray[np.uint32]


@dataclass(frozen=True)
class EncodedLines:
    """Lines ready to be batched: in memory, or packed and read when a batch is made.

    Attributes:
        images: uint8 (H, w) each.
        labels: the labels of each; none for a line without a transcription.
        texts: the transcriptions.
        names: the ids, for error messages.
        stored: the columns, where they are known without the images and labels.
    """

    images: Sequence[NDArray[np.uint8]]
    labels: Sequence[Sequence[int]]
    texts: Sequence[str]
    names: Sequence[str]
    stored: Columns | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def widths(self) -> list[int]:
        """Width of every image in pixels."""
        return self.stored.widths.tolist() if self.stored else [image.shape[1] for image in self.images]

    @property
    def frames_needed(self) -> NDArray[np.int64]:
        """The fewest frames that can emit the labels of every line, int64."""
        if self.stored:
            return self.stored.frames
        return np.array([reference.frames_needed(labels) for labels in self.labels], np.int64)

    def fingerprint(self) -> str:
        """A checksum of all pixels and labels: what a resumed run compares.

        It is the CRC-32 of each image's bytes and of its shape and labels, one after the other.
        """
        if not len(self):
            return f"{0:08x}"
        columns = self._columns()
        checksums, lengths = np.zeros((len(self), 2), np.uint32), np.zeros((len(self), 2), np.int64)
        checksums[:, 0], lengths[:, 0] = columns.checksums, columns.height * columns.widths
        for row, (width, labels) in enumerate(zip(columns.widths.tolist(), self.labels, strict=True)):
            about = repr(((columns.height, width), *labels)).encode()
            checksums[row, 1], lengths[row, 1] = zlib.crc32(about), len(about)
        return f"{checksum_of_joined(checksums.ravel(), lengths.ravel()):08x}"

    def joined(self, others: "EncodedLines") -> "EncodedLines":
        """These lines and others, of the same height."""
        stored = None
        if (self.stored or others.stored) and len(self) and len(others):
            mine, theirs = self._columns(), others._columns()
            pairs = [(getattr(mine, name), getattr(theirs, name)) for name in ("widths", "frames", "checksums")]
            stored = Columns(mine.height, *map(np.concatenate, pairs))
        elif self.stored or others.stored:
            return self if len(self) else others
        return EncodedLines(
            joined(self.images, others.images),
            joined(self.labels, others.labels),
            joined(self.texts, others.texts),
            joined(self.names, others.names),
            stored,
        )

    def subset(self, indices: Sequence[int]) -> "EncodedLines":
        """Some of the lines, in the order given."""
        stored = self.stored
        if stored:
            rows = np.asarray(indices, np.int64)
            stored = Columns(stored.height, stored.widths[rows], stored.frames[rows], stored.checksums[rows])
        return EncodedLines(
            chosen(self.images, indices),
            chosen(self.labels, indices),
            chosen(self.texts, indices),
            chosen(self.names, indices),
            stored,
        )

    def batch(self, indices: Sequence[int]) -> Batch:
        """Some of the lines as a batch."""
        return collate([self.images[i] for i in indices], [self.labels[i] for i in indices])

    def _columns(self) -> Columns:
        if self.stored:
            return self.stored
        checksums = np.array([zlib.crc32(np.ascontiguousarray(image).data) for image in self.images], np.uint32)
        return Columns(self.images[0].shape[0], np.array(self.widths, np.int64), self.frames_needed, checksums)


def encode_splits(
    splits: Mapping[str, Sequence[Line]], charset: Charset, height: int, max_width: int, max_unreadable: float = 0.0
) -> dict[str, EncodedLines]:
    """Reads the images of splits, unless they are packed; characters outside the charset get no label.

    Args:
        splits: lines by split.
        charset: gives the labels (`unknown_characters` tells what has none).
        height: of the images, in pixels.
        max_width: the widest image allowed, in pixels at that height.
        max_unreadable: the share of all lines that may be unreadable; they are left out.

    Raises:
        HtrError: more images than that cannot be used; the sentence names up to ten, of all splits. Or the images are
            packed at a smaller height.
    """
    encoded: dict[str, EncodedLines] = {}
    errors: list[str] = []
    for name, lines in splits.items():
        require_height(lines, height)
        encoded[name], failed = _encode(lines, charset, height, max_width)
        errors += failed
    check_usable(errors, sum(map(len, splits.values())), max_unreadable)
    return encoded


def encode_lines(
    lines: Sequence[Line], charset: Charset, height: int, max_width: int, max_unreadable: float = 0.0
) -> EncodedLines:
    """Reads the images of one split; see `encode_splits`."""
    return encode_splits({"": lines}, charset, height, max_width, max_unreadable)[""]


def _encode(lines: Sequence[Line], charset: Charset, height: int, max_width: int) -> tuple[EncodedLines, list[str]]:
    """The lines that can be used, and what is wrong with the others."""
    if isinstance(lines, JoinedLines):
        encoded, errors = EncodedLines([], [], [], []), list[str]()
        for part in lines.parts:
            more, failed = _encode(part, charset, height, max_width)
            encoded, errors = encoded.joined(more), [*errors, *failed]
        return encoded, errors
    if isinstance(lines, PackedLines):
        return _encode_packed(lines, charset, height, max_width)
    if isinstance(lines, NamedLines) and isinstance(lines.lines, PackedLines | JoinedLines):
        encoded, errors = _encode(lines.lines, charset, height, max_width)
        folder, names = lines.name, encoded.names
        named = Lazy(lambda i: f"{folder}/{names[i]}", range(len(names)))
        return replace(encoded, names=named), [f"{folder}/{error}" for error in errors]
    images = load_each(lines, height, max_width, machine.cores())
    usable = [(line, image) for line, image in zip(lines, images, strict=True) if not isinstance(image, HtrError)]
    texts = [line.text for line, _ in usable]
    encoded = EncodedLines(
        [image for _, image in usable],
        [charset.encode(text) for text in texts],
        texts,
        [line.id for line, _ in usable],
    )
    return encoded, failures(lines, images)


def _encode_packed(lines: PackedLines, charset: Charset, height: int, max_width: int) -> tuple[EncodedLines, list[str]]:
    """Lines whose images and labels are read when they are asked for."""
    widths, problems, names = lines.widths(height), lines.strings("problem"), lines.strings("id")
    errors = [
        problems[i] or f"{names[i]}: {overlong(int(widths[i]), height, max_width)}"
        for i in np.flatnonzero((widths == 0) | (widths > max_width)).tolist()
    ]
    if errors:
        lines = lines.chosen(np.flatnonzero((widths > 0) & (widths <= max_width)).tolist())
    texts = lines.strings("text")
    labels = Lazy(lambda i: charset.encode(texts[i]), range(len(texts)))
    columns = Columns(height, lines.widths(height), lines.frames_needed(charset), lines.column("checksum"))
    return EncodedLines(lines.images(height), labels, texts, lines.strings("id"), columns), errors


def drop_too_narrow(lines: EncodedLines, stride: int, largest_share: float) -> tuple[EncodedLines, int]:
    """The lines that CTC can emit with a frame every `stride` pixels, and how many were left out.

    Raises:
        HtrError: more than `largest_share` of them cannot be emitted, or all.
    """
    frames, widths = lines.frames_needed, np.asarray(lines.widths, np.int64)
    keep = np.flatnonzero((frames > 0) & (frames <= -(-widths // stride))).tolist()
    out = len(lines.texts) - len(keep)
    if out > largest_share * len(lines.texts) or not keep:
        allow = ", or allow it with --train.max_too_narrow" if keep else ""
        unread = [lines.names[i] for i in np.flatnonzero(frames == 0).tolist()]
        if 2 * len(unread) > out:
            raise HtrError(
                f"{len(unread)} of {len(lines.texts)} training lines hold no character of the model's charset, such "
                f"as {unread[0]}: choose --charset union or replace{allow}"
            )
        kept = set(keep)
        first = next(name for i, name in enumerate(lines.names) if i not in kept)
        raise HtrError(
            f"{out} of {len(lines.texts)} training lines have more characters than frames of {stride} pixels, "
            f"such as {first}: check the images{allow}"
        )
    return lines.subset(keep), out

"""Lines made ready for training: pixels at the model's height, labels, and what had to be left out."""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import Charset
from htrcompress.data.batching import Batch, collate
from htrcompress.data.lines import Line
from htrcompress.data.loading import check_readable, load_each
from htrcompress.decoding import reference
from htrcompress.errors import HtrError
from htrcompress.utils import machine


@dataclass(frozen=True)
class EncodedLines:
    """Lines in memory, ready to be batched.

    Attributes:
        images: uint8 (H, w) each.
        labels: the labels of each; none for a line without a transcription.
        texts: the transcriptions.
        names: the ids, for error messages.
    """

    images: Sequence[NDArray[np.uint8]]
    labels: Sequence[Sequence[int]]
    texts: Sequence[str]
    names: Sequence[str]

    @property
    def widths(self) -> list[int]:
        """Width of every image in pixels."""
        return [image.shape[1] for image in self.images]

    def fingerprint(self) -> str:
        """A checksum of all pixels and labels: what a resumed run compares."""
        value = 0
        for image, labels in zip(self.images, self.labels, strict=True):
            value = zlib.crc32(repr((image.shape, *labels)).encode(), zlib.crc32(image.tobytes(), value))
        return f"{value:08x}"

    def joined(self, others: "EncodedLines") -> "EncodedLines":
        """These lines and others."""
        mine, theirs = vars(self).values(), vars(others).values()
        return EncodedLines(*([*a, *b] for a, b in zip(mine, theirs, strict=True)))

    def subset(self, indices: Sequence[int]) -> "EncodedLines":
        """Some of the lines, in the order given."""
        return EncodedLines(
            [self.images[i] for i in indices],
            [self.labels[i] for i in indices],
            [self.texts[i] for i in indices],
            [self.names[i] for i in indices],
        )

    def batch(self, indices: Sequence[int]) -> Batch:
        """Some of the lines as a batch."""
        return collate([self.images[i] for i in indices], [self.labels[i] for i in indices])


def encode_splits(
    splits: Mapping[str, Sequence[Line]], charset: Charset, height: int, max_width: int, max_unreadable: float = 0.0
) -> dict[str, EncodedLines]:
    """Reads the images of splits; characters outside the charset get no label (`unknown_characters`).

    Args:
        splits: lines by split.
        charset: gives the labels.
        height: of the images, in pixels.
        max_width: the widest image allowed, in pixels at that height.
        max_unreadable: the share of all lines that may be unreadable; they are left out.

    Raises:
        HtrError: more images than that cannot be used; the sentence names up to ten, of all splits.
    """
    lines = [line for some in splits.values() for line in some]
    images = load_each(lines, height, max_width, machine.cores())
    readable = set(check_readable(lines, images, max_unreadable))
    encoded, start = {}, 0
    for name, some in splits.items():
        places = [place for place in range(start, start + len(some)) if place in readable]
        texts = [lines[place].text for place in places]
        encoded[name] = EncodedLines(
            [cast(NDArray[np.uint8], images[place]) for place in places],
            [charset.encode(text) for text in texts],
            texts,
            [lines[place].id for place in places],
        )
        start += len(some)
    return encoded


def encode_lines(lines: Sequence[Line], charset: Charset, height: int, max_width: int) -> EncodedLines:
    """Reads the images of one split; see `encode_splits`."""
    return encode_splits({"": lines}, charset, height, max_width)[""]


def drop_too_narrow(lines: EncodedLines, stride: int, largest_share: float) -> tuple[EncodedLines, int]:
    """The lines that CTC can emit with a frame every `stride` pixels, and how many were left out.

    Raises:
        HtrError: more than `largest_share` of them cannot be emitted, or all.
    """
    keep = [
        i
        for i, (image, labels) in enumerate(zip(lines.images, lines.labels, strict=True))
        if labels and reference.frames_needed(labels) <= -(-image.shape[1] // stride)
    ]
    out = len(lines.texts) - len(keep)
    if out > largest_share * len(lines.texts) or not keep:
        allow = ", or allow it with --train.max_too_narrow" if keep else ""
        unread = [name for name, labels in zip(lines.names, lines.labels, strict=True) if not labels]
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


def unknown_characters(texts: Sequence[str], charset: Charset) -> dict[str, int]:
    """Characters outside the charset and how often they occur."""
    return dict(Counter(c for text in texts for c in charset.unknown(text)).most_common())

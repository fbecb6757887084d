"""Lines made ready for training: pixels at the model's height, labels, and what had to be left out."""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import Charset
from htrcompress.data.batching import Batch, collate
from htrcompress.data.lines import Line
from htrcompress.data.loading import load_lines
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


def encode_lines(lines: Sequence[Line], charset: Charset, height: int, max_width: int) -> EncodedLines:
    """Reads the lines of a split; characters outside the charset get no label (`unknown_characters`)."""
    images = load_lines(lines, height, max_width, machine.cores())
    texts = [line.text for line in lines]
    return EncodedLines(images, [charset.encode(text) for text in texts], texts, [line.id for line in lines])


def drop_too_narrow(examples: EncodedLines, stride: int, largest_share: float) -> tuple[EncodedLines, int]:
    """The examples that CTC can emit with a frame every `stride` pixels, and how many were left out.

    Raises:
        HtrError: more than `largest_share` of them cannot be emitted, or all.
    """
    keep = [
        i
        for i, (image, labels) in enumerate(zip(examples.images, examples.labels, strict=True))
        if labels and reference.frames_needed(labels) <= -(-image.shape[1] // stride)
    ]
    out = len(examples.texts) - len(keep)
    if out > largest_share * len(examples.texts) or not keep:
        left, allow = set(keep), ", or allow it with --train.max_too_narrow" if keep else ""
        unread = [name for name, labels in zip(examples.names, examples.labels, strict=True) if not labels]
        if 2 * len(unread) > out:
            raise HtrError(
                f"{len(unread)} of {len(examples.texts)} training lines hold no character of the model's charset, such "
                f"as {unread[0]}: choose --charset union or replace{allow}"
            )
        first = next(name for i, name in enumerate(examples.names) if i not in left)
        raise HtrError(
            f"{out} of {len(examples.texts)} training lines have more characters than frames of {stride} pixels, "
            f"such as {first}: check the images{allow}"
        )
    return examples.subset(keep), out


def unknown_characters(texts: Sequence[str], charset: Charset) -> dict[str, int]:
    """Characters outside the charset and how often they occur."""
    return dict(Counter(c for text in texts for c in charset.unknown(text)).most_common())

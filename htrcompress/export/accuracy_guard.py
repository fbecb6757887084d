"""The guard that INT8 has to pass: the CER on validation lines, before and after.

Rounding flips doubtful characters either way, and over a few hundred lines that chance alone is wider than any limit
worth setting. So a short split is read several times, each line a little slanted, stretched or faded, and a line
counts with its mean over the versions.

A mixture of layers that was chosen because it does well on some lines looks better on those lines than it is. So the
split has two parts: the mixture is chosen on one, and vouched for on the other, once.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from htrcompress import metrics
from htrcompress.config import AugmentConfig
from htrcompress.data.batching import by_width
from htrcompress.data.prepare import EncodedLines
from htrcompress.decoding import reference
from htrcompress.errors import Refused
from htrcompress.image import pad
from htrcompress.metrics import Score
from htrcompress.runtime.backend import Backend

logger = logging.getLogger(__name__)

BATCH = 16
READINGS, VERSIONS = 2000, 8
"""Readings that each part of the split should give, and the most versions of a line that make up for a short split."""
VARIATION = AugmentConfig(
    slant=0.05,
    stretch=0.03,
    size=0.03,
    shift=0.02,
    drift=0.005,
    elastic=0.005,
    stroke=0,
    ink=0.1,
    noise=0.01,
    stripes=0,
)
"""How the versions differ: a fifth of what training varies, so that they read about as well as the line itself."""

Mixture = TypeVar("Mixture")
Versions = Sequence[EncodedLines]


@dataclass(frozen=True)
class Vouched:
    """What the guard found on lines that had no part in the choice.

    Attributes:
        lines: how many validation lines vouch.
        available: how many validation lines there were, those for the choice included.
        cer: of the FP32 model and of the chosen mixture on the lines as they are, fractions.
        rise: far end of the paired 95 % interval of the CER's rise, a fraction, over all versions.
    """

    lines: int
    available: int
    cer: tuple[float, float]
    rise: float


class Guard:
    """Validation lines in two parts, and how the FP32 model reads them.

    Args:
        model: the FP32 model.
        valid: validation lines.
        limit: the largest rise of the CER, a fraction, at the far end of its interval.
        min_lines: the fewest lines that the guard vouches on.

    Raises:
        Refused: there are fewer lines.
    """

    def __init__(self, model: Backend, valid: EncodedLines, limit: float, min_lines: int):
        self.lines, self.limit = len(valid.texts), limit
        if self.lines < min_lines:
            raise Refused(
                f"INT8 needs {min_lines} validation lines to be vouched for, and there are {self.lines}: give more "
                "with --data, or accept fewer with --min-guard-lines"
            )
        parts = [valid.subset(range(start, self.lines, 2)) for start in (0, min(1, self.lines - 1))]
        self.choosing, self.vouching = (versions(part, model.card.stride) for part in parts)
        self.expected = [scores(model, some) for some in (self.choosing, self.vouching)]

    def select(self, mixtures: Iterable[tuple[Mixture, Backend]]) -> tuple[Mixture, Vouched] | None:
        """The first mixture that does well where it is chosen, if it does well on the other lines too; else None."""
        chosen = first_within(mixtures, lambda found: self._rise(0, found[1])[1], self.limit)
        if chosen is None:
            return None
        read, rise = self._rise(1, chosen[1])
        logger.info("vouching on lines that had no part in the choice: the CER rises by up to %+.2f points", 100 * rise)
        if not rise <= self.limit:
            return None
        return chosen[0], Vouched(len(self.vouching[0].texts), self.lines, (self.expected[1][0].cer, read[0].cer), rise)

    def _rise(self, part: int, backend: Backend) -> tuple[list[Score], float]:
        read = scores(backend, (self.choosing, self.vouching)[part])
        return read, metrics.mean_difference(read, self.expected[part])[2]


def first_within(candidates: Iterable[Mixture], rise: Callable[[Mixture], float], limit: float) -> Mixture | None:
    """The first candidate whose CER rises by no more than the limit, a fraction; None if there is none."""
    for number, candidate in enumerate(candidates):
        found = rise(candidate)
        logger.info("mixture %d: the CER rises by up to %+.2f points", number + 1, 100 * found)
        if found <= limit:
            return candidate
    return None


def versions(examples: EncodedLines, stride: int) -> list[EncodedLines]:
    """The lines as they are, and as many varied copies as `READINGS` asks for."""
    count = min(VERSIONS, -(-READINGS // len(examples.texts)))
    return [examples, *(_varied(examples, stride, seed) for seed in range(1, count))]


def _varied(examples: EncodedLines, stride: int, seed: int) -> EncodedLines:
    import torch

    from htrcompress.data.augment import augment

    images = list(examples.images)
    for number, indices in enumerate(by_width(examples.widths, BATCH)):
        needed = torch.tensor([reference.frames_needed(examples.labels[i]) for i in indices])
        batch = augment(examples.batch(indices), VARIATION, needed, stride, seed * len(images) + number)
        for i, pixels, width in zip(indices, batch.pixels.numpy(), batch.widths.tolist(), strict=True):
            images[i] = np.ascontiguousarray(pixels[0, :, :width])
    return replace(examples, images=images)


def scores(backend: Backend, lines: Versions) -> list[Score]:
    """How a model reads every version of the lines."""
    charset = backend.card.characters()
    found = []
    for examples in lines:
        texts = [""] * len(examples.texts)
        for indices, pixels, widths in batches(examples):
            output = backend.run(pixels, widths)
            for i, row, length in zip(indices, output.labels.tolist(), output.lengths.tolist(), strict=True):
                texts[i] = charset.decode(row[:length])
        found.append(metrics.score(examples.texts, texts))
    return found


def logits(backend: Backend, examples: EncodedLines) -> list[Any]:
    """The logits of every batch, FP32 (B, T, C), of a back end that was opened for them."""
    return [backend.run(pixels, widths).logits for _, pixels, widths in batches(examples)]


def batches(examples: EncodedLines) -> Iterator[tuple[list[int], Any, Any]]:
    """Indices, pixels uint8 (B, 1, H, W) and widths int32 (B,) of lines of like width."""
    for indices in by_width(examples.widths, BATCH):
        yield indices, *pad([examples.images[i] for i in indices])

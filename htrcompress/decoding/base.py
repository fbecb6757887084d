"""`Decoder`: from frames of logits to readings. A new decoder is one file and one row in `registry.DECODERS`.

Greedy decoding stands inside exported graphs (`greedy.py`); every other decoder runs behind the network, on logits
that the back end gives when it is opened for them. One that also reads with an attention decoder holds the network of
that (`attention.AttentionModel`), and is given its `memory` of the frames.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.decoding import reference


@dataclass(frozen=True)
class Hypothesis:
    """One reading of a line.

    Attributes:
        labels: indices into the charset plus one, without blanks.
        score: log-probability for each character, the larger the better; -inf if there are no characters.
    """

    labels: tuple[int, ...]
    score: float


class Decoder(Protocol):
    """Turns frames of logits into readings."""

    def decode(
        self,
        logits: NDArray[np.float32],
        frames: NDArray[np.integer],
        n_best: int = 1,
        memory: NDArray[np.float32] | None = None,
    ) -> list[list[Hypothesis]]:
        """The readings of each row, the best first: at least one, and at most `n_best`.

        Args:
            logits: (B, T, C), not normalised; class 0 is the blank.
            frames: (B,), valid frames of each row; what lies beyond them must not matter.
            n_best: the largest number of readings for each row.
            memory: (B, T, M), what an attention decoder reads of the frames; given only to decoders that were made
                with the network of one (`registry.OVER_ATTENTION`).
        """


class GreedyDecoder:
    """The best label of every frame, as exported graphs compute it; the reference for them."""

    def __init__(self, card: Card):
        self.card = card

    def decode(
        self,
        logits: NDArray[np.float32],
        frames: NDArray[np.integer],
        n_best: int = 1,
        memory: NDArray[np.float32] | None = None,
    ) -> list[list[Hypothesis]]:
        """See `Decoder.decode`."""
        labels, lengths, scores = reference.greedy(logits, frames)
        rows = zip(labels.tolist(), lengths.tolist(), scores.tolist(), strict=True)
        return [[Hypothesis(tuple(row[:length]), score)] for row, length, score in rows]

"""Reading with an attention decoder: `--decoder attention`, and `--decoder joint`, which asks CTC as well.

A beam search writes all texts of a line character by character. A text scores (1 - c) times what the attention decoder
says plus c times what CTC says about it (`ctc_prefix.py`; Watanabe et al. 2017, section III-B), plus what the language
says (`language.py`); without CTC, c is 0. CTC's part forbids what attention alone is prone to: loops, and texts that
leave out a part of the line.

The network of the decoder is the back end's (`runtime/attention.py`); here it is an `AttentionModel`. All lines of a
call advance together, and none depends on the others but in the last bits of the network's sums.
"""

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.charset import BLANK
from htrcompress.decoding.base import Hypothesis
from htrcompress.decoding.ctc_prefix import CtcPrefixes
from htrcompress.decoding.language import Follower, Language
from htrcompress.decoding.search import NOT_NUMBERS
from htrcompress.errors import HtrError

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]
GIVEN_UP = 20.0
"""Texts that score so much below those that are complete are not continued, where a bonus could still help them."""


@dataclass(frozen=True)
class AttentionOptions:
    """How the attention decoder reads."""

    width: int = 6
    """Texts of a line that are continued at the same time."""
    ctc: float = 0.7
    """Weight of CTC in the joint decoder, from 0 to 1; the attention decoder has the rest, and deserves the less the
    shorter it was trained."""

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 1024:
            raise HtrError(f"--attention.width must be from 1 to 1,024, not {self.width}")
        if not 0 <= self.ctc <= 1:
            raise HtrError(f"--attention.ctc must be from 0 to 1, not {self.ctc}")


class Steps(Protocol):
    """The attention decoder at work on some lines: it remembers their texts so far."""

    def advance(self, labels: Labels, parents: Labels) -> NDArray[np.float32]:
        """Log-probabilities (B, K, C) of what follows; label 0 is the end of the text.

        Args:
            labels: (B, K), the last label of each text; 0 at the start, where K is 1.
            parents: (B, K), which of the line's texts of the call before each of them continues; 0 at the start.
        """


class AttentionModel(Protocol):
    """The network of an attention decoder."""

    def begin(self, memory: NDArray[np.float32], frames: NDArray[np.integer]) -> Steps:
        """Begins to read some lines: `Output.memory`, (B, T, M), of which (B,) frames are valid in each row."""


class AttentionDecoder:
    """Reads with an attention decoder, with CTC and with what is known about the language.

    Args:
        card: the recogniser's card.
        model: the network.
        language: what is known about the language.
        width: texts of a line that are continued at the same time.
        ctc: weight of CTC; 0 does not ask it.
    """

    def __init__(self, card: Card, model: AttentionModel, language: Language, width: int, ctc: float):
        self.card, self.model, self.language, self.width, self.ctc = card, model, language, width, ctc
        self.follower = Follower(card, language)

    def __reduce__(self) -> tuple[type["AttentionDecoder"], tuple[Card, AttentionModel, Language, int, float]]:
        return AttentionDecoder, (self.card, self.model, self.language, self.width, self.ctc)

    def decode(
        self,
        logits: NDArray[np.float32],
        frames: NDArray[np.integer],
        n_best: int = 1,
        memory: NDArray[np.float32] | None = None,
    ) -> list[list[Hypothesis]]:
        """The readings of each row, the best first; see `Decoder.decode`.

        Raises:
            HtrError: there is no memory, or numbers are not finite.
        """
        if memory is None:
            raise HtrError(f"{self.card.name} was opened without what its attention decoder reads")
        if not len(logits):
            return []
        search = _Search(self, logits, np.asarray(frames, np.int64), n_best, memory)
        while not search.done():
            search.advance()
        return search.found()


@dataclass
class _Line:
    """The texts of one line.

    Attributes:
        limit: the most characters: one for each frame.
        texts: of the hypotheses that are continued.
        complete: those that have ended, with their scores.
    """

    limit: int
    texts: list[tuple[int, ...]]
    complete: list[tuple[float, tuple[int, ...]]] = field(default_factory=list)


class _Search:
    """One call of `decode`. Arrays are (B, K): a score of -inf stands where a line has fewer texts."""

    def __init__(
        self,
        decoder: AttentionDecoder,
        logits: NDArray[np.float32],
        frames: NDArray[np.int64],
        n_best: int,
        memory: NDArray[np.float32],
    ):
        self.ctc, self.width, self.n_best = decoder.ctc, max(decoder.width, n_best), n_best
        self.prefixes = CtcPrefixes(logits, frames) if decoder.ctc else None
        self.steps, self.follower = decoder.model.begin(memory, frames), decoder.follower
        self.rises = decoder.follower.rises
        start = (len(logits), 1)
        self.labels: Labels = np.zeros(start, np.int64)
        self.parents: Labels = np.zeros(start, np.int64)
        self.attention: Numbers = np.zeros(start)
        self.language: Numbers = np.zeros(start)
        self.score: Numbers = np.zeros(start)
        self.states = self.follower.begin(len(logits))
        self.lines = [_Line(int(count), [()]) for count in frames]
        self.written = 0

    def advance(self) -> None:
        """Writes one more character, or the end, behind every text, and keeps the best of each line."""
        attention = self.attention[:, :, None] + self.steps.advance(self.labels, self.parents)
        language, following = self.follower.follow(self.states)
        language += self.language[:, :, None]
        score = (1 - self.ctc) * attention + language
        if self.prefixes:
            score += self.ctc * self.prefixes.extensions()
        if np.isnan(score).any():
            raise HtrError(NOT_NUMBERS)
        score[self.score == -np.inf] = -np.inf
        score[[self.written >= line.limit for line in self.lines], :, 1:] = -np.inf  # at its limit a text ends
        flat, classes = score.reshape(len(score), -1), score.shape[2]
        best = np.argsort(-flat, 1, kind="stable")[:, : self.width]
        self.score = np.take_along_axis(flat, best, 1)
        self.parents, self.labels = best // classes, best % classes
        self._complete()
        row = np.arange(len(best))[:, None]
        self.attention = attention[row, self.parents, self.labels]
        self.language = language[row, self.parents, self.labels]
        self.states = following[row, self.parents, self.labels]
        if self.prefixes:
            self.prefixes.extend(self.parents, self.labels)
        self.written += 1

    def _complete(self) -> None:
        """Moves the texts that have ended to those that are complete, and lets the others grow."""
        for place, line in enumerate(self.lines):
            texts, rows = [], zip(self.parents[place].tolist(), self.labels[place].tolist(), strict=True)
            for score, (parent, label) in zip(self.score[place].tolist(), rows, strict=True):
                before = line.texts[parent]
                if label == BLANK and score > -math.inf:
                    line.complete.append((score, before))
                texts.append((*before, label))
            line.texts = texts
            self.score[place, self.labels[place] == BLANK] = -np.inf
            if self._decided(line, float(self.score[place].max())):
                self.score[place] = -np.inf

    def _decided(self, line: _Line, best: float) -> bool:
        """Whether no text that is still written will be among the readings that are asked for."""
        if len(line.complete) < self.n_best:
            return False
        worst = sorted(line.complete, key=lambda entry: -entry[0])[self.n_best - 1][0]
        return best <= worst - (GIVEN_UP if self.rises else 0)

    def done(self) -> bool:
        """Whether no line has a text to continue."""
        return bool((self.score == -np.inf).all())

    def found(self) -> list[list[Hypothesis]]:
        """The readings of each line, the best first; an empty one where nothing is possible."""
        readings = []
        for line in self.lines:
            best = sorted(line.complete, key=lambda entry: -entry[0])[: self.n_best] or [(-math.inf, ())]
            readings.append([Hypothesis(text, score / len(text) if text else -math.inf) for score, text in best])
        return readings

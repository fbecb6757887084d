"""How sure a reading is: the odds of each character against all others in its place, as calibrated probabilities.

The picture says how much more probable the reading is than the same with another character in one place
(`alignment.py`); what the decoder knows about the language says the same about the texts. Together they are the odds of
the character. Odds of networks and language models are too sure of themselves, so a logistic map (Platt 1999), fitted
on validation lines by `python -m htrcompress.calibrate`, turns them into probabilities; its slope is the inverse of a
temperature (Guo et al. 2017). A word is as sure as all of its characters together, through a map of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.charset import BLANK
from htrcompress.decoding.alignment import Alignment, align
from htrcompress.decoding.language import LabelRows, Language, label_symbols
from htrcompress.decoding.ngram import Rows
from htrcompress.errors import HtrError

LARGEST = 30.0
"""Log-odds end here, which is a probability of one but for 1e-13."""
LONGEST_MEMORY = 24
"""Characters behind an alternative whose score may change by it; n-grams forget it sooner."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Map:
    """From log-odds to a probability: 1 / (1 + exp(-(slope * odds + offset)))."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, odds: Floats) -> Floats:
        """The probabilities of some log-odds."""
        return 1 / (1 + np.exp(-np.clip(self.slope * odds + self.offset, -LARGEST, LARGEST)))


@dataclass(frozen=True)
class Calibration:
    """The maps of characters and words; they travel with the model, or with the language model that they belong to."""

    character: Map = Map()
    word: Map = Map()

    def to_text(self) -> str:
        """Four numbers, as cards and language models hold them."""
        maps = self.character, self.word
        return " ".join(f"{value:.6g}" for each in maps for value in (each.slope, each.offset))

    @classmethod
    def from_text(cls, text: str, where: str) -> "Calibration":
        """Reads what `to_text` gives.

        Raises:
            HtrError: it is something else.
        """
        try:
            a, b, c, d = map(float, text.split())
            if not (np.isfinite((a, b, c, d)).all() and a > 0 and c > 0):
                raise ValueError
        except ValueError:
            raise HtrError(f"the calibration in {where} is damaged: fit it again with htrcompress.calibrate") from None
        return cls(Map(a, b), Map(c, d))


@dataclass(frozen=True)
class Sureness:
    """How sure the L characters of one reading are.

    Attributes:
        alignment: see there.
        odds: log-odds of each character, before calibration, float64 (L,).
    """

    alignment: Alignment
    odds: Floats


class Odds:
    """Computes the odds of readings.

    Args:
        card: the recogniser's.
        language: what the decoder knew.
    """

    def __init__(self, card: Card, language: Language = Language()):
        self.card, self.language = card, language
        self.rows = LabelRows(language, label_symbols(card, language))

    def __reduce__(self) -> tuple[type["Odds"], tuple[Card, Language]]:
        return Odds, (self.card, self.language)

    def of(
        self, logits: NDArray[np.float32], frames: NDArray[np.integer], labels: Sequence[Sequence[int]]
    ) -> list[Sureness]:
        """The odds of the characters of some readings, for each line.

        Args:
            logits: (B, T, C); what lies beyond a line's frames does not matter.
            frames: (B,).
            labels: the reading of each line.
        """
        with np.errstate(invalid="ignore"):
            probability = np.exp(logits - logits.max(2, keepdims=True)).astype(np.float32)
            probability /= probability.sum(2, keepdims=True)
        found = []
        for place, (alignment, row) in enumerate(zip(align(probability, frames, labels), labels, strict=True)):
            if np.isnan(probability[place, : frames[place]]).any():  # a broken network is sure of nothing
                found.append(Sureness(alignment, np.full(len(row), -LARGEST)))
                continue
            change = self._language_changes(np.asarray(row, np.int64), alignment)
            others = np.zeros(len(row))
            np.add.at(others, alignment.place, np.exp(np.minimum(alignment.log_ratio + change, 700.0)))
            odds = np.clip(-np.log(np.maximum(others, 1e-300)), -LARGEST, LARGEST)
            found.append(Sureness(alignment, odds))
        return found

    def _language_changes(self, labels: NDArray[np.int64], alignment: Alignment) -> Floats:
        """What the language gives to the text with each alternative, above what it gives to the reading: (N,)."""
        change = np.where(alignment.label == BLANK, -self.language.bonus, 0.0)
        for scorer, rows in zip(self.language.scorers, self.rows.here(), strict=True):
            change += scorer.weight * _changes(rows, scorer.automaton.begin, labels, alignment)
        return change


def _changes(rows: Rows, begin: int, labels: NDArray[np.int64], alignment: Alignment) -> Floats:
    """The same for one scorer, without its weight: alternatives are followed until the scorer has forgotten them."""
    spelled = np.concatenate((labels, [len(rows.place) - 1]))  # the end of the line is the last column
    state, score = np.zeros(len(spelled) + 1, np.int64), np.zeros(len(spelled))
    state[0] = begin
    for step in range(len(spelled)):
        value, following = _step(rows, state[step : step + 1], spelled[step : step + 1])
        score[step], state[step + 1] = value[0], following[0]
    place, label = alignment.place, alignment.label
    value, after = _step(rows, state[place], np.maximum(label, 1))
    nothing = label == BLANK
    change = np.where(nothing, 0.0, value) - score[place]
    now, ahead = np.where(nothing, state[place], after), place + 1
    for _ in range(LONGEST_MEMORY):
        open_ = np.flatnonzero((ahead < len(spelled)) & (now != state[np.minimum(ahead, len(spelled))]))
        if not len(open_):
            break
        value, after = _step(rows, now[open_], spelled[ahead[open_]])
        change[open_] += value - score[ahead[open_]]
        now[open_] = after
        ahead[open_] += 1
    return change


def _step(rows: Rows, state: NDArray, label: NDArray) -> tuple[Floats, NDArray[np.int64]]:
    """Scores and next states of one label from each state."""
    row, column = rows.rows_of(state), rows.place[label]
    return rows.log_probability[row, column].astype(np.float64), rows.next_state[row, column].astype(np.int64)


def product(probability: Floats) -> float:
    """The log-odds that all are right, as if they were independent."""
    log_all = float(np.log(np.maximum(probability, 1e-12)).sum())
    return float(np.clip(log_all - np.log(max(-np.expm1(log_all), 1e-13)), -LARGEST, LARGEST))

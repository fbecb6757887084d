"""Fits the maps that make probabilities of confidences, and measures how well they hold.

A character of a reading is right where the cheapest edit of the reading into the transcription keeps it, a word
likewise among words. The maps are logistic regressions of that on the log-odds, held near the identity by a prior that
a few dozen lines outweigh.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from htrcompress.charset import Charset, clean_text
from htrcompress.decoding.base import Decoder
from htrcompress.decoding.batches import batches, decode_all
from htrcompress.decoding.confidence import Calibration, Map, Odds, product
from htrcompress.errors import HtrError

BINS = 15
"""Bins of equal width that the expected calibration error is measured in."""
PRIOR = 2.0
"""Weight of the identity in a fit, as the inverse variance of slope and offset."""
SMALLEST_SLOPE = 0.01

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """One reading beside its transcription.

    Attributes:
        text: the reading, as it stands on the page.
        labels: of it.
        odds: log-odds of its L characters before calibration, (L,).
        right: whether each is right, (L,).
        words: where each word begins and ends among the characters, (W, 2).
        words_right: whether each word is right, (W,).
    """

    text: str
    labels: tuple[int, ...]
    odds: Floats
    right: NDArray[np.bool_]
    words: NDArray[np.int64]
    words_right: NDArray[np.bool_]

    def word_odds(self, character: Map) -> Floats:
        """Log-odds of each word before its own map, (W,)."""
        probability = character(self.odds)
        return np.array([product(probability[start:end]) for start, end in self.words])


def judge(
    decoder: Decoder, odds: Odds, charset: Charset, logits: Sequence[NDArray[np.float32]], truth: Sequence[str]
) -> list[Judged]:
    """Reads lines and says which characters and words are right.

    Args:
        decoder: reads them.
        odds: for the same language.
        charset: the recogniser's.
        logits: FP32 (T, C) of each line, its own frames alone.
        truth: the transcriptions.
    """
    labels, found = decode_all(decoder, logits), [np.zeros(0)] * len(logits)
    for some, batch, frames in batches(logits):
        for i, sure in zip(some, odds.of(batch, frames, [labels[i] for i in some]), strict=True):
            found[i] = sure.odds
    return [_judged(charset, *line) for line in zip(labels, found, truth, strict=True)]


def _judged(charset: Charset, labels: tuple[int, ...], odds: Floats, truth: str) -> Judged:
    text = "".join(charset.characters[label - 1] for label in labels)
    reference = charset.on_page(clean_text(truth))
    runs = [(is_space, len(list(some))) for is_space, some in groupby(text, str.isspace)]
    ends = np.cumsum([length for _, length in runs], dtype=np.int64)
    words = [(end - length, end) for (is_space, length), end in zip(runs, ends, strict=True) if not is_space]
    right = _kept(reference, text)
    words_right = _kept(reference.split(), [text[start:end] for start, end in words])
    return Judged(text, labels, odds, right, np.array(words, np.int64).reshape(-1, 2), words_right)


def _kept(reference: str | list[str], reading: str | list[str]) -> NDArray[np.bool_]:
    """Which parts of a reading the cheapest edit keeps."""
    kept = np.zeros(len(reading), bool)
    for part in Levenshtein.opcodes(reference, reading):
        if part.tag == "equal":
            kept[part.dest_start : part.dest_end] = True
    return kept


def fit_calibration(lines: Sequence[Judged]) -> Calibration:
    """The maps of characters and words.

    Raises:
        HtrError: there are no characters to learn from.
    """
    if not sum(len(line.odds) for line in lines):
        raise HtrError("the model reads nothing in these lines, so there is nothing to calibrate with")
    character = fit_map(*of_characters(lines))
    return Calibration(character, fit_map(*of_words(lines, character)))


def of_characters(lines: Sequence[Judged]) -> tuple[Floats, NDArray[np.bool_]]:
    """Log-odds of all characters, and whether they are right."""
    return np.concatenate([line.odds for line in lines]), np.concatenate([line.right for line in lines])


def of_words(lines: Sequence[Judged], character: Map) -> tuple[Floats, NDArray[np.bool_]]:
    """Log-odds of all words before their map, and whether they are right."""
    odds = [line.word_odds(character) for line in lines]
    return np.concatenate(odds), np.concatenate([line.words_right for line in lines])


def fit_map(odds: Floats, right: NDArray[np.bool_]) -> Map:
    """The most likely map under the prior, by Newton's method with steps that are halved until they help."""
    features = np.stack((odds, np.ones(len(odds))), 1)
    start = np.array((1.0, 0.0))

    def loss(values: Floats) -> float:
        score = np.where(right, -1, 1) * (features @ values)
        return float(np.logaddexp(0, score).sum() + PRIOR / 2 * ((values - start) ** 2).sum())

    values = start
    for _ in range(100):
        probability = 1 / (1 + np.exp(-np.clip(features @ values, -500, 500)))
        gradient = features.T @ (probability - right) + PRIOR * (values - start)
        curvature = (features * (probability * (1 - probability))[:, None]).T @ features + PRIOR * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while loss(values - step) > loss(values) and np.abs(step).max() > 1e-9:
            step = step / 2
        values = values - step
        if np.abs(step).max() < 1e-7:
            break
    return Map(max(float(values[0]), SMALLEST_SLOPE), float(values[1]))


@dataclass(frozen=True)
class Bin:
    """Some predictions of similar confidence: their mean, the share that is right, and how many there are."""

    confidence: float
    right: float
    count: int


def reliability(probability: Floats, right: NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """Predictions by confidence, in bins of equal width; bins without any are left out."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    chosen = [place == number for number in range(bins)]
    kept = [some for some in chosen if some.any()]
    return [Bin(float(probability[some].mean()), float(right[some].mean()), int(some.sum())) for some in kept]


def calibration_error(probability: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error (Naeini et al. 2015): the mean gap between confidence and truth over `BINS` bins."""
    found = reliability(probability, right)
    return sum(abs(b.confidence - b.right) * b.count for b in found) / max(1, len(right))

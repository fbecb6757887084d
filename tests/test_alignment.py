"""Where characters stand and what else could: against an exhaustive sum over all alignments, in any batch."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from test_beam import _collapsed, _language
from test_ngram import _model, _texts

from htrcompress.card import Card
from htrcompress.decoding.alignment import Alignment, align
from htrcompress.decoding.confidence import Odds
from htrcompress.decoding.language import Language, Scorer

CLASSES, FRAMES = 4, 6
Labels = tuple[int, ...]


def _probability(seed: int, lines: int = 1, frames: int = FRAMES, classes: int = CLASSES) -> NDArray[np.float64]:
    values = np.exp(np.random.default_rng(seed).normal(0, 1.5, (lines, frames, classes)))
    return values / values.sum(2, keepdims=True)


def _texts_of(probability: NDArray[np.float64]) -> dict[Labels, float]:
    """Every text that some frames can write, and its probability."""
    found: dict[Labels, float] = {}
    for path in itertools.product(range(probability.shape[1]), repeat=len(probability)):
        value = float(probability[np.arange(len(probability)), list(path)].prod())
        found[_collapsed(path)] = found.get(_collapsed(path), 0.0) + value
    return found


def _with(labels: Labels, place: int, label: int) -> Labels:
    return (*labels[:place], *((label,) if label else ()), *labels[place + 1 :])


@pytest.mark.parametrize("labels", [(1,), (2, 2), (1, 2, 1), (3, 3, 3), (1, 2, 3, 1), ()])
def test_alternatives_are_as_probable_as_an_exhaustive_sum_says(labels: Labels) -> None:
    probability = _probability(len(labels))
    texts = _texts_of(probability[0])
    padded = np.concatenate((probability, np.full((1, 2, CLASSES), 7.0)), 1).astype(np.float32)  # beyond its frames
    (found,) = align(padded, np.array([FRAMES]), [labels])
    ratios = {(p, c): r for p, c, r in zip(found.place, found.label, np.exp(found.log_ratio), strict=True)}
    for place, label in itertools.product(range(len(labels)), range(CLASSES)):
        if label == labels[place]:
            assert (place, label) not in ratios
        else:
            expected = texts.get(_with(labels, place, label), 0.0) / texts[labels]
            assert ratios.get((place, label), 0.0) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_spans_are_those_of_the_best_alignment() -> None:
    probability, labels = _probability(9), (1, 2, 2)
    (found,) = align(probability.astype(np.float32), np.array([FRAMES]), [labels])
    paths = [p for p in itertools.product(range(CLASSES), repeat=FRAMES) if _collapsed(p) == labels]
    best = max(paths, key=lambda p: float(probability[0, np.arange(FRAMES), list(p)].prod()))
    runs = [list(run) for label, run in itertools.groupby(range(FRAMES), lambda t: best[t]) if label]
    assert found.first.tolist() == [run[0] for run in runs] and found.last.tolist() == [run[-1] for run in runs]


def test_a_line_gives_the_same_numbers_alone_and_beside_others() -> None:
    draw = np.random.default_rng(1)
    probability, frames = _probability(4, 7, 60, 9).astype(np.float32), np.array([60, 1, 33, 8, 60, 21, 50])
    labels = [tuple(draw.integers(1, 9, int(count) // 3).tolist()) for count in frames]
    for row, together in enumerate(align(probability, frames, labels)):
        (alone,) = align(probability[[row], : frames[row]], frames[[row]], [labels[row]])
        for name, value in vars(together).items():
            np.testing.assert_array_equal(value, getattr(alone, name))


def test_a_reading_that_no_frames_can_write_is_laid_out_evenly() -> None:
    (found,) = align(_probability(1).astype(np.float32), np.array([FRAMES]), [(1, 1, 1, 1, 1)])
    assert (np.diff(found.first) >= 0).all() and found.last.max() < FRAMES and np.isfinite(found.log_ratio).all()


def test_the_odds_hold_what_the_language_says() -> None:
    _, lm = _model(_texts(40), 3)
    charset = lm.charset
    labels = tuple(charset.encode("the cat"))
    logits = np.random.default_rng(3).normal(0, 1, (1, 16, charset.classes)).astype(np.float32)
    card = Card("test", {"family": "gated"}, charset.characters, 32, 4, 1000)
    plain = Odds(card).of(logits, np.array([16]), [labels])[0]
    told = Odds(card, Language((Scorer(lm, 0.6),), bonus=0.4)).of(logits, np.array([16]), [labels])[0]
    alignment: Alignment = plain.alignment
    others = np.zeros(len(labels))
    for place, label, ratio in zip(alignment.place, alignment.label, alignment.log_ratio, strict=True):
        change = 0.6 * (_language(lm, _with(labels, place, label)) - _language(lm, labels))
        others[place] += np.exp(ratio + change - (0.4 if label == 0 else 0.0))
    np.testing.assert_allclose(told.odds, -np.log(others), atol=1e-3)
    assert not np.allclose(told.odds, plain.odds)

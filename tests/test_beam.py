"""Prefix beam search: against an exhaustive search, with and without a language model, in any batch."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from test_ngram import _model, _texts

from htrcompress.card import Card
from htrcompress.charset import Charset
from htrcompress.decoding.base import GreedyDecoder
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.kneser_ney import END
from htrcompress.decoding.language import Language, LanguageOptions, Scorer
from htrcompress.decoding.ngram import NGram, Rows
from htrcompress.errors import HtrError

EXACT = BeamOptions(width=400, candidates=100, blank=1.0, floor=0.0)


def _speaks(lm: NGram, weight: float = 0.5, bonus: float = 0.0) -> Language:
    return Language((Scorer(lm, weight),), bonus)


def _card(charset: Charset) -> Card:
    return Card("test", {"family": "gated"}, charset.characters, 32, 4, 1000)


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return logits - np.logaddexp.reduce(logits, 1, keepdims=True)


def _collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label)


def _language(lm: NGram, labels: tuple[int, ...]) -> float:
    rows, state, total = Rows(lm, range(len(lm.charset.characters) + 3)), lm.begin, 0.0
    for symbol in [label + 2 for label in labels] + [END]:
        values, following = rows.look_up(np.array([state]))
        total, state = total + float(values[0, symbol]), int(following[0, symbol])
    return total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("with_lm", [False, True])
def test_it_finds_what_an_exhaustive_search_finds(seed: int, with_lm: bool) -> None:
    _, lm = _model(["ab ba", "abba", "b a b", "aab"], 3)
    charset = lm.charset
    logits = np.random.default_rng(seed).normal(0, 1.5, (6, charset.classes))
    frames = _log_softmax(logits)
    scores: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(charset.classes), repeat=len(frames)):
        labels = _collapsed(path)
        value = float(frames[np.arange(len(frames)), list(path)].sum())
        scores[labels] = np.logaddexp(scores.get(labels, -np.inf), value)
    if with_lm:
        scores = {labels: s + 0.7 * _language(lm, labels) for labels, s in scores.items()}
    scores = {labels: s + 0.3 * len(labels) for labels, s in scores.items()}
    decoder = BeamDecoder(_card(charset), _speaks(lm, 0.7, 0.3) if with_lm else Language(bonus=0.3), EXACT)
    [[found]] = decoder.decode(logits[None].astype(np.float32), np.array([len(frames)]))
    assert found.labels == max(scores, key=scores.__getitem__)
    if found.labels:
        assert found.score * len(found.labels) == pytest.approx(scores[found.labels], abs=1e-4)


def _peaky(lines: int, frames: int, classes: int, seed: int) -> NDArray[np.float32]:
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (lines, frames, classes))
    logits[:, :, 0] += np.where(draw.random((lines, frames)) < 0.7, 14, 0)  # most frames are blank
    return logits.astype(np.float32)


@pytest.mark.parametrize("with_lm", [False, True])
def test_a_line_reads_the_same_alone_and_beside_others(with_lm: bool) -> None:
    _, lm = _model(_texts(50), 4)
    decoder = BeamDecoder(_card(lm.charset), _speaks(lm) if with_lm else Language())
    logits, frames = _peaky(9, 70, lm.charset.classes, 1), np.array([70, 3, 40, 1, 55, 70, 22, 8, 64])
    together = decoder.decode(logits, frames, 4)
    logits[np.arange(70)[None] >= frames[:, None]] = 1e4  # what lies beyond a line's frames must not matter
    for row, count in enumerate(frames):
        assert decoder.decode(logits[[row], :count], frames[[row]], 4)[0] == together[row]
        assert decoder.decode(logits[[row]], frames[[row]], 4)[0] == together[row]


def test_a_beam_of_one_without_a_language_model_is_close_to_greedy() -> None:
    charset = Charset(tuple("abcdefgh"))
    logits, frames = 3 * _peaky(20, 60, charset.classes, 3), np.full(20, 60)
    greedy = GreedyDecoder(_card(charset)).decode(logits, frames)
    narrow = BeamDecoder(_card(charset), options=BeamOptions(width=1)).decode(logits, frames)
    same = sum(a[0].labels == b[0].labels for a, b in zip(greedy, narrow, strict=True))
    assert same >= 18


def test_characters_that_the_language_model_lacks_are_scored_as_unknown(caplog: pytest.LogCaptureFixture) -> None:
    _, lm = _model(["ab", "ba"], 2)
    decoder = BeamDecoder(_card(Charset(tuple("abxy"))), _speaks(lm))
    assert decoder.unknown == ("x", "y")
    decoder.report_unknown()
    assert "lacks x y" in caplog.text
    logits = np.full((1, 1, 5), -9.0, np.float32)
    logits[0, 0, 3] = 9
    assert decoder.decode(logits, np.array([1]))[0][0].labels == (3,)


def test_no_frame_gives_the_empty_reading() -> None:
    decoder = BeamDecoder(_card(Charset(("a",))))
    [[empty]] = decoder.decode(np.zeros((1, 4, 2), np.float32), np.array([0]))
    assert empty.labels == () and empty.score == -np.inf


@pytest.mark.parametrize("odd", [{"width": 0}, {"candidates": 0}, {"blank": 0.0}])
def test_options_that_make_no_sense_are_refused(odd: dict[str, float]) -> None:
    with pytest.raises(HtrError, match=next(iter(odd))):
        BeamOptions(**odd)  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", [{"weight": float("nan")}, {"bonus": float("inf")}, {"weight": 0.5}])
def test_a_language_that_makes_no_sense_is_refused(odd: dict[str, float]) -> None:
    with pytest.raises(HtrError, match=rf"--lm\.{next(iter(odd))}"):
        LanguageOptions(**odd)  # type: ignore[arg-type]

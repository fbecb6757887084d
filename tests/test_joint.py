"""Reading with an attention decoder and CTC: against an exhaustive search and the prefix beam search, in any batch."""

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray
from test_beam import EXACT, _card, _collapsed, _language, _log_softmax, _speaks
from test_ngram import _model, _texts

from htrcompress.charset import Charset
from htrcompress.decoding.attention import AttentionDecoder, AttentionOptions
from htrcompress.decoding.beam import BeamDecoder
from htrcompress.decoding.ctc_prefix import CtcPrefixes
from htrcompress.decoding.language import Language
from htrcompress.decoding.registry import DecoderOptions, check_decoder, make_decoder
from htrcompress.errors import HtrError

Text = tuple[int, ...]


def says(seed: int, text: Text, classes: int) -> NDArray[np.float64]:
    """What a made-up attention decoder says of the labels behind a text; each line has a seed."""
    draw = np.random.default_rng([seed, len(text), *text])
    return _log_softmax(draw.normal(0, 1.5, (1, classes)))[0]


class MadeUp:
    """An `AttentionModel` whose memory holds the line's seed in its first number."""

    def __init__(self, classes: int):
        self.classes = classes

    def begin(self, memory: NDArray[np.float32], frames: NDArray[np.integer]) -> "MadeUpSteps":
        return MadeUpSteps(self.classes, memory[:, 0, 0].astype(int).tolist())


class MadeUpSteps:
    def __init__(self, classes: int, seeds: list[int]):
        self.classes, self.seeds = classes, seeds
        self.texts: list[list[Text]] | None = None

    def advance(self, labels: NDArray[np.int64], parents: NDArray[np.int64]) -> NDArray[np.float32]:
        if self.texts is None:
            assert not labels.any() and not parents.any() and labels.shape[1] == 1
            self.texts = [[()] for _ in self.seeds]
        else:
            before = zip(self.texts, labels.tolist(), parents.tolist(), strict=True)
            self.texts = [[(*old[p], c) for c, p in zip(*new, strict=True)] for old, *new in before]
        rows = [[says(seed, t, self.classes) for t in row] for seed, row in zip(self.seeds, self.texts, strict=True)]
        return np.array(rows, np.float32)


def memory(seeds: Iterable[int], frames: int) -> NDArray[np.float32]:
    return np.array([[[seed]] * frames for seed in seeds], np.float32)


def everything(logits: NDArray[np.float64], seed: int) -> tuple[dict[Text, float], dict[Text, float]]:
    """What CTC and the made-up decoder say of every text that is not longer than the frames."""
    steps, classes = logits.shape
    frames, ctc = _log_softmax(logits), dict[Text, float]()
    for path in itertools.product(range(classes), repeat=steps):
        text, value = _collapsed(path), float(frames[np.arange(steps), list(path)].sum())
        ctc[text] = np.logaddexp(ctc.get(text, -np.inf), value)
    attention = {}
    for length in range(steps + 1):
        for text in itertools.product(range(1, classes), repeat=length):
            steps_of = (says(seed, text[:place], classes)[label] for place, label in enumerate((*text, 0)))
            attention[text] = sum(map(float, steps_of))
    return ctc, attention


@pytest.mark.parametrize("with_lm", [False, True])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_it_finds_what_an_exhaustive_search_finds(seed: int, weight: float, with_lm: bool) -> None:
    _, lm = _model(["ab ba", "abba", "b a b", "aab"], 3)
    logits = np.random.default_rng(seed).normal(0, 1.5, (4, lm.charset.classes))
    ctc, attention = everything(logits, seed)
    bonus = 0.3 if with_lm else 0.0
    scores = {}
    for text, value in attention.items():
        said = 0.7 * _language(lm, text) if with_lm else 0.0
        one = weight * ctc.get(text, -math.inf) if weight else 0.0
        scores[text] = (1 - weight) * value + one + said + bonus * len(text)
    language = _speaks(lm, 0.7, bonus) if with_lm else Language()
    decoder = AttentionDecoder(_card(lm.charset), MadeUp(lm.charset.classes), language, 400, weight)
    [found] = decoder.decode(logits[None].astype(np.float32), np.array([4]), 5, memory([seed], 4))
    best = sorted(scores, key=lambda text: -scores[text])[:5]
    assert [hypothesis.labels for hypothesis in found] == best
    for hypothesis in found:
        if hypothesis.labels:
            expected = scores[hypothesis.labels] / len(hypothesis.labels)
            assert hypothesis.score == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_with_ctc_alone_it_reads_what_the_prefix_beam_search_reads(seed: int) -> None:
    charset = Charset(tuple("abc"))
    logits = np.random.default_rng(seed).normal(0, 2, (1, 7, 4)).astype(np.float32)
    frames, card = np.array([7]), _card(charset)
    joint = AttentionDecoder(card, MadeUp(4), Language(), 2000, 1.0).decode(logits, frames, 3, memory([0], 7))
    beam = BeamDecoder(card, Language(), EXACT).decode(logits, frames, 3)
    assert [h.labels for h in joint[0]] == [h.labels for h in beam[0]]
    assert [h.score for h in joint[0]] == pytest.approx([h.score for h in beam[0]], abs=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_a_line_reads_the_same_alone_and_beside_others(weight: float) -> None:
    _, lm = _model(_texts(50), 4)
    classes = lm.charset.classes
    decoder = AttentionDecoder(_card(lm.charset), MadeUp(classes), _speaks(lm), 4, weight)
    draw = np.random.default_rng(0)
    logits, frames = draw.normal(0, 2, (6, 12, classes)).astype(np.float32), np.array([12, 1, 7, 3, 9, 12])
    together = decoder.decode(logits, frames, 2, memory(range(6), 12))
    for row, count in enumerate(frames):
        logits[row, count:] = np.nan  # what is beyond the frames does not matter
    assert decoder.decode(logits, frames, 2, memory(range(6), 12)) == together
    for row, count in enumerate(frames):
        alone = decoder.decode(logits[row : row + 1, :count], frames[row : row + 1], 2, memory([row], int(count)))
        assert alone == [together[row]]


def test_a_text_ends_at_its_line_and_a_line_has_no_more_characters_than_frames() -> None:
    class Endless(MadeUpSteps):
        """A decoder that would write for ever."""

        def advance(self, labels: NDArray[np.int64], parents: NDArray[np.int64]) -> NDArray[np.float32]:
            found = np.full((*labels.shape, self.classes), -9.0, np.float32)
            found[:, :, 1] = -0.001  # which the bonus for a character makes up for
            return found

    model = MadeUp(4)
    model.begin = lambda memory, frames: Endless(4, [0] * len(frames))  # type: ignore[method-assign]
    decoder = AttentionDecoder(_card(Charset(tuple("abc"))), model, Language(bonus=0.01), 3, 0.0)
    logits = np.zeros((2, 9, 4), np.float32)
    found = decoder.decode(logits, np.array([9, 4]), 1, memory([0, 0], 9))
    assert [len(h.labels) for [h] in found] == [9, 4]


def test_no_probability_is_lost_over_many_frames() -> None:
    """Frames that are sure of their characters leave next to nothing to a prefix that is many characters behind."""
    frames = 250
    logits = np.full((1, frames, 4), -40.0, np.float32)
    logits[0, np.arange(frames), np.arange(frames) % 3 + 1] = 0
    prefixes, zero = CtcPrefixes(logits, np.array([frames])), np.zeros((1, 1), np.int64)
    for place in range(frames):
        found = prefixes.extensions()[0, 0]
        assert found[place % 3 + 1] == pytest.approx(0, abs=1e-6) and found[(place + 1) % 3 + 1] < -30
        prefixes.extend(zero, zero + place % 3 + 1)
    assert prefixes.extensions()[0, 0, 0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    decoder = AttentionDecoder(_card(Charset(tuple("abc"))), MadeUp(4), Language(), 3, 0.5)
    logits = np.full((1, 5, 4), bad, np.float32)
    with pytest.raises(HtrError, match="not numbers"):
        decoder.decode(logits, np.array([5]), 1, memory([0], 5))


@pytest.mark.parametrize("options", [{"width": 0}, {"ctc": -0.1}, {"ctc": math.nan}])
def test_options_out_of_range_are_named(options: dict[str, float]) -> None:
    with pytest.raises(HtrError, match=f"--attention.{next(iter(options))}"):
        AttentionOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("decoder", "options", "named"),
    [
        ("greedy", DecoderOptions(attention=AttentionOptions(width=3)), "--attention"),
        ("beam", DecoderOptions(attention=AttentionOptions(width=3)), "--attention"),
        ("joint", DecoderOptions(beam=EXACT), "--beam"),
        ("attention", DecoderOptions(attention=AttentionOptions(ctc=0.5)), "--attention.ctc"),
    ],
)
def test_options_of_another_decoder_are_refused(decoder: str, options: DecoderOptions, named: str) -> None:
    with pytest.raises(HtrError, match=named):
        check_decoder(decoder, options)


def test_a_decoder_needs_the_network_of_the_attention_decoder() -> None:
    with pytest.raises(HtrError, match="attention decoder"):
        make_decoder("joint", _card(Charset(tuple("abc"))))

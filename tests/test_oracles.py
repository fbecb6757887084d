"""The beam search beside two others, on the logits of real lines: fast-ctc-decode, and flashlight-text with our n-gram.

All three prune, so none is sure to find the best text. What is asked of ours: on most lines it reads the same, and
what it reads is never less probable by the exact sums of CTC than what the other reads.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_beam import _collapsed, _language
from test_ngram import _model

from htrcompress.card import Card
from htrcompress.catalogue.find import locate
from htrcompress.decoding.base import GreedyDecoder
from htrcompress.decoding.batches import decode_all
from htrcompress.decoding.beam import BeamDecoder, BeamOptions
from htrcompress.decoding.language import Language, Scorer
from htrcompress.decoding.ngram import NGram, Rows
from htrcompress.image import pad, resize_to_height
from htrcompress.image_files import load_grey
from htrcompress.runtime.backend import Open, open_backend
from htrcompress.utils.io import read_utf8

EXAMPLES = Path(__file__).parent.parent / "examples"
WIDE = BeamOptions(width=40, candidates=40, blank=1.0, floor=0.0)
NARROW = BeamOptions(width=12, candidates=8, blank=1.0, floor=0.0)
"""For flashlight, which asks Python for every score."""
Labels = tuple[int, ...]
Logits = list[NDArray[np.float32]]


@pytest.fixture(scope="module", params=["latin-s", "copiste_fr"])
def lines(request: pytest.FixtureRequest) -> tuple[Card, Logits]:
    """Log-probabilities of the example lines, which neither model was trained on."""
    backend = open_backend(locate(request.param), Open(1, "cpu", logits=True))
    found = []
    for path in sorted(EXAMPLES.glob("*.png")):
        image = resize_to_height(load_grey(path), backend.card.height, backend.card.max_width)
        logits = backend.run(*pad([image])).logits
        assert logits is not None
        peak = logits[0] - logits[0].max(1, keepdims=True)
        found.append(peak - np.log(np.exp(peak).sum(1, keepdims=True)))
    return backend.card, found


@pytest.fixture(scope="module")
def language() -> NGram:
    texts = [row.partition("\t")[2] for row in read_utf8(EXAMPLES / "lines.tsv").split("\n") if row]
    return _model([*texts, "the roses and the boats", "la maison de la mer"], 3)[1]


def _probability(frames: NDArray[np.float32], labels: Labels) -> float:
    """Logarithm of the sum over all alignments of a text."""
    states = [0, *(label for pair in zip(labels, [0] * len(labels), strict=True) for label in pair)]
    now = np.full(len(states), -np.inf)
    now[0] = 0.0
    for frame in frames.astype(np.float64):
        reached = now.copy()
        reached[1:] = np.logaddexp(reached[1:], now[:-1])
        for state in range(3, len(states), 2):
            if states[state] != states[state - 2]:
                reached[state] = np.logaddexp(reached[state], now[state - 2])
        now = reached + frame[states]
    return float(np.logaddexp(now[-1], now[-2]) if labels else now[-1])


def test_fast_ctc_decode_finds_nothing_better(lines: tuple[Card, Logits]) -> None:
    fast = pytest.importorskip("fast_ctc_decode")
    card, logits = lines
    alphabet = ["\0", *card.charset]
    for frames, ours in zip(logits, decode_all(BeamDecoder(card, options=WIDE), logits), strict=True):
        text, _ = fast.beam_search(np.exp(frames), alphabet, beam_size=40, beam_cut_threshold=0.0)
        theirs = tuple(alphabet.index(character) for character in text)
        assert _probability(frames, ours) >= _probability(frames, theirs) - 1e-3
    assert decode_all(GreedyDecoder(card), logits)  # and the lines are not empty


def test_flashlight_finds_nothing_better_with_the_same_language_model(
    lines: tuple[Card, Logits], language: NGram
) -> None:
    card, logits = lines
    weight = 0.8
    decoder = BeamDecoder(card, Language((Scorer(language, weight),)), NARROW)
    same = 0
    for frames, ours in zip(logits, decode_all(decoder, logits), strict=True):
        theirs = _flashlight(frames, card, language, weight)
        values = [_probability(frames, t) + weight * _of(language, card, t) for t in (ours, theirs)]
        assert values[0] >= values[1] - 1e-2, (ours, theirs)
        same += ours == theirs
    assert same >= len(logits) // 2


def _of(language: NGram, card: Card, labels: Labels) -> float:
    """Log-probability of a text whose labels are the recogniser's."""
    symbols = language.symbols("".join(card.charset[label - 1] for label in labels)) - 2
    return _language(language, tuple(symbols.tolist()))


def _flashlight(frames: NDArray[np.float32], card: Card, language: NGram, weight: float) -> Labels:
    flashlight = pytest.importorskip("flashlight.lib.text.decoder")
    rows = Rows(language, [0, *language.symbols("".join(card.charset)).tolist(), 2])

    class Model(flashlight.LM):  # type: ignore[name-defined]
        """Our n-gram as its decoder wants it; a state of its is a prefix, and knows ours."""

        def __init__(self) -> None:
            flashlight.LM.__init__(self)
            self.states: dict[object, int] = {}

        def start(self, start_with_nothing: bool) -> object:
            state = flashlight.LMState()
            self.states[state] = language.begin
            return state

        def score(self, state: object, label: int) -> tuple[object, float]:
            value, after = rows.look_up(np.array([self.states[state]]))
            following = state.child(label)  # type: ignore[attr-defined]
            self.states[following] = int(after[0, label])
            return following, float(value[0, label])

        def finish(self, state: object) -> tuple[object, float]:
            value, _ = rows.look_up(np.array([self.states[state]]))
            return state, float(value[0, -1])

    options = flashlight.LexiconFreeDecoderOptions(
        beam_size=NARROW.width,
        beam_size_token=NARROW.candidates,
        beam_threshold=1e9,
        lm_weight=weight,
        sil_score=0.0,
        log_add=True,
        criterion_type=flashlight.CriterionType.CTC,
    )
    model = Model()
    decoder = flashlight.LexiconFreeDecoder(options, model, -1, 0, [])
    emissions = np.ascontiguousarray(frames, np.float32)
    best = decoder.decode(emissions.ctypes.data, *emissions.shape)[0]
    return _collapsed(tuple(max(token, 0) for token in best.tokens))  # -1 is its silence, which no frame writes

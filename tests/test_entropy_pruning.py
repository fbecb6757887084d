"""Pruned character n-grams: which n-grams go, what stays a probability, and the size that is asked for."""

import math
import random
from pathlib import Path

import numpy as np
import pytest

from htrcompress.charset import Charset
from htrcompress.decoding import entropy_pruning, kneser_ney, ngram
from htrcompress.decoding.kneser_ney import SPECIAL
from htrcompress.decoding.ngram_file import load_ngram
from htrcompress.errors import HtrError
from htrcompress.lm import LmOptions, make_language_model

WORDS = "the cat sat on the mat and the dog sat on the log while a hen ran at noon under old oaks".split()


def sentences(count: int, seed: int = 0) -> list[str]:
    """Random words, each line about as long as one of writing."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 6))) for _ in range(count)]


class Made:
    """A model of some texts, and smaller ones of it."""

    def __init__(self, texts: list[str], order: int):
        self.charset = Charset.of(texts)
        known = {c: i + SPECIAL for i, c in enumerate(self.charset.characters)}
        size = len(self.charset.characters)
        self.bits = kneser_ney.symbol_bits(size)
        self.grams = kneser_ney.count([[known[c] for c in text] for text in texts], order, size)
        self.orders = kneser_ney.estimate(self.grams, size)

    def pruned(self, most: int) -> ngram.NGram:
        return self.compiled(entropy_pruning.pruned(self.orders, self.grams, self.bits, most))

    def compiled(self, orders: list[kneser_ney.Order]) -> ngram.NGram:
        return ngram.compile_orders(orders, self.charset)


@pytest.fixture(scope="module")
def made() -> Made:
    return Made(sentences(300), 5)


def _bytes(model: ngram.NGram) -> int:
    return sum(array.nbytes for array in model.arrays.values())


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_what_is_left_out_falls_back_and_all_still_sums_to_one(made: Made, share: float) -> None:
    most = int(share * _bytes(made.compiled(made.orders)))
    model = made.pruned(most)
    assert 0.8 * most < _bytes(model) <= most
    rows = ngram.Rows(model, range(len(made.charset.characters) + SPECIAL))
    log_probability, _ = rows.look_up(np.arange(model.states))
    np.testing.assert_allclose(np.exp(log_probability.astype(np.float64)).sum(1), 1, atol=1e-5)


def test_a_larger_model_predicts_its_text_better(made: Made) -> None:
    whole, texts = made.compiled(made.orders), sentences(300)
    sizes = [int(share * _bytes(whole)) for share in (0.1, 0.3, 0.6)]
    found = [made.pruned(most).perplexity(texts) for most in sizes]
    assert found[0] > found[1] > found[2] > whole.perplexity(texts)
    assert made.pruned(10 * _bytes(whole)).perplexity(texts) == pytest.approx(whole.perplexity(texts), rel=1e-5)


def test_a_loss_is_the_relative_entropy_that_leaving_out_one_n_gram_costs(made: Made) -> None:
    losses = entropy_pruning.losses(made.orders, made.grams, made.bits)
    order, place = made.orders[-1], 7
    stays = [np.ones(len(o.keys), bool) for o in made.orders]
    stays[-1][place] = False
    before = made.compiled(made.orders)
    after = made.compiled(entropy_pruning._without(made.orders, stays, made.bits))
    history = order.keys[place] >> np.uint64(made.bits)
    symbols = [int(history >> np.uint64(made.bits * k)) & ((1 << made.bits) - 1) for k in reversed(range(4))]
    p, q = (np.exp(_row(model, symbols).astype(np.float64)) for model in (before, after))
    possible = p > 0
    occurs = made.grams[-1][1][order.keys >> np.uint64(made.bits) == history].sum()
    expected = occurs * float((p[possible] * np.log(p[possible] / q[possible])).sum())
    assert losses[-1][place] == pytest.approx(expected, rel=1e-3)


def _row(model: ngram.NGram, symbols: list[int]) -> np.ndarray:
    """Log-probabilities of everything after some symbols."""
    rows = ngram.Rows(model, range(len(model.charset.characters) + SPECIAL))
    state = np.array([model.begin if symbols[0] == kneser_ney.BEGIN else 0])
    for symbol in symbols:
        if symbol != kneser_ney.BEGIN:
            state = rows.look_up(state)[1][:, symbol]
    return rows.look_up(state)[0][0]


def test_the_command_keeps_the_file_within_its_size(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n".join(sentences(400)), encoding="utf-8")
    texts = [str(tmp_path / "text.txt")]
    whole = make_language_model(LmOptions(texts, out=tmp_path / "whole.ngram"))
    small = make_language_model(LmOptions(texts, size=0.03, out=tmp_path / "small.ngram", arpa=True))
    assert small.bytes <= 0.03 * 2**20 < whole.bytes and small.path.stat().st_size == small.bytes
    arrays = load_ngram(small.path).arrays
    sixteenths = arrays["arc_log_probability"] * ngram.PARTS
    assert (sixteenths == np.rint(sixteenths)).all()
    again = make_language_model(LmOptions([str(tmp_path / "small.arpa")], out=tmp_path / "again.ngram"))
    assert again.states == small.states
    texts_again = sentences(30, seed=5)
    assert load_ngram(again.path).perplexity(texts_again) == pytest.approx(
        load_ngram(small.path).perplexity(texts_again), rel=0.05
    )


@pytest.mark.parametrize("size", [0.0, -1.0, math.nan, math.inf, 1e-5])
def test_a_size_that_holds_no_model_is_refused(tmp_path: Path, size: float) -> None:
    (tmp_path / "text.txt").write_text("\n".join(sentences(5)), encoding="utf-8")
    with pytest.raises(HtrError, match="--size"):
        make_language_model(LmOptions([str(tmp_path / "text.txt")], size=size, out=tmp_path / "a.ngram"))


def test_only_texts_are_made_smaller(tmp_path: Path) -> None:
    with pytest.raises(HtrError, match="--size"):
        LmOptions(["other.arpa.gz"], size=1.0, out=tmp_path / "a.ngram")

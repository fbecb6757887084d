"""Character n-grams: smoothing, the compiled form, ARPA, and what happens to damaged files."""

import itertools
import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from htrcompress.charset import Charset
from htrcompress.decoding import arpa, kneser_ney, ngram
from htrcompress.decoding.kneser_ney import END, SPECIAL, UNKNOWN
from htrcompress.decoding.ngram_file import load_ngram, save_ngram
from htrcompress.errors import HtrError

WORDS = "the cat sat on the mat and the dog sat on the log while a hen ran at noon".split()


def _texts(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 6))) for _ in range(count)]


def _model(texts: list[str], order: int) -> tuple[list[kneser_ney.Order], ngram.NGram]:
    charset = Charset.of(texts)
    known = {c: i + SPECIAL for i, c in enumerate(charset.characters)}
    orders = kneser_ney.train([[known[c] for c in text] for text in texts], order, len(charset.characters))
    return orders, ngram.compile_orders(orders, charset)


@pytest.mark.parametrize("order", range(1, 8))
def test_probabilities_after_every_history_sum_to_one(order: int) -> None:
    _, model = _model(_texts(60), order)
    rows = ngram.Rows(model, range(len(model.charset.characters) + SPECIAL))
    log_probability, following = rows.look_up(np.arange(model.states))
    np.testing.assert_allclose(np.exp(log_probability.astype(np.float64)).sum(1), 1, atol=1e-5)
    assert following.min() >= 0 and following.max() < model.states


def test_a_bigram_is_what_the_formula_of_kneser_and_ney_gives() -> None:
    texts = _texts(200)
    _, model = _model(texts, 2)
    lines = [["<", *text, ">"] for text in texts]
    bigrams = Counter((a, b) for line in lines for a, b in itertools.pairwise(line))
    before = Counter(b for _, b in bigrams)  # distinct symbols before each, the count of the lower order

    def discounts(counts: Counter) -> list[float]:
        n = [sum(value == k for value in counts.values()) for k in range(1, 5)]
        if min(n) == 0:
            return [0.0, *kneser_ney.FALLBACK]
        share = n[0] / (n[0] + 2 * n[1])
        return [0.0, *(k - (k + 1) * share * n[k] / n[k - 1] for k in (1, 2, 3))]

    d1, d2 = discounts(before), discounts(bigrams)
    vocabulary = len(model.charset.characters) + 2  # the end of a line and the unknown character
    total = sum(before.values())
    free = sum(d1[min(c, 3)] for c in before.values()) / total

    def unigram(b: str) -> float:
        return (before[b] - d1[min(before[b], 3)]) / total + free / vocabulary

    def bigram(a: str, b: str) -> float:
        after = {y: c for (x, y), c in bigrams.items() if x == a}
        share = sum(d2[min(c, 3)] for c in after.values()) / sum(after.values())
        return (after.get(b, 0) - d2[min(after.get(b, 0), 3)]) / sum(after.values()) + share * unigram(b)

    rows = ngram.Rows(model, range(vocabulary + 1))
    symbol = {c: int(model.symbols(c)[0]) for c in model.charset.characters} | {">": END}
    start, _ = rows.look_up(np.array([model.begin]))
    _, after_t = rows.look_up(np.array([0]))
    row, _ = rows.look_up(after_t[:, symbol["t"]])
    for b in ("h", "t", ">", "q"):
        assert math.exp(row[0, symbol.get(b, UNKNOWN)]) == pytest.approx(bigram("t", b), rel=1e-4)
    assert math.exp(start[0, symbol["t"]]) == pytest.approx(bigram("<", "t"), rel=1e-4)


def test_a_longer_memory_predicts_better_and_foreign_text_worse() -> None:
    train, valid = _texts(300), _texts(40, seed=1)
    by_order = [_model(train, order)[1].perplexity(valid) for order in (1, 2, 4)]
    assert by_order[0] > by_order[1] > by_order[2]
    assert _model(train, 4)[1].perplexity(["xyzzy xyzzy"]) > 4 * by_order[2]


def test_the_compiled_form_comes_back_as_it_was(tmp_path: Path) -> None:
    _, model = _model(_texts(50), 4)
    path = tmp_path / "text.ngram"
    save_ngram(path, ngram.compile_orders(_model(_texts(50), 4)[0], model.charset, {"weight": "0.5"}))
    again = load_ngram(path)
    assert again.settings == {"weight": "0.5"} and again.charset == model.charset and again.order == 4
    for name in ngram.ARRAYS:
        np.testing.assert_array_equal(again.arrays[name], model.arrays[name])


def test_arpa_keeps_the_probabilities(tmp_path: Path) -> None:
    orders, model = _model(_texts(80), 5)
    arpa.write_arpa(tmp_path / "text.arpa", orders, model.charset)
    again, charset = arpa.read_arpa(tmp_path / "text.arpa")
    valid = _texts(20, seed=3)
    assert charset == model.charset
    assert ngram.compile_orders(again, charset).perplexity(valid) == pytest.approx(model.perplexity(valid), rel=1e-4)


def test_arpa_of_another_toolkit(tmp_path: Path) -> None:
    # As SRILM writes it: bars for spaces, no <unk>, histories that were pruned away, no back-off at the last order.
    path = tmp_path / "other.arpa"
    path.write_text(
        "\\data\\\nngram 1=5\nngram 2=3\n\n\\1-grams:\n-99\t<s>\t-0.3\n-1\t</s>\n-0.5\ta\t-0.2\n"
        "-0.6\tb\t-0.1\n-0.7\t|\n\n\\2-grams:\n-0.1\t<s> a\n-0.2\ta b\n-0.4\tb </s>\n\n\\end\\\n"
    )
    orders, charset = arpa.read_arpa(path)
    model = ngram.compile_orders(orders, charset)
    assert charset.characters == (" ", "a", "b")
    expected = 10 ** -(-0.1 - 0.2 - 0.4)
    assert model.perplexity(["ab"]) ** 3 == pytest.approx(expected, rel=1e-4)
    assert model.perplexity(["aa"]) ** 3 == pytest.approx(10 ** (0.1 + (0.2 + 0.5) + (0.2 + 1)), rel=1e-4)


ODD = ("nan\ta", "0.5\ta", "-1\ta\t1e300", "1e999\ta")
"""Unigrams whose numbers are no logarithms of probabilities."""


@pytest.mark.parametrize(
    "text", ["", "no arpa", "\\1-grams:\n", "\\1-grams:\n-1\tab\n", *(f"\\1-grams:\n{odd}\n" for odd in ODD)]
)
def test_what_is_no_arpa_file_of_characters_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "odd.arpa").write_text(text)
    with pytest.raises(HtrError, match=r"odd\.arpa"):
        arpa.read_arpa(tmp_path / "odd.arpa")


def test_damaged_and_truncated_files_are_refused(tmp_path: Path) -> None:
    _, model = _model(_texts(30), 3)
    path = tmp_path / "text.ngram"
    save_ngram(path, model)
    whole = path.read_bytes()
    draw = random.Random(0)
    for _ in range(200):
        data = bytearray(whole[: draw.randint(0, len(whole))] if draw.random() < 0.3 else whole)
        for _ in range(draw.randint(1, 8)):
            if data:
                data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data)
        try:
            load_ngram(path).perplexity(["the cat"])  # numbers may have changed, but nothing points outside
        except HtrError as error:
            assert path.name in str(error)


CHAIN = 3000


@pytest.mark.parametrize("what", ["a first state that points outside", "starts that wrap", "a long chain"])
def test_arrays_that_point_anywhere_are_refused(tmp_path: Path, what: str) -> None:
    _, model = _model(_texts(30), 3)
    arrays = {name: values.copy() for name, values in model.arrays.items()}
    if what == "starts that wrap":
        arrays["arc_start"][1:4] = (2**62, 2**63 - 1, -(2**62))
    elif what == "a long chain":
        arrays["backoff_state"] = np.maximum(np.arange(-1, CHAIN - 1), 0).astype(np.int32)
        arrays["backoff"] = np.zeros(CHAIN, np.float32)
        arrays["arc_start"] = np.append(np.zeros(CHAIN, np.int64), len(arrays["arc_symbol"]))
    else:
        arrays["backoff_state"][0] = 2**31 - 1
    save_ngram(tmp_path / "a.ngram", replace(model, arrays=arrays))
    with pytest.raises(HtrError, match=r"a\.ngram"):
        load_ngram(tmp_path / "a.ngram")


@pytest.mark.parametrize(("order", "characters"), [(0, 10), (20, 10), (9, 200)])
def test_orders_that_do_not_fit_are_refused(order: int, characters: int) -> None:
    with pytest.raises(HtrError, match="--order"):
        kneser_ney.train([[SPECIAL]], order, characters)


def test_without_text_there_is_no_model() -> None:
    with pytest.raises(HtrError):
        kneser_ney.train([[], []], 3, 10)

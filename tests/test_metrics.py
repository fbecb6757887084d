"""Error rates against an independent edit distance, known values, and intervals that can be trusted."""

from random import Random

import editdistance
import numpy as np
import pytest

from htrcompress import metrics
from htrcompress.errors import HtrError


def garbled(text: str, random: Random) -> str:
    return "".join(random.choice([c, c, c, c, "", random.choice("abc é"), c + "x"]) for c in text)


def corpus(lines: int, seed: int = 0) -> tuple[list[str], list[str]]:
    random = Random(seed)
    references = ["".join(random.choices("abcde fghé", k=random.randrange(60))) for _ in range(lines)]
    return references, [garbled(reference, random) for reference in references]


def test_cer_and_wer_agree_with_editdistance() -> None:
    references, readings = (list(map(metrics.clean_text, texts)) for texts in corpus(300))
    edits = sum(editdistance.eval(a, b) for a, b in zip(references, readings, strict=True))
    words = sum(editdistance.eval(a.split(), b.split()) for a, b in zip(references, readings, strict=True))
    assert metrics.cer(references, readings) == edits / sum(map(len, references))
    assert metrics.wer(references, readings) == words / sum(len(text.split()) for text in references)


@pytest.mark.parametrize(
    ("reference", "reading", "cer", "wer"),
    [
        ("kitten", "sitting", 3 / 6, 1),
        ("a b c", "a c", 2 / 5, 1 / 3),
        ("abc", "", 1, 1),
        ("", "", 0, 0),
        ("", "ab", 2, 1),
        ("Abc", "abc", 1 / 3, 1),
        ("e\u0301t\u00e9", "\u00e9te\u0301", 0, 0),
        ("  a   b ", "a b", 0, 0),
    ],
)
def test_known_values(reference: str, reading: str, cer: float, wer: float) -> None:
    assert metrics.cer([reference], [reading]) == pytest.approx(cer)
    assert metrics.wer([reference], [reading]) == pytest.approx(wer)


def test_rates_are_sums_not_means_over_lines() -> None:
    assert metrics.cer(["a", "bbbbbbbbb"], ["x", "bbbbbbbbb"]) == 0.1


def test_readings_must_pair_up() -> None:
    with pytest.raises(HtrError, match="2 references but 1 readings"):
        metrics.cer(["a", "b"], ["a"])


def test_no_lines_are_no_errors() -> None:
    score = metrics.score([], [])
    assert (score.cer, score.wer, score.interval()) == (0, 0, (0, 0))


def test_the_interval_holds_the_rate_and_narrows_with_lines() -> None:
    few, many = (metrics.score(*corpus(lines)) for lines in (50, 800))
    for score in (few, many):
        for words, rate in ((False, score.cer), (True, score.wer)):
            low, high = score.interval(words)
            assert low < rate < high
    assert np.diff(many.interval()) < 0.5 * np.diff(few.interval())
    assert many.interval() == many.interval()


def test_the_interval_covers_the_truth_at_its_stated_rate() -> None:
    """Of many small samples of lines with a true rate of 0.1, about 95 % have it in their interval."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(60):
        edits = random.binomial(20, 0.1, 100)
        lengths = np.full(100, 20)
        low, high = metrics.Score(edits, lengths, edits, lengths).interval()
        covered += low <= 0.1 <= high
    assert covered >= 51


def test_a_paired_interval_sees_what_two_intervals_hide() -> None:
    references, readings = corpus(400)
    one = metrics.score(references, readings)
    fewer = np.maximum(one.edits - (np.arange(400) % 4 == 0), 0)
    other = metrics.Score(fewer, one.lengths, one.word_edits, one.word_lengths)
    difference, low, high = metrics.paired_interval(one, other)
    assert difference == pytest.approx(one.cer - other.cer)
    assert 0 < low < difference < high
    assert one.interval()[0] < other.interval()[1]  # on their own they overlap
    back = metrics.paired_interval(other, one)
    assert back == pytest.approx((-difference, -high, -low))


def test_a_paired_interval_of_equals_is_zero() -> None:
    score = metrics.score(*corpus(30))
    assert metrics.paired_interval(score, score) == (0, 0, 0)


def test_a_paired_interval_needs_the_same_lines() -> None:
    with pytest.raises(HtrError, match="same lines"):
        metrics.paired_interval(metrics.score(["a"], ["a"]), metrics.score(["ab"], ["a"]))


def test_confusions_are_counted_by_kind() -> None:
    found = metrics.confusions(["abc", "abc", "ab", " e\u0301 "], ["abd", "abd", "abx", "\u00e9"])
    assert found == [("c", "d", 2), ("", "x", 1)]
    assert metrics.confusions(["ab"], ["b"]) == [("a", "", 1)]
    assert len(metrics.confusions(["abcdef"], ["ghijkl"], most=2)) == 2

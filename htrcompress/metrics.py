"""Character and word error rates of a corpus, with bootstrap intervals over lines.

CER = sum of edit distances / sum of reference lengths, on NFC text with white space collapsed, cased.
WER is the same over words split at white space.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from htrcompress.charset import clean_text
from htrcompress.errors import HtrError

RESAMPLES = 2000


@dataclass(frozen=True)
class Score:
    """Errors of a set of lines, line by line.

    Attributes:
        edits: character edit distance of each line.
        lengths: characters of each reference.
        word_edits: word edit distance of each line.
        word_lengths: words of each reference.
    """

    edits: NDArray[np.int64]
    lengths: NDArray[np.int64]
    word_edits: NDArray[np.int64]
    word_lengths: NDArray[np.int64]

    @property
    def cer(self) -> float:
        """Character error rate, a fraction; 0.05 is 5 %."""
        return ratio(self.edits, self.lengths)

    @property
    def wer(self) -> float:
        """Word error rate, a fraction."""
        return ratio(self.word_edits, self.word_lengths)

    def interval(self, words: bool = False) -> tuple[float, float]:
        """95 % bootstrap interval of the CER (or WER) over lines."""
        errors, lengths = (self.word_edits, self.word_lengths) if words else (self.edits, self.lengths)
        return bootstrap(errors, lengths)


def ratio(errors: NDArray[np.int64], lengths: NDArray[np.int64]) -> float:
    """Sum over sum; 0 over nothing is 0."""
    return float(errors.sum() / max(int(lengths.sum()), 1))


def score(references: Sequence[str], readings: Sequence[str]) -> Score:
    """Compares readings with references, line by line."""
    if len(references) != len(readings):
        raise HtrError(f"{len(references)} references but {len(readings)} readings: they must pair up")
    references = [clean_text(reference) for reference in references]
    pairs = list(zip(references, map(clean_text, readings), strict=True))
    words = [(reference.split(), reading.split()) for reference, reading in pairs]
    return Score(
        np.array([Levenshtein.distance(reference, reading) for reference, reading in pairs], np.int64),
        np.array([len(reference) for reference in references], np.int64),
        np.array([Levenshtein.distance(reference, reading) for reference, reading in words], np.int64),
        np.array([len(reference) for reference, _ in words], np.int64),
    )


def cer(references: Sequence[str], readings: Sequence[str]) -> float:
    """Character error rate of readings against references, a fraction."""
    return score(references, readings).cer


def wer(references: Sequence[str], readings: Sequence[str]) -> float:
    """Word error rate of readings against references, a fraction."""
    return score(references, readings).wer


def paired_interval(one: Score, other: Score) -> tuple[float, float, float]:
    """CER of `one` minus CER of `other` on the same lines: the difference and its 95 % interval."""
    if not np.array_equal(one.lengths, other.lengths):
        raise HtrError("a paired comparison needs two scores of the same lines")
    return one.cer - other.cer, *bootstrap(one.edits - other.edits, one.lengths)


def mean_difference(ones: Sequence[Score], others: Sequence[Score]) -> tuple[float, float, float]:
    """CER of `ones` minus CER of `others`, averaged over pairs such as seeds, and its 95 % interval over lines."""
    lengths = ones[0].lengths
    if any(not np.array_equal(score.lengths, lengths) for score in (*ones, *others)):
        raise HtrError("a paired comparison needs scores of the same lines")
    gains = np.mean([one.edits - other.edits for one, other in zip(ones, others, strict=True)], axis=0)
    return float(gains.sum() / max(int(lengths.sum()), 1)), *bootstrap(gains, lengths)


def bootstrap(errors: NDArray, lengths: NDArray[np.int64]) -> tuple[float, float]:
    """95 % interval of sum(errors) / sum(lengths) over resampled lines; the resamples are the same at every call."""
    if len(errors) == 0:
        return 0.0, 0.0
    random = np.random.default_rng(0)
    rates = np.empty(RESAMPLES)
    for i in range(RESAMPLES):  # one at a time: all at once would take gigabytes for a large split
        draw = random.integers(0, len(errors), len(errors))
        rates[i] = errors[draw].sum() / max(lengths[draw].sum(), 1)
    low, high = np.percentile(rates, (2.5, 97.5))
    return float(low), float(high)


def confusions(references: Sequence[str], readings: Sequence[str], most: int = 20) -> list[tuple[str, str, int]]:
    """The most frequent character mistakes as (expected, read, count); '' stands for a missing character."""
    counts: Counter[tuple[str, str]] = Counter()
    for reference, reading in zip(map(clean_text, references), map(clean_text, readings), strict=True):
        for edit in Levenshtein.editops(reference, reading):
            expected = "" if edit.tag == "insert" else reference[edit.src_pos]
            read = "" if edit.tag == "delete" else reading[edit.dest_pos]
            counts[expected, read] += 1
    return [(expected, read, count) for (expected, read), count in counts.most_common(most)]

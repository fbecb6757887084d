"""What the prefix beam search in NumPy (`search.py`) keeps in arrays, and the arithmetic that it shares with C++.

Every sum and product is a float64 in a fixed order, and the exponential is ours, since those of NumPy and of C
libraries differ in the last bit. So `cpp/prefix_search.cc` finds the same prefixes with the same probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import BLANK

NO_NODE = -1
"""The node of the empty prefix."""
FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd multiplier of the rolling hash that identifies a prefix."""
LARGEST_EXPONENT = 700.0
"""Exponents are held between minus this and this, so that no power of e is infinite, or zero."""
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693145751953125, 1.42860682030941723e-6
"""The natural logarithm of 2; whole multiples of the first part are exact."""
TAYLOR = tuple(1 / n for n in (362880, 40320, 5040, 720, 120, 24, 6, 2, 1, 1))
"""1 / n!, from n = 9 to 0: enough for eleven digits of e to the power of x between -0.35 and 0.35."""


def exponential(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """e to the power of x, with a relative error below 1e-10; see `LARGEST_EXPONENT`."""
    x = np.minimum(np.maximum(x, -LARGEST_EXPONENT), LARGEST_EXPONENT)
    whole = np.rint(x * LOG2_E)
    rest = (x - whole * LN2_HIGH) - whole * LN2_LOW
    value = np.full_like(rest, TAYLOR[0])
    for term in TAYLOR[1:]:
        value *= rest
        value += term
    with np.errstate(invalid="ignore"):  # NaN stays NaN, whatever integer it becomes
        return np.ldexp(value, whole.astype(np.int64))


def probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax of some frames, (N, C); NaN throughout a frame that holds NaN or an infinite largest value."""
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        values = exponential(values - values.max(1, keepdims=True))
    return values * (1 / np.add.accumulate(values, 1)[:, -1:])


def largest(scores: NDArray, count: int) -> NDArray[np.int64]:
    """Places of the largest scores of each row, best first; among equals, the first place comes first."""
    last = np.partition(scores, scores.shape[1] - count, 1)[:, scores.shape[1] - count, None]
    above, equal = scores > last, scores == last
    room = count - above.sum(1, keepdims=True)
    some = np.nonzero(above | (equal & (np.cumsum(equal, 1) <= room)))[1].reshape(len(scores), count)
    return np.take_along_axis(some, np.argsort(-np.take_along_axis(scores, some, 1), 1, kind="stable"), 1)


@dataclass
class Beams:
    """The prefixes of some lines: (B, K) each, but for the states. The best stands first, those of probability 0 last.

    Attributes:
        blank, label: scaled probability of the alignments that end in a blank, and in the last label, times what the
            language gives to the prefix.
        factor: what it gives to the last label alone.
        hash, parent: identity of the prefix, and of the prefix without its last label.
        last: last label; the blank for the empty prefix, and where there is none.
        state: state of each scorer, (B, K, scorers).
        node: place in the tree that texts are read from.
    """

    blank: NDArray[np.float64]
    label: NDArray[np.float64]
    factor: NDArray[np.float64]
    hash: NDArray[np.uint64]
    parent: NDArray[np.uint64]
    last: NDArray[np.int64]
    state: NDArray[np.int64]
    node: NDArray[np.int64]

    @classmethod
    def start(cls, lines: int, width: int, state: Sequence[int]) -> "Beams":
        """The empty prefix alone, for each line."""
        shape = (lines, width)
        blank, nothing = np.zeros(shape), np.zeros(shape, np.uint64)
        blank[:, 0] = 1.0
        last, node = np.full(shape, BLANK), np.full(shape, NO_NODE)
        states = np.broadcast_to(np.array(state, np.int64), (*shape, len(state))).copy()
        return cls(blank, np.zeros(shape), np.ones(shape), nothing.copy(), nothing, last, states, node)

    def first(self, lines: int) -> "Beams":
        """The first lines, as views."""
        return Beams(*(value[:lines] for value in vars(self).values()))

    def replace(self, others: "Beams") -> None:
        """Puts others in the place of the first lines."""
        for name, value in vars(others).items():
            getattr(self, name)[: len(value)] = value


@dataclass(frozen=True)
class Frames:
    """The frames of some lines that are searched, one line's behind the other's: (N,) and so on.

    Attributes:
        count, start: how many each line has, and where they start, (B,); the line with the most of them comes first.
        closed: whether frames that are not searched stand before it.
        probability: (N, C).
        chosen, value: the characters that may extend a prefix, best first, and their probability: (N, M).
    """

    count: NDArray[np.int64]
    start: NDArray[np.int64]
    closed: NDArray[np.bool_]
    probability: NDArray[np.float64]
    chosen: NDArray[np.int64]
    value: NDArray[np.float64]


class PrefixTree:
    """All prefixes that were ever in a beam, as nodes that know the node before them and their label."""

    def __init__(self) -> None:
        self.before: list[NDArray[np.int64]] = []
        self.label: list[NDArray[np.int64]] = []
        self.count = 0

    def grow(self, node: NDArray[np.int64], label: NDArray[np.int64], extends: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Nodes of the prefixes after a frame: new ones where a label was added."""
        after, new = node.copy(), int(extends.sum())
        self.before.append(node[extends])
        self.label.append(label[extends])
        after[extends] = np.arange(self.count, self.count + new)
        self.count += new
        return after

    def labels(self, node: int) -> tuple[int, ...]:
        """The labels of a prefix."""
        if len(self.before) > 1:
            self.before, self.label = [np.concatenate(self.before)], [np.concatenate(self.label)]
        found = []
        while node != NO_NODE:
            found.append(int(self.label[0][node]))
            node = int(self.before[0][node])
        return tuple(reversed(found))


def merge(
    beams: Beams, blank: NDArray, total: NDArray, own: NDArray, chosen: NDArray, grown: NDArray, stay_label: NDArray
) -> None:
    """Joins two ways to the same prefix, in place: that it stays, and that the prefix one label shorter grows into it.

    Args:
        beams: the prefixes, (B, K).
        blank, total: probability of their alignments that end in a blank, and of all.
        own: probability of their last label in this frame.
        chosen: the labels that may extend a prefix, (B, M).
        grown: probability of each extension, (B, K, M); becomes 0 where it is counted in `stay_label`.
        stay_label: probability that the prefix stays and its last label is repeated, (B, K).
    """
    pairs = (beams.parent[:, :, None] == beams.hash[:, None, :]) & (beams.last != BLANK)[:, :, None]
    pairs &= (total > 0)[:, None, :]
    line, longer, shorter = np.nonzero(pairs)
    if not len(line):
        return
    again = beams.last[line, longer] == beams.last[line, shorter]
    reach = np.where(again, blank[line, shorter], total[line, shorter]) * own[line, longer]
    stay_label[line, longer] += reach * beams.factor[line, longer]
    hit, place = np.nonzero(chosen[line] == beams.last[line, longer][:, None])
    grown[line[hit], shorter[hit], place] = 0.0


def extended_hash(prefix: NDArray[np.uint64], label: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The hash of a prefix with one more label."""
    return (prefix + label.astype(np.uint64) + np.uint64(1)) * FACTOR + (prefix >> np.uint64(29))

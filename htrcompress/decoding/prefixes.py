"""What a prefix beam search (`beam.py`) keeps in arrays: the prefixes of many lines, their frames, and their texts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import BLANK

NO_NODE = -1
"""The node of the empty prefix."""
FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd multiplier of the rolling hash that identifies a prefix."""


@dataclass
class Beams:
    """The prefixes of some lines: (B, K) each, but for the states.

    Attributes:
        blank, label: scaled probability of the alignments that end in a blank, and in the last label.
        extra: what the language adds to the logarithm.
        hash, parent: identity of the prefix, and of the prefix without its last label.
        last: last label; the blank for the empty prefix.
        state: state of each scorer, (B, K, scorers).
        node: place in the tree that texts are read from.
    """

    blank: NDArray[np.float64]
    label: NDArray[np.float64]
    extra: NDArray[np.float64]
    hash: NDArray[np.uint64]
    parent: NDArray[np.uint64]
    last: NDArray[np.int64]
    state: NDArray[np.int64]
    node: NDArray[np.int64]

    def first(self, lines: int) -> "Beams":
        """The first lines, as views."""
        return Beams(*(value[:lines] for value in vars(self).values()))


@dataclass(frozen=True)
class Frames:
    """The frames of some lines that are searched: (B, S) and so on; the line with the most of them comes first.

    Attributes:
        count: frames of each line, (B,).
        place: which frame of the logits it is.
        closed: whether certain blanks stand before it.
        probability: (B, T, C) of all frames.
        chosen, value: the characters that may extend a prefix, best first, and their probability: (B, S, M).
    """

    count: NDArray[np.int64]
    place: NDArray[np.int64]
    closed: NDArray[np.bool_]
    probability: NDArray[np.float32]
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
    line, longer, shorter = np.nonzero(pairs)
    if not len(line):
        return
    again = beams.last[line, longer] == beams.last[line, shorter]
    reach = np.where(again, blank[line, shorter], total[line, shorter]) * own[line, longer]
    stay_label[line, longer] += reach
    hit, place = np.nonzero(chosen[line] == beams.last[line, longer][:, None])
    grown[line[hit], shorter[hit], place] = 0.0


def largest(scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Places of the largest scores of each row, best first; among equals, the first place comes first."""
    some = np.sort(np.argpartition(-scores, count - 1, 1)[:, :count], 1)
    return np.take_along_axis(some, np.argsort(-np.take_along_axis(scores, some, 1), 1, kind="stable"), 1)


def extended_hash(prefix: NDArray[np.uint64], label: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The hash of a prefix with one more label."""
    return (prefix + label.astype(np.uint64) + np.uint64(1)) * FACTOR + (prefix >> np.uint64(29))

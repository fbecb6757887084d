"""Where the characters of a reading stand, and which others could stand in their places: CTC forward-backward.

The forward and backward probabilities of CTC (Graves et al. 2006) for a given reading say how probable all alignments
are that write it before and after a frame. From them follows, without a search, how probable the same reading is with
any other character in one place, or with none there: the alternatives of that place. The best single alignment
(Viterbi) says which frames a character has.

Several lines are computed together, element by element and scaled by maxima, so a line gives the same numbers whatever
stands beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import BLANK

ALTERNATIVES = 6
"""Characters that are tried in each place: the most probable ones between the characters beside it."""
SMALLEST = 1e-7
"""Alternatives that are less probable than the reading times this are left out."""
BETTER = 1 + 1e-5
"""An alignment is better than another by this factor at least; among equals, rounding does not choose."""
LARGEST = 1e150
"""Backward probabilities of states that the forward ones all but exclude end here."""
NUMBERS = 4_000_000
"""Size of the largest array, by which lines are cut into groups."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Alignment:
    """A reading of L characters laid on the frames of its line, and its N alternatives.

    Attributes:
        first, last: the frames of each character, int64 (L,) each.
        place: of the alternatives, which character each replaces: int64 (N,).
        label: what it puts there; the blank stands for nothing, int64 (N,).
        log_ratio: logarithm of its probability over that of the reading, float64 (N,).
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    place: NDArray[np.int64]
    label: NDArray[np.int64]
    log_ratio: Floats


def align(
    probability: NDArray[np.float32], frames: NDArray[np.integer], labels: Sequence[Sequence[int]]
) -> Iterator[Alignment]:
    """Aligns the reading of each line; one that its frames cannot write has no alternatives and even spaces.

    Args:
        probability: of every class in every frame, (B, T, C).
        frames: valid frames of each line, (B,).
        labels: the reading of each line, without blanks.
    """
    states = 2 * max(map(len, labels), default=0) + 1
    size = max(1, NUMBERS // max(1, probability.shape[1] * states))
    for start in range(0, len(labels), size):
        some = slice(start, start + size)
        yield from _align(probability[some], np.asarray(frames[some]), labels[some])


@dataclass(frozen=True)
class _Lattice:
    """The states of some readings, S = 2 L + 1 for the longest: a blank, a label, a blank, and so on.

    Attributes:
        count: labels of each line, (B,).
        labels: padded with -1, (B, L).
        skip: whether a state is reached from that two before it, (B, S).
        live: whether a frame is the line's own, (T, B).
        emitted: probability of each state's class in each frame, 0 beyond the line's states, (T, B, S).
    """

    count: NDArray[np.int64]
    labels: NDArray[np.int64]
    skip: NDArray[np.bool_]
    live: NDArray[np.bool_]
    emitted: Floats


def _lattice(probability: NDArray, frames: NDArray, labels: Sequence[Sequence[int]]) -> _Lattice:
    count = np.array([len(row) for row in labels])
    padded = np.full((len(labels), int(count.max(initial=0))), -1)
    for row, some in zip(padded, labels, strict=True):
        row[: len(some)] = some
    classes = np.zeros((len(labels), 2 * padded.shape[1] + 1), np.int64)
    classes[:, 1::2] = np.maximum(padded, 0)
    skip = np.zeros(classes.shape, bool)
    skip[:, 3::2] = padded[:, 1:] != padded[:, :-1]
    emitted = np.take_along_axis(probability, classes[:, None], 2).astype(np.float64)
    emitted *= (np.arange(classes.shape[1]) <= 2 * count[:, None])[:, None]
    live = np.arange(probability.shape[1])[:, None] < frames
    return _Lattice(count, padded, skip, live, np.ascontiguousarray(emitted.swapaxes(0, 1)))


def _align(probability: NDArray, frames: NDArray, labels: Sequence[Sequence[int]]) -> Iterator[Alignment]:
    lattice = _lattice(probability, frames, labels)
    before, scale = _forward(lattice)
    behind = _backward(lattice, scale)
    path = _best_path(lattice)
    spans = [_spans(row[:count], len(some)) for row, count, some in zip(path.T, frames, labels, strict=True)]
    tried = _candidates(probability, frames, lattice, spans)
    total = _totals(probability, lattice, before, behind, scale, tried)
    rows = np.arange(len(labels))
    whole = before[-1][rows, 2 * lattice.count] + np.where(
        lattice.count > 0, before[-1][rows, 2 * lattice.count - 1], 0.0
    )
    for row, (first, last) in enumerate(spans):
        ratio = total[row, : len(first)] / max(whole[row], 1e-300)
        place, choice = np.nonzero(ratio > SMALLEST)
        log_ratio = np.log(ratio[place, choice])
        yield Alignment(first, last, place, tried[row, place, choice], np.minimum(log_ratio, 700.0))


def _forward(lattice: _Lattice) -> tuple[Floats, Floats]:
    """What reaches each state before each frame, (T + 1, B, S), and what each frame was divided by, (T, B)."""
    before = np.zeros((len(lattice.emitted) + 1, *lattice.emitted.shape[1:]))
    before[0, :, 0] = 1.0
    scale = np.ones(lattice.emitted.shape[:2])
    for frame, (emitted, live) in enumerate(zip(lattice.emitted, lattice.live, strict=True)):
        now = before[frame]
        reached = now.copy()
        reached[:, 1:] += now[:, :-1]
        reached[:, 2:] += now[:, :-2] * lattice.skip[:, 2:]
        reached *= emitted
        largest = reached.max(1)
        scale[frame] = np.where(live & (largest > 0), largest, 1.0)
        before[frame + 1] = np.where(live[:, None], reached / scale[frame, :, None], now)
    return before, scale


def _backward(lattice: _Lattice, scale: Floats) -> Floats:
    """What leads from each state in each frame to the end, the frame included, (T + 1, B, S)."""
    behind = np.zeros((len(scale) + 1, *lattice.emitted.shape[1:]))
    behind[-1, np.arange(len(lattice.count)), 2 * lattice.count] = 1.0
    for frame in reversed(range(len(scale))):
        after = behind[frame + 1]
        leads = after.copy()
        leads[:, :-1] += after[:, 1:]
        leads[:, :-2] += after[:, 2:] * lattice.skip[:, 2:]
        leads *= lattice.emitted[frame] / scale[frame, :, None]
        behind[frame] = np.where(lattice.live[frame, :, None], np.minimum(leads, LARGEST), after)
    return behind


def _best_path(lattice: _Lattice) -> NDArray[np.int64]:
    """The state of each frame in the best alignment, (T, B)."""
    steps, lines, states = lattice.emitted.shape
    back = np.zeros((steps, lines, states), np.int8)
    value = np.zeros((lines, states))
    value[:, 0] = 1.0
    for frame, (emitted, live) in enumerate(zip(lattice.emitted, lattice.live, strict=True)):
        best, reached = np.zeros((lines, states), np.int8), value.copy()
        for step, way in ((1, value[:, :-1]), (2, value[:, :-2] * lattice.skip[:, 2:])):
            better = way > reached[:, step:] * BETTER
            reached[:, step:] = np.where(better, way, reached[:, step:])
            best[:, step:][better] = step
        reached *= emitted
        largest = reached.max(1, keepdims=True)
        value = np.where(live[:, None], reached / np.where(largest > 0, largest, 1.0), value)
        back[frame] = np.where(live[:, None], best, 0)
    rows, end = np.arange(lines), 2 * lattice.count
    state = np.where(value[rows, np.maximum(end - 1, 0)] > value[rows, end] * BETTER, np.maximum(end - 1, 0), end)
    path = np.zeros((steps, lines), np.int64)
    for frame in reversed(range(steps)):
        path[frame] = state
        state = state - back[frame, rows, state]
    return path


def _spans(path: NDArray[np.int64], labels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the last frame of each label, of a path over a line's own frames."""
    states = 2 * np.arange(labels) + 1
    first, last = np.searchsorted(path, states, "left"), np.searchsorted(path, states, "right") - 1
    if (last < first).any():  # no alignment writes the reading
        first = last = (np.arange(labels) * len(path)) // max(1, labels)
    return first, last


def _candidates(
    probability: NDArray, frames: NDArray, lattice: _Lattice, spans: Sequence[tuple[NDArray, NDArray]]
) -> NDArray[np.int64]:
    """The labels to try in each place, (B, L, M + 1): the most probable ones, and the blank for nothing, which is last.

    A place that has fewer is filled with its own label.
    """
    most = min(ALTERNATIVES, probability.shape[2] - 1)
    tried = np.repeat(np.maximum(lattice.labels, 0)[:, :, None], most + 1, 2)
    tried[:, :, -1] = BLANK
    for row, (first, last) in enumerate(spans):
        own = lattice.labels[row, : len(first)]
        if not len(own):
            continue
        start, end = np.concatenate(([0], last[:-1] + 1)), np.concatenate((first[1:], frames[row : row + 1]))
        seen = np.concatenate((probability[row, : frames[row]], np.zeros((1, probability.shape[2]), probability.dtype)))
        edges = np.stack((np.minimum(start, first), np.maximum(end, last + 1)), 1).ravel()
        peak = _coarse(np.maximum.reduceat(seen, edges, 0)[::2])
        peak[:, BLANK] = peak[np.arange(len(own)), own] = -1.0
        best = np.argsort(-peak, 1, kind="stable")[:, :most]
        tried[row, : len(own), :-1] = np.where(np.take_along_axis(peak, best, 1) >= 0, best, own[:, None])
    return tried


def _coarse(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Positive numbers rounded to twelve bits: what is equal but for rounding is equal, here as in C++."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << 11)) & np.uint32(0xFFFFF000)).view(np.float32)


def _totals(
    probability: NDArray, lattice: _Lattice, before: Floats, behind: Floats, scale: Floats, tried: NDArray[np.int64]
) -> Floats:
    """Probability of the reading with each candidate in its place, scaled like the reading's own: (B, L, M + 1)."""
    lines, places, _ = tried.shape
    ahead = np.concatenate((np.full((lines, 1), -1), lattice.labels[:, :-1]), 1) if places else lattice.labels
    after = np.concatenate((lattice.labels[:, 1:], np.full((lines, 1), -1)), 1) if places else lattice.labels
    other = tried[:, :, :-1]
    from_label, to_label = other != ahead[:, :, None], other != after[:, :, None]
    open_ = (ahead != after) & (ahead >= 0)
    rows, running = np.arange(lines)[:, None, None], np.zeros(other.shape)
    total, nothing = np.zeros(other.shape), np.zeros((lines, places))
    final = np.arange(places) == lattice.count[:, None] - 1
    pad = np.zeros((lines, 2))
    for frame, live in enumerate(lattice.live):
        now, then = before[frame], np.concatenate((behind[frame + 1], pad), 1)
        blank, label = now[:, 0:-1:2], np.concatenate((pad[:, :1], now[:, 1:-2:2]), 1)[:, :places]
        start = blank[:, :, None] + label[:, :, None] * from_label
        running = (running + start) * probability[:, frame][rows, other] / scale[frame, :, None, None]
        leave = then[:, 2:-2:2, None] + then[:, 3::2, None][:, :places] * to_label
        total += np.where(live[:, None, None], running * leave, 0.0)
        here = np.concatenate((behind[frame], pad), 1)[:, 3::2][:, :places]
        nothing += np.where(live[:, None], (blank + label * open_) * here, 0.0)
    blank, label = before[-1][:, 0:-1:2], np.concatenate((pad[:, :1], before[-1][:, 1:-2:2]), 1)[:, :places]
    nothing += np.where(final, blank + label, 0.0)
    total[other == lattice.labels[:, :, None]] = 0.0
    return np.concatenate((total, nothing[:, :, None]), 2)

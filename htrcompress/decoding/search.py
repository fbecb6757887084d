"""CTC prefix beam search (Graves & Jaitly 2014; Hannun et al. 2014) over many lines in NumPy.

Each prefix has the probability of all its alignments that end in a blank, and of all that end in its last character,
times what the language (`language.py`) gives to its characters. All lines of a call advance together, one of their
own frames at a time, as arrays (line, beam, candidate): every line is computed by the same operations in the same order
whatever stands beside it, so the text does not depend on the batch. After every frame a line is scaled by a power of
two, so that no probability is lost. Frames that are all but certainly blank, which are most, are not searched: they
only close the character before them.

`cpp/prefix_search.cc` is the same search, to the last bit, for one line at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import BLANK
from htrcompress.decoding.language import LabelRows, Language
from htrcompress.decoding.prefixes import Beams, Frames, PrefixTree, exponential, extended_hash, largest, merge
from htrcompress.decoding.prefixes import probabilities as softmax
from htrcompress.errors import HtrError

Found = list[tuple[tuple[int, ...], float]]
"""The prefixes that were found in a line, best first: labels, and the logarithm of their probability."""
NOT_NUMBERS = "the network's logits are not numbers: its file is damaged, or the matrix that is decoded"


@dataclass(frozen=True)
class Settings:
    """What a search is told.

    Attributes:
        width: prefixes that are kept for each line.
        candidates: characters that may extend a prefix in a frame.
        margin: frames whose blank has a logit so far above that of every character are not searched.
        floor: characters less probable do not extend a prefix, but for the most probable one.
    """

    width: int
    candidates: int
    margin: float
    floor: float


class Search(Protocol):
    """A prefix beam search: in NumPy here, compiled in `compiled.py`."""

    def decode(self, logits: NDArray[np.float32], frames: NDArray[np.integer], n_best: int) -> list[Found]:
        """The prefixes of each row, at least one and at most `n_best`; see `base.Decoder.decode`.

        Raises:
            HtrError: the logits hold NaN, or an infinite largest value.
        """


class NumpySearch:
    """The search in NumPy.

    Args:
        settings: see `Settings`.
        language: see `Language`.
        symbols: from `language.label_symbols`.
    """

    def __init__(self, settings: Settings, language: Language, symbols: Sequence[Sequence[int]]):
        self.settings, self.language, self.rows = settings, language, LabelRows(language, symbols)

    def decode(self, logits: NDArray[np.float32], frames: NDArray[np.integer], n_best: int) -> list[Found]:
        """See `Search.decode`."""
        with np.errstate(invalid="ignore"):
            margin = logits[:, :, BLANK].astype(np.float64) - logits[:, :, 1:].max(2)
        searched = ~(margin >= self.settings.margin)  # NaN is searched, and found there
        active = [np.flatnonzero(row[:count]) for row, count in zip(searched, frames, strict=True)]
        order = np.argsort([-len(places) for places in active], kind="stable")
        search = self._frames(logits, order, [active[i] for i in order])
        beams = Beams.start(len(order), self.settings.width, [s.automaton.begin for s in self.language.scorers])
        tree, scale = PrefixTree(), np.zeros(len(order), np.int64)
        for step in range(int(search.count.max(initial=0))):
            lines = int((search.count > step).sum())
            some = self._advance(beams.first(lines), search, search.start[:lines] + step, tree)
            power = np.frexp((some.blank + some.label)[:, 0])[1].astype(np.int64)
            scale[:lines] += power
            down = np.ldexp(1.0, -power)[:, None]
            some.blank *= down
            some.label *= down
            beams.replace(some)
        found = self._finish(beams, tree, scale, n_best)
        return [found[i] for i in np.argsort(order)]

    def _frames(
        self, logits: NDArray[np.float32], order: NDArray[np.integer], active: Sequence[NDArray[np.int64]]
    ) -> Frames:
        """What the search looks at, gathered for all lines at once."""
        count = np.array([len(places) for places in active])
        place = np.concatenate([np.zeros(0, np.int64), *active])
        start = np.cumsum(count) - count
        before = np.concatenate(([-1], place[:-1]))[: len(place)]
        before[start[count > 0]] = -1
        seen = logits[np.repeat(order, count), place]
        probability = softmax(seen) if len(seen) else np.zeros(seen.shape)
        if np.isnan(probability).any():
            raise HtrError(NOT_NUMBERS)
        characters = probability[:, 1:]
        extends = characters >= self.settings.floor
        extends[np.arange(len(extends)), characters.argmax(1)] = True
        characters = np.where(extends, characters, 0.0)
        chosen = largest(characters, min(self.settings.candidates, characters.shape[1]))
        value = np.take_along_axis(characters, chosen, 1)
        return Frames(count, start, place - before > 1, probability, chosen + 1, value)

    def _advance(self, beams: Beams, search: Frames, at: NDArray[np.int64], tree: PrefixTree) -> Beams:
        """One frame of the first lines: their prefixes after it."""
        row, width = np.arange(len(at))[:, None], self.settings.width
        closed, probability = search.closed[at, None], search.probability[at]
        total = beams.blank + beams.label
        blank, label = np.where(closed, total, beams.blank), np.where(closed, 0.0, beams.label)
        stay_blank = total * probability[:, BLANK, None]
        own = np.where(beams.last != BLANK, probability[row, beams.last], 0.0)
        stay_label = label * own
        chosen, value = search.chosen[at], search.value[at]
        factor, following = self._score(beams, chosen, value)
        same = beams.last[:, :, None] == chosen[:, None, :]
        grown = np.where(same, blank[:, :, None], total[:, :, None]) * value[:, None, :] * factor
        merge(beams, blank, total, own, chosen, grown, stay_label)
        best = largest(np.concatenate((stay_blank + stay_label, grown.reshape(len(at), -1)), 1), width)
        extends = best >= width
        source = np.where(extends, (best - width) // chosen.shape[1], best)
        extension = np.where(extends, (best - width) % chosen.shape[1], 0)
        new, prefix = chosen[row, extension], beams.hash[row, source]
        after_blank = np.where(extends, 0.0, stay_blank[row, source])
        after_label = np.where(extends, grown[row, source, extension], stay_label[row, source])
        last = np.where(extends, new, beams.last[row, source])
        return Beams(
            blank=after_blank,
            label=after_label,
            factor=np.where(extends, factor[row, source, extension], beams.factor[row, source]),
            hash=np.where(extends, extended_hash(prefix, new), prefix),
            parent=np.where(extends, prefix, beams.parent[row, source]),
            last=np.where(after_blank + after_label > 0, last, BLANK),  # what has no probability is no prefix
            state=np.where(extends[:, :, None], following[row, source, extension], beams.state[row, source]),
            node=tree.grow(beams.node[row, source], new, extends),
        )

    def _score(self, beams: Beams, chosen: NDArray, value: NDArray) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The factor of each growth, (B, K, M), and the scorers' states behind it, (B, K, M, scorers)."""
        shape = (*beams.last.shape, chosen.shape[1])
        following = np.zeros((*shape, len(self.language.scorers)), np.int64)
        if not self.language.scorers:
            return np.broadcast_to(exponential(np.array([self.language.bonus])), shape), following
        score = np.full(shape, self.language.bonus)
        for place, (scorer, rows) in enumerate(zip(self.language.scorers, self.rows.here(), strict=True)):
            row, label = rows.rows_of(beams.state[:, :, place])[:, :, None], rows.place[chosen][:, None, :]
            score += scorer.weight * rows.log_probability[row, label].astype(np.float64)
            following[:, :, :, place] = rows.next_state[row, label]
        used = np.broadcast_to(value[:, None, :] > 0, shape)  # the others do not grow
        score[used] = exponential(score[used])
        return score, following

    def _finish(self, beams: Beams, tree: PrefixTree, scale: NDArray[np.int64], n_best: int) -> list[Found]:
        end = np.zeros(beams.last.shape)
        for place, (scorer, rows) in enumerate(zip(self.language.scorers, self.rows.here(), strict=True)):
            row = rows.rows_of(beams.state[:, :, place])  # before the table is read, which this may replace
            end += scorer.weight * rows.log_probability[row, rows.place[-1]].astype(np.float64)
        total = (beams.blank + beams.label) * exponential(end)
        found = []
        for line, order in enumerate(np.argsort(-total, 1, kind="stable")):
            kept = [int(place) for place in order[:n_best] if total[line, place] > 0]
            texts = [tree.labels(int(beams.node[line, place])) for place in kept]
            scores = [math.log(total[line, place]) + int(scale[line]) * math.log(2) for place in kept]
            found.append(list(zip(texts, scores, strict=True)))
        return found

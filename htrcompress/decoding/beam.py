"""CTC prefix beam search with a character language model (Graves & Jaitly 2014; Hannun et al. 2014), over many lines.

Each prefix has the probability of all its alignments that end in a blank, and of all that end in its last character.
What the language says about a prefix (`language.py`) is added to its logarithm. All lines of a call advance
together, one of their own frames at a time, as NumPy arrays (line, beam, candidate): every line is computed by the same
operations in the same order whatever stands beside it, so the text does not depend on the batch. Probabilities are
scaled by the best prefix of the line after every frame, so that none is lost. Frames that are all but certainly blank,
which are most, are not searched: they only close the character before them.
"""

import logging
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from htrcompress.card import Card
from htrcompress.charset import BLANK
from htrcompress.decoding.base import Hypothesis
from htrcompress.decoding.kneser_ney import END
from htrcompress.decoding.language import Language
from htrcompress.decoding.ngram import NGram, Rows
from htrcompress.decoding.prefixes import NO_NODE, Beams, Frames, PrefixTree, extended_hash, largest, merge
from htrcompress.errors import HtrError

logger = logging.getLogger(__name__)
SMALLEST = 1e-300
"""Stands for a probability of zero where its logarithm is taken."""


@dataclass(frozen=True)
class BeamOptions:
    """How the beam search decodes."""

    width: int = 12
    """Prefixes that are kept for each line."""
    candidates: int = 8
    """Characters that may extend a prefix in a frame: the most probable ones."""
    blank: float = 0.999
    """Frames whose blank is at least so probable are not searched; 1 searches all."""
    floor: float = 1e-4
    """Characters less probable than this do not extend a prefix, but for the most probable one."""

    def __post_init__(self) -> None:
        for name in ("width", "candidates"):
            if not 1 <= getattr(self, name) <= 1024:
                raise HtrError(f"--beam.{name} must be from 1 to 1,024, not {getattr(self, name)}")
        if not 0 < self.blank <= 1:
            raise HtrError(f"--beam.blank must be above 0 and at most 1, not {self.blank}")
        if not 0 <= self.floor < 1:
            raise HtrError(f"--beam.floor must be from 0 to below 1, not {self.floor}")


class BeamDecoder:
    """Reads logits with a prefix beam search.

    Args:
        card: the recogniser's card.
        language: what is known about the language; nothing, by default.
        options: see `BeamOptions`.

    Attributes:
        unknown: characters of the recogniser that a scorer lacks and scores as unknown.
    """

    def __init__(self, card: Card, language: Language = Language(), options: BeamOptions = BeamOptions()):
        self.card, self.options, self.language = card, options, language
        self.unknown: tuple[str, ...] = ()
        self._tables = threading.local()  # rows are made while decoding, so each thread has its own
        if language.scorers:
            if card.direction != "ltr":
                raise HtrError(
                    f"--lm: {card.name} reads from right to left, and language models are not used there yet"
                )
            known = set.intersection(*(set(scorer.automaton.charset.characters) for scorer in language.scorers))
            self.unknown = tuple(c for c in card.charset if c not in known)
            if self.unknown:
                logger.warning("the language model lacks %s: scored as unknown", " ".join(self.unknown))

    def __reduce__(self) -> tuple[type["BeamDecoder"], tuple[Card, Language, BeamOptions]]:
        return BeamDecoder, (self.card, self.language, self.options)

    @property
    def rows(self) -> list[Rows]:
        """Each scorer's rows for the recogniser's labels and the end of a line, of this thread."""
        if not hasattr(self._tables, "rows"):
            self._tables.rows = [self._rows_of(scorer.automaton) for scorer in self.language.scorers]
        return self._tables.rows

    def _rows_of(self, automaton: NGram) -> Rows:
        return Rows(automaton, [0, *automaton.symbols("".join(self.card.charset)).tolist(), END])  # 0 is the blank's

    def decode(
        self, logits: NDArray[np.float32], frames: NDArray[np.integer], n_best: int = 1
    ) -> list[list[Hypothesis]]:
        """The readings of each row, the best first; see `Decoder.decode`."""
        probability = _softmax(logits)
        searched = probability[:, :, BLANK] < self.options.blank
        active = [np.flatnonzero(row[:count]) for row, count in zip(searched, frames, strict=True)]
        order = np.argsort([-len(places) for places in active], kind="stable")
        search = self._frames(probability[order], [active[i] for i in order])
        beams, tree, scale = self._start(len(order)), PrefixTree(), np.zeros(len(order))
        for step in range(search.place.shape[1]):
            lines = int((search.count > step).sum())
            some = self._advance(beams.first(lines), search, step, lines, tree)
            largest = np.maximum(some.blank, some.label).max(1, keepdims=True)
            scale[:lines] += np.log(largest[:, 0])
            for name, value in vars(some).items():
                getattr(beams, name)[:lines] = value / largest if name in ("blank", "label") else value
        found = self._finish(beams, tree, scale, n_best)
        back = np.argsort(order)
        return [found[i] for i in back]

    def _frames(self, probability: NDArray[np.float32], active: list[NDArray[np.int64]]) -> Frames:
        """What the search looks at, gathered for all lines at once."""
        count = np.array([len(places) for places in active])
        place = np.zeros((len(active), int(count.max(initial=0))), np.int64)
        for row, places in enumerate(active):
            place[row, : len(places)] = places
        before = np.concatenate((np.full((len(active), 1), -1), place[:, :-1]), 1)[:, : place.shape[1]]
        seen = probability[np.arange(len(active))[:, None], place][:, :, 1:]
        size = min(self.options.candidates, seen.shape[2])
        some = np.argpartition(-seen, size - 1, 2)[:, :, :size] if size < seen.shape[2] else np.argsort(-seen, 2)
        some = np.sort(some, 2)  # the lower label first among equals
        best = np.take_along_axis(some, np.argsort(-np.take_along_axis(seen, some, 2), 2, kind="stable"), 2)
        value = np.take_along_axis(seen, best, 2).astype(np.float64)
        value[:, :, 1:][value[:, :, 1:] < self.options.floor] = 0.0
        return Frames(count, place, place - before > 1, probability, best + 1, value)

    def _start(self, lines: int) -> Beams:
        shape, scorers = (lines, self.options.width), len(self.language.scorers)
        beams = Beams(
            blank=np.zeros(shape),
            label=np.zeros(shape),
            extra=np.zeros(shape),
            hash=np.zeros(shape, np.uint64),
            parent=np.zeros(shape, np.uint64),
            last=np.full(shape, BLANK),
            state=np.broadcast_to([s.automaton.begin for s in self.language.scorers], (*shape, scorers)).astype(int),
            node=np.full(shape, NO_NODE),
        )
        beams.blank[:, 0] = 1.0
        # Places that hold no prefix yet must not look like the empty one.
        beams.hash[:, :] = np.arange(self.options.width, dtype=np.uint64)
        return beams

    def _advance(self, beams: Beams, search: Frames, step: int, lines: int, tree: PrefixTree) -> Beams:
        """One frame of the first lines: their prefixes after it."""
        row = np.arange(lines)[:, None]
        closed = search.closed[:lines, step, None]
        total = beams.blank + beams.label
        blank, label = np.where(closed, total, beams.blank), np.where(closed, 0.0, beams.label)
        place = search.place[:lines, step, None]
        stay_blank = total * search.probability[row, place, BLANK]
        own = np.where(beams.last != BLANK, search.probability[row, place, beams.last], 0.0)
        stay_label = label * own
        chosen, value = search.chosen[:lines, step], search.value[:lines, step]
        same = beams.last[:, :, None] == chosen[:, None, :]
        grown = np.where(same, blank[:, :, None], total[:, :, None]) * value[:, None, :]
        merge(beams, blank, total, own, chosen, grown, stay_label)
        extra, following = self._score(beams, chosen)
        size = chosen.shape[1]
        stay = np.log(np.maximum(stay_blank + stay_label, SMALLEST)) + beams.extra
        grow = np.log(np.maximum(grown, SMALLEST)) + extra
        best = largest(np.concatenate((stay, grow.reshape(lines, -1)), 1), self.options.width)
        extends = best >= self.options.width
        source = np.where(extends, (best - self.options.width) // size, best)
        at = np.where(extends, (best - self.options.width) % size, 0)
        new, prefix = chosen[row, at], beams.hash[row, source]
        return Beams(
            blank=np.where(extends, 0.0, stay_blank[row, source]),
            label=np.where(extends, grown[row, source, at], stay_label[row, source]),
            extra=np.where(extends, extra[row, source, at], beams.extra[row, source]),
            hash=np.where(extends, extended_hash(prefix, new), prefix),
            parent=np.where(extends, prefix, beams.parent[row, source]),
            last=np.where(extends, new, beams.last[row, source]),
            state=np.where(extends[:, :, None], following[row, source, at], beams.state[row, source]),
            node=tree.grow(beams.node[row, source], new, extends),
        )

    def _score(self, beams: Beams, chosen: NDArray) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """What the language gives to each growth, (B, K, M), and the states behind it, (B, K, M, scorers)."""
        shape = (*beams.extra.shape, chosen.shape[1])
        extra = np.broadcast_to(beams.extra[:, :, None] + self.language.bonus, shape)
        following = np.zeros((*shape, len(self.rows)), np.int64)
        for place, (scorer, rows) in enumerate(zip(self.language.scorers, self.rows, strict=True)):
            row, label = rows.rows_of(beams.state[:, :, place])[:, :, None], rows.place[chosen][:, None, :]
            extra = extra + scorer.weight * rows.log_probability[row, label]
            following[:, :, :, place] = rows.next_state[row, label]
        return extra, following

    def _finish(
        self, beams: Beams, tree: PrefixTree, scale: NDArray[np.float64], n_best: int
    ) -> list[list[Hypothesis]]:
        total = beams.blank + beams.label
        score = np.log(np.maximum(total, SMALLEST)) + scale[:, None] + beams.extra
        for place, (scorer, rows) in enumerate(zip(self.language.scorers, self.rows, strict=True)):
            row = rows.rows_of(beams.state[:, :, place])  # before the table is read, which this may replace
            score = score + scorer.weight * rows.log_probability[row, rows.place[-1]]
        found = []
        for line, order in enumerate(np.argsort(-score, 1, kind="stable")):
            kept = [int(place) for place in order if total[line, place] > 0][:n_best]
            texts = [(tree.labels(int(beams.node[line, place])), float(score[line, place])) for place in kept]
            found.append([Hypothesis(labels, s / len(labels) if labels else -np.inf) for labels, s in texts])
        return found


def _softmax(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Probabilities, FP32 (B, T, C)."""
    values = np.exp(logits.astype(np.float32) - logits.max(2, keepdims=True))
    values /= values.sum(2, keepdims=True)
    return values

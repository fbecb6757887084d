"""A character n-gram compiled to flat arrays: states, and arcs with a log-probability and the state behind them.

A state is a history that the model knows. Its arcs hold only symbols that were seen after it; for all others a state
falls back to a shorter history. `Rows` resolves that for whole sets of states at once and keeps the result, so that a
decoder reads `log_probability[row, label]` and `next_state[row, label]` as plain arrays.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from htrcompress.charset import Charset
from htrcompress.decoding.kneser_ney import BEGIN, END, SPECIAL, UNKNOWN, Order, symbol_bits
from htrcompress.errors import HtrError

ARRAYS: dict[str, np.dtype] = {
    "backoff_state": np.dtype("<i4"),
    "backoff": np.dtype("<f4"),
    "arc_start": np.dtype("<i8"),
    "arc_symbol": np.dtype("<u4"),
    "arc_log_probability": np.dtype("<f4"),
    "arc_next": np.dtype("<i4"),
}
PARTS = 16
"""Of a nat; the error rates on validation lines are the same with that and without."""
NEVER = -99.0
"""Log-probability of the start of a line, which nothing predicts."""


@dataclass(frozen=True)
class NGram:
    """A compiled character n-gram.

    Attributes:
        charset: the characters that it knows, and the direction of the lines whose texts, as they stand on the page, it
            was made of.
        order: the largest n.
        states: orders 1 to n-1 of histories; state 0 is the empty one, `begin` that of a line's start.
        begin: the state at the start of a line.
        arrays: see `ARRAYS`; those of states are (S,), `arc_start` is (S + 1,), those of arcs (A,), by state and
            ascending symbol. Logarithms are natural ones.
        settings: what was tuned and where the text came from, such as `weight` and `bonus`.
    """

    charset: Charset
    order: int
    begin: int
    arrays: Mapping[str, NDArray]
    settings: Mapping[str, str]

    @property
    def states(self) -> int:
        """Number of states."""
        return len(self.arrays["backoff_state"])

    def symbols(self, text: str) -> NDArray[np.int64]:
        """Symbols of a text as it stands on the page; characters that the model lacks are `UNKNOWN`."""
        known = {c: i + SPECIAL for i, c in enumerate(self.charset.characters)}
        return np.array([known.get(c, UNKNOWN) for c in text], np.int64)

    def perplexity(self, texts: Sequence[str]) -> float:
        """Perplexity a symbol, line ends included, of some lines."""
        rows = Rows(self, range(len(self.charset.characters) + SPECIAL))
        state = np.full(len(texts), self.begin)
        lines = [np.concatenate((self.symbols(self.charset.on_page(text)), [END])) for text in texts]
        total, count = 0.0, sum(map(len, lines))
        for place in range(max(map(len, lines), default=0)):
            alive = np.array([i for i, line in enumerate(lines) if place < len(line)])
            symbols = np.array([lines[i][place] for i in alive])
            log_probability, following = rows.look_up(state[alive])
            total += float(log_probability[np.arange(len(alive)), symbols].sum())
            state[alive] = following[np.arange(len(alive)), symbols]
        return float(np.exp(-total / max(1, count)))


class Rows:
    """Resolved rows of an n-gram for a chosen set of symbols; a row is computed when its state is first looked up.

    Args:
        model: the n-gram.
        symbols: the columns, for example the symbols of a recogniser's labels.
        most: rows that are kept; with more, all are dropped and made again, which bounds memory.
    """

    def __init__(self, model: NGram, symbols: Sequence[int], most: int = 65_536):
        self.model, self.most = model, most
        self.columns = np.full(len(model.charset.characters) + SPECIAL, -1, np.int64)
        order = np.asarray(list(symbols))
        self.repeated = order  # a symbol may stand in several columns, as UNKNOWN does
        self.distinct, self.place = np.unique(order, return_inverse=True)
        self.columns[self.distinct] = np.arange(len(self.distinct))
        self._forget()

    def _forget(self) -> None:
        self.row = np.full(self.model.states, -1, np.int32)
        self.log_probability = np.zeros((0, len(self.distinct)), np.float32)
        self.next_state = np.zeros((0, len(self.distinct)), np.int32)
        self.used = 0

    def look_up(self, states: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Log-probabilities and next states for some states, (N, symbols) each."""
        rows = self.rows_of(states)
        return self.log_probability[rows][:, self.place], self.next_state[rows][:, self.place]

    def rows_of(self, states: NDArray[np.integer]) -> NDArray[np.int32]:
        """Rows of some states in `log_probability` and `next_state`; `place` maps the symbols to their columns."""
        rows = self.row[states]
        if (rows < 0).any():
            wanted = np.unique(states)
            if self.used + len(wanted) > self.most:
                self._forget()
            self._make(wanted[self.row[wanted] < 0])
            rows = self.row[states]
        return rows

    def _make(self, states: NDArray[np.integer]) -> None:
        """Makes the rows of some states, those of the histories that they fall back to first."""
        if not len(states):
            return
        arrays = self.model.arrays
        shorter = arrays["backoff_state"][states]
        below = np.unique(shorter[(states != 0) & (self.row[shorter] < 0)])
        self._make(below[self.row[below] < 0])
        if len(states) and states[0] == 0:
            self._add(states[:1], np.full((1, len(self.distinct)), NEVER, np.float32), 0)
            states, shorter = states[1:], shorter[1:]
        if len(states):
            base = self.row[shorter]
            weight = arrays["backoff"][states][:, None]
            self._add(states, self.log_probability[base] + weight, self.next_state[base])

    def _add(
        self, states: NDArray[np.integer], values: NDArray[np.float32], following: NDArray[np.int32] | int
    ) -> None:
        """Puts the states' own arcs over what they fall back to, and keeps the rows."""
        arrays = self.model.arrays
        start, end = arrays["arc_start"][states], arrays["arc_start"][states + 1]
        counts = end - start
        offset = np.concatenate(([0], np.cumsum(counts)))
        arcs = np.arange(offset[-1]) - np.repeat(offset[:-1] - start, counts)
        column = self.columns[arrays["arc_symbol"][arcs]]
        row = np.repeat(np.arange(len(states)), counts)
        seen = column >= 0
        after = np.broadcast_to(np.asarray(following, np.int32), values.shape).copy()
        values[row[seen], column[seen]] = arrays["arc_log_probability"][arcs[seen]]
        after[row[seen], column[seen]] = arrays["arc_next"][arcs[seen]]
        self._grow(len(states))
        here = np.arange(self.used, self.used + len(states))
        self.log_probability[here], self.next_state[here] = values, after
        self.row[states] = here
        self.used += len(states)

    def _grow(self, more: int) -> None:
        size = len(self.log_probability)
        if self.used + more <= size:
            return
        wanted = max(2 * size, self.used + more, 1024)
        for name in ("log_probability", "next_state"):
            old = getattr(self, name)
            new = np.zeros((wanted, old.shape[1]), old.dtype)
            new[: self.used] = old[: self.used]
            setattr(self, name, new)


def rounded(model: NGram) -> NGram:
    """A model whose logarithms are multiples of 1 / `PARTS`, which archives such as wheels pack to a third."""
    names = ("arc_log_probability", "backoff")
    round_ = {name: np.rint(model.arrays[name] * PARTS) / np.float32(PARTS) for name in names}
    return replace(model, arrays={**model.arrays, **round_})


def compile_orders(orders: Sequence[Order], charset: Charset, settings: Mapping[str, str] = {}) -> NGram:
    """Flat arrays of a model as `kneser_ney.train` or `arpa.read_arpa` gives it."""
    bits = symbol_bits(len(charset.characters))
    histories = _histories(orders, bits)
    first = np.concatenate(([0, 1], 1 + np.cumsum([len(keys) for keys in histories])))  # the empty history is state 0
    backoff_state, backoff = [np.zeros(1, np.int64)], [np.zeros(1)]
    for n, keys in enumerate(histories, 1):
        order = orders[n - 1]
        backoff_state.append(_longest(keys & _mask((n - 1) * bits), n - 1, histories, first, bits))
        backoff.append(np.log(np.maximum(order.backoff[np.searchsorted(order.keys, keys)], 1e-30)))
    parts = [_arcs(order, n, histories, first, bits) for n, order in enumerate(orders, 1)]
    state, symbol, log_probability, following = (np.concatenate(part) for part in zip(*parts, strict=True))
    arc_start = np.concatenate(([0], np.cumsum(np.bincount(state, minlength=int(first[-1])))))
    found = (np.concatenate(backoff_state), np.concatenate(backoff), arc_start, symbol, log_probability, following)
    arrays = {name: np.asarray(value, kind) for (name, kind), value in zip(ARRAYS.items(), found, strict=True)}
    begin = int(_longest(np.array([BEGIN], np.uint64), 1, histories, first, bits)[0])
    return NGram(charset, len(orders), begin, arrays, dict(settings))


def _mask(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)


def _histories(orders: Sequence[Order], bits: int) -> list[NDArray[np.uint64]]:
    """Keys of orders 1 to n-1 that something follows, ascending.

    Raises:
        HtrError: an n-gram continues a history that the lower order lacks.
    """
    found = []
    for shorter, longer in itertools.pairwise(orders):
        keys = np.unique(longer.keys >> np.uint64(bits))
        places = np.minimum(np.searchsorted(shorter.keys, keys), max(0, len(shorter.keys) - 1))
        if len(keys) and not (len(shorter.keys) and (shorter.keys[places] == keys).all()):
            raise HtrError("the language model is damaged: an n-gram continues a history that is not in it")
        found.append(keys)
    return found


def _longest(
    keys: NDArray[np.uint64], n: int, histories: Sequence[NDArray[np.uint64]], first: NDArray, bits: int
) -> NDArray[np.int64]:
    """The state of the longest suffix, of at most n symbols, that is a history."""
    state = np.zeros(len(keys), np.int64)
    open_ = np.ones(len(keys), bool)
    for length in range(min(n, len(histories)), 0, -1):
        known, suffix = histories[length - 1], keys & _mask(length * bits)
        if not len(known):
            continue
        places = np.minimum(np.searchsorted(known, suffix), len(known) - 1)
        hit = open_ & (known[places] == suffix)
        state[hit] = first[length] + places[hit]
        open_ &= ~hit
    return state


def _arcs(
    order: Order, n: int, histories: Sequence[NDArray[np.uint64]], first: NDArray, bits: int
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """State, symbol, log-probability and next state of every n-gram of one order that predicts something."""
    symbol = order.keys & _mask(bits)
    keep = symbol != BEGIN
    keys, symbol = order.keys[keep], symbol[keep]
    log_probability = np.log(np.maximum(order.probability[keep], 1e-30))
    state = np.zeros(len(keys), np.int64)
    if n > 1:
        state = first[n - 1] + np.searchsorted(histories[n - 2], keys >> np.uint64(bits))
    following = _longest(keys, n, histories, first, bits)
    following[symbol == END] = 0
    return state, symbol, log_probability, following

"""Character n-grams counted in text and smoothed: interpolated modified Kneser-Ney (Chen & Goodman 1998).

An n-gram is one unsigned 64-bit number: `bits` bits a symbol, the newest symbol in the lowest bits. Its history is the
number shifted right by one symbol, its suffix the number without its oldest symbol, so whole orders are sorted, joined
and summed as arrays: ten million characters take seconds. No library that installs everywhere does this: kenlm's
trainer is not in its wheels, and kaldingram ends at order 5.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from htrcompress.errors import HtrError

UNKNOWN, BEGIN, END = 0, 1, 2
"""Symbols beside the characters: what the training text lacks, the start of a line (never predicted), its end."""
SPECIAL = 3
"""Character `i` of the charset is symbol `i + SPECIAL`."""
LARGEST_ORDER = 12
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts of an order whose counts of counts allow no estimate, as in a text of a few lines."""

Keys = NDArray[np.uint64]
Counts = tuple[Keys, NDArray[np.int64]]


@dataclass(frozen=True)
class Order:
    """All n-grams of one order that were seen, sorted by key.

    Attributes:
        keys: uint64 (N,), ascending.
        probability: float64 (N,), interpolated probability of the newest symbol after the history; of an n-gram that
            is only a history (it ends in `BEGIN`) it is 0.
        backoff: float64 (N,), factor on the next lower order where the n-gram is a history; 1 where it is none.
    """

    keys: Keys
    probability: NDArray[np.float64]
    backoff: NDArray[np.float64]


def symbol_bits(characters: int) -> int:
    """Bits that a symbol takes beside so many characters."""
    return max(1, int(characters + SPECIAL - 1).bit_length())


def check_order(order: int, characters: int) -> None:
    """Raises HtrError unless n-grams of this order over so many characters fit 64 bits."""
    if not 1 <= order <= LARGEST_ORDER:
        raise HtrError(f"--order must be from 1 to {LARGEST_ORDER}, not {order}")
    largest = 64 // symbol_bits(characters)
    if order > largest:
        raise HtrError(f"--order {order} is too large for {characters} characters: at most {largest}")


def train(lines: Iterable[Sequence[int]], order: int, characters: int) -> list[Order]:
    """Estimates the model of some lines: `count` and `estimate` in one."""
    return estimate(count(lines, order, characters), characters)


def count(lines: Iterable[Sequence[int]], order: int, characters: int) -> list[Counts]:
    """The distinct n-grams of each order from 1 on, ascending, and how often each occurs in the text.

    Args:
        lines: symbols of each line, from `SPECIAL` on or `UNKNOWN`, without `BEGIN` and `END`.
        order: the largest n.
        characters: size of the charset.

    Raises:
        HtrError: there is no text, or the order does not fit.
    """
    check_order(order, characters)
    stream = _stream(lines)
    return [_count(stream, n, symbol_bits(characters)) for n in range(1, order + 1)]


def estimate(grams: Sequence[Counts], characters: int) -> list[Order]:
    """The model, of orders 1 to n, of text that was counted."""
    bits = symbol_bits(characters)
    counts = [_continuations(grams, n, bits) for n in range(1, len(grams))] + [grams[-1][1]]
    orders: list[Order] = []
    for n, (keys, _) in enumerate(grams, 1):
        orders.append(_smooth(keys, counts[n - 1].astype(np.float64), n, bits, orders, characters))
    return orders


def _stream(lines: Iterable[Sequence[int]]) -> NDArray[np.uint64]:
    """All lines one after the other, each between `BEGIN` and `END`."""
    parts = [np.concatenate(([BEGIN], np.asarray(line, np.uint64), [END])) for line in lines if len(line)]
    if not parts:
        raise HtrError("the language model has no text to learn from: give it lines with characters")
    return np.concatenate(parts).astype(np.uint64)


def _count(stream: NDArray[np.uint64], n: int, bits: int) -> Counts:
    """Distinct n-grams and how often each occurs; none reaches over the start of a line."""
    if len(stream) < n:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    keys = np.zeros(len(stream) - n + 1, np.uint64)
    inside = np.ones(len(keys), bool)
    for place in range(n):
        symbols = stream[place : place + len(keys)]
        keys = (keys << np.uint64(bits)) | symbols
        if place:
            inside &= symbols != BEGIN
    found, counts = np.unique(keys[inside], return_counts=True)
    return found, counts.astype(np.int64)


def _continuations(grams: Sequence[Counts], n: int, bits: int) -> NDArray[np.int64]:
    """Distinct symbols before each n-gram; its plain count where it starts a line, before which nothing stands."""
    keys, counts = grams[n - 1]
    longer = grams[n][0]
    places = np.searchsorted(keys, longer & _mask(n * bits))
    found = np.bincount(places, minlength=len(keys)).astype(np.int64)
    starts = (keys >> np.uint64((n - 1) * bits)) == BEGIN
    return np.where(starts, counts, found)


def _mask(bits: int) -> np.uint64:
    return np.uint64((1 << bits) - 1)


def _discounts(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """What modified Kneser-Ney takes from counts of 0, 1, 2, and 3 or more: (4,)."""
    of = [float((counts == k).sum()) for k in range(1, 5)]
    if min(of) == 0:
        return np.array((0.0, *FALLBACK))
    share = of[0] / (of[0] + 2 * of[1])
    found = [k - (k + 1) * share * of[k] / of[k - 1] for k in (1, 2, 3)]
    if not all(0 <= d <= k for d, k in zip(found, (1, 2, 3), strict=True)):
        return np.array((0.0, *FALLBACK))
    return np.array((0.0, *found))


def _smooth(keys: Keys, counts: NDArray[np.float64], n: int, bits: int, lower: list[Order], characters: int) -> Order:
    """Interpolated probabilities of one order, and in `backoff` the weight of its own histories, for now."""
    predicted = (keys & _mask(bits)) != BEGIN
    histories, group = np.unique(keys >> np.uint64(bits), return_inverse=True)
    used = np.where(predicted, counts, 0.0)
    taken = _discounts(used[predicted])[np.minimum(used, 3).astype(int)]
    total = np.bincount(group, used, len(histories))
    free = np.bincount(group, taken, len(histories)) / np.maximum(total, 1)
    if n == 1:
        below = np.full(len(keys), 1 / (characters + SPECIAL - 1))  # all but BEGIN can follow
    else:
        shorter = lower[-1]
        below = shorter.probability[np.searchsorted(shorter.keys, keys & _mask((n - 1) * bits))]
    probability = np.where(predicted, (used - taken) / np.maximum(total, 1)[group] + free[group] * below, 0.0)
    if n == 1:
        return _with_all_symbols(keys, probability, float(free[0]) / (characters + SPECIAL - 1), characters)
    shorter = lower[-1]
    shorter.backoff[np.searchsorted(shorter.keys, histories)] = free
    return Order(keys, probability, np.ones(len(keys)))


def _with_all_symbols(keys: Keys, probability: NDArray[np.float64], unseen: float, characters: int) -> Order:
    """Unigrams of every symbol, those that the text lacks with the share that smoothing left for them."""
    every = np.arange(characters + SPECIAL, dtype=np.uint64)
    filled = np.full(len(every), unseen)
    filled[keys.astype(int)] = probability
    filled[BEGIN] = 0.0
    return Order(every, filled, np.ones(len(every)))

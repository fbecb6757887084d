"""Makes a character n-gram smaller: leaves out the n-grams that its predictions need least (Stolcke 1998).

Where an n-gram is left out, its history falls back to a shorter one for that character. What this changes is measured
as the relative entropy between the model with it and without, weighted by how often the history occurs, and the n-grams
that change least go first. How often is counted in the text, since the lower orders of Kneser-Ney say how many
different histories a character follows and not how often it does (Chelba et al. 2010).
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from htrcompress.decoding.kneser_ney import Counts, Keys, Order
from htrcompress.decoding.ngram import ARRAYS
from htrcompress.errors import HtrError

Floats = NDArray[np.float64]
Kept = list[NDArray[np.bool_]]
SMALLEST = 1e-12
"""Of probabilities that are divided by, which rounding may bring to zero."""
_ARC = sum(kind.itemsize for name, kind in ARRAYS.items() if name.startswith("arc_") and name != "arc_start")
_STATE = sum(kind.itemsize for kind in ARRAYS.values()) - _ARC


def pruned(orders: Sequence[Order], grams: Sequence[Counts], bits: int, most: int) -> list[Order]:
    """The model without the n-grams that it needs least, as many of them as fit.

    Args:
        orders: from `kneser_ney.estimate`.
        grams: the counts that it was estimated from.
        bits: of a symbol.
        most: bytes that the compiled arrays may have.

    Raises:
        HtrError: the single characters, which are all kept, do not fit.
    """
    loss = losses(orders, grams, bits)
    ascending = np.unique(np.concatenate(loss))  # the last is infinite: single characters alone
    least = _bytes(orders, _kept(orders, loss, ascending[-1], bits), bits)
    if least > most:
        raise HtrError(f"--size is too small: single characters alone make {least:,} bytes, and more is to be kept")
    low, high = 0, len(ascending) - 1  # the smallest model whose losses are at least `ascending[high]` fits
    while low < high:
        middle = (low + high) // 2
        fits = _bytes(orders, _kept(orders, loss, ascending[middle], bits), bits) <= most
        low, high = (low, middle) if fits else (middle + 1, high)
    return _without(orders, _kept(orders, loss, ascending[high], bits), bits)


def losses(orders: Sequence[Order], grams: Sequence[Counts], bits: int) -> list[Floats]:
    """What leaving out each n-gram alone costs, in nats over the whole text; infinite for single characters."""
    found = [np.full(len(orders[0].keys), np.inf)]
    for n, (shorter, order) in enumerate(itertools.pairwise(orders), 2):
        histories, group = np.unique(order.keys >> np.uint64(bits), return_inverse=True)
        here = order.probability
        below = shorter.probability[np.searchsorted(shorter.keys, _suffixes(order.keys, n, bits))]
        free, free_below = (_free(p, group, len(histories))[group] for p in (here, below))
        before, after = np.log(free / free_below), np.log((free + here) / (free_below + below))
        change = here * (np.log(here) - np.log(below) - after) + free * (before - after)
        found.append(np.bincount(group, grams[n - 1][1], len(histories))[group] * change)
    return found


def _kept(orders: Sequence[Order], loss: Sequence[Floats], least: float, bits: int) -> Kept:
    """Which n-grams of each order stay: those that lose at least so much, and all that others continue."""
    kept: Kept = []
    needed: Keys = np.zeros(0, np.uint64)
    for order, values in zip(reversed(orders), reversed(loss), strict=True):
        stays = values >= least
        if len(needed):
            stays[np.searchsorted(order.keys, needed)] = True
        kept.append(stays)
        needed = np.unique(order.keys[stays] >> np.uint64(bits))
    return kept[::-1]


def _bytes(orders: Sequence[Order], kept: Kept, bits: int) -> int:
    """Of the compiled arrays: those of `ngram.compile_orders`."""
    arcs = sum(int(stays.sum()) for stays in kept)
    histories = (len(np.unique(o.keys[stays] >> np.uint64(bits))) for o, stays in zip(orders, kept, strict=True))
    return _ARC * arcs + _STATE * (sum(histories) + 1)  # one more: `arc_start` is longer by that


def _without(orders: Sequence[Order], kept: Kept, bits: int) -> list[Order]:
    """The n-grams that stay, with the probabilities they had and the back-off weights that these leave."""
    found: list[Order] = []
    for n, (order, stays) in enumerate(zip(orders, kept, strict=True), 1):
        keys, probability = order.keys[stays], order.probability[stays]
        if n > 1:
            histories, group = np.unique(keys >> np.uint64(bits), return_inverse=True)
            below = _probability(found, _suffixes(keys, n, bits), bits)
            free, free_below = (_free(p, group, len(histories)) for p in (probability, below))
            found[-1].backoff[np.searchsorted(found[-1].keys, histories)] = free / free_below
        found.append(Order(keys, probability, np.ones(len(keys))))
    return found


def _free(probability: Floats, group: NDArray[np.integer], groups: int) -> Floats:
    """The probability that each history leaves to other characters than those with a probability of their own."""
    return np.maximum(1 - np.bincount(group, probability, groups), SMALLEST)


def _probability(orders: Sequence[Order], keys: Keys, bits: int) -> Floats:
    """Of n-grams as long as the largest order, not all of which are in the model: that of the newest symbol."""
    order, n = orders[-1], len(orders)
    places = np.minimum(np.searchsorted(order.keys, keys), max(0, len(order.keys) - 1))
    seen = order.keys[places] == keys if len(order.keys) else np.zeros(len(keys), bool)
    found = np.zeros(len(keys))
    found[seen] = order.probability[places[seen]]
    if n > 1 and not seen.all():
        shorter, rest = orders[-2], keys[~seen]
        history = rest >> np.uint64(bits)
        places = np.minimum(np.searchsorted(shorter.keys, history), max(0, len(shorter.keys) - 1))
        backoff = np.where(shorter.keys[places] == history, shorter.backoff[places], 1.0) if len(shorter.keys) else 1.0
        found[~seen] = backoff * _probability(orders[:-1], _suffixes(rest, n, bits), bits)
    return found


def _suffixes(keys: Keys, n: int, bits: int) -> Keys:
    """The keys of n-grams without their oldest symbol."""
    return keys & np.uint64((1 << (n - 1) * bits) - 1)

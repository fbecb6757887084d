"""`Lazy`: a sequence whose items are made when they are asked for, so that a million of them need no memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Places = range | NDArray[np.int64]


class Lazy(Sequence[T]):
    """Item `i` is `make(places[i])`; a slice is lazy again.

    Args:
        make: gives an item by its place; called every time that the item is asked for.
        places: of the items, in their order.
    """

    def __init__(self, make: Callable[[int], T], places: Places):
        self.make, self.places = make, places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, at: int) -> T: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...

    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return self.chosen(range(*at.indices(len(self))))
        return self.make(int(self.places[at]))

    def __iter__(self) -> Iterator[T]:
        return (self.make(int(place)) for place in self.places)

    def chosen(self, indices: Sequence[int]) -> Sequence[T]:
        """The items at some indices, in the order given."""
        return Lazy(self.make, self.places_of(indices))

    def places_of(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """The places of the items at some indices, int64."""
        return np.asarray(self.places, np.int64)[np.asarray(indices, np.int64)]


def chosen(items: Sequence[T], indices: Sequence[int]) -> Sequence[T]:
    """Some items of a sequence, in the order given: lazy if the sequence is, else a list."""
    return items.chosen(indices) if isinstance(items, Lazy) else [items[i] for i in indices]


def joined(first: Sequence[T], second: Sequence[T]) -> Sequence[T]:
    """One sequence after the other: lazy if either is, else a list."""
    if not isinstance(first, Lazy) and not isinstance(second, Lazy):
        return [*first, *second]
    count = len(first)
    return Lazy(lambda i: first[i] if i < count else second[i - count], range(count + len(second)))

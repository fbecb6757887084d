"""What PAGE and ALTO have in common: numbers and points in attributes, and ids of lines."""

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice

from htrcompress.errors import HtrError
from htrcompress.pages.markup import Element
from htrcompress.pages.page import MAX_LINES, MAX_POINTS, Point

_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
_PLAIN = re.compile(r"[-\d., ]*")
FURTHEST = 1e7
"""Coordinates beyond are on no page."""


def number(value: str | None) -> float | None:
    """A number in an attribute; None where there is none, or it is not finite."""
    try:
        found = float(value) if value else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def coordinate(value: str | None) -> float | None:
    """A coordinate or a length in an attribute; None where there is none, or it is on no page."""
    found = number(value)
    return found if found is not None and abs(found) <= FURTHEST else None


def share(value: str | None) -> float | None:
    """A confidence from 0 to 1; None where there is none."""
    found = number(value)
    return found if found is not None and 0 <= found <= 1 else None


def _numbers(value: str, most: int) -> list[float]:
    """The numbers in a text, at most so many; reading them is most of the time that a page takes."""
    if _PLAIN.fullmatch(value):
        with suppress(ValueError):  # such as 1-2, or more numbers than are wanted
            return list(map(float, value.replace(",", " ").split(None, most)))
    return [float(found[0]) for found in islice(_NUMBER.finditer(value), most)]


class PointReader:
    """Reads the points of a page; `source` is what to call it in an error."""

    def __init__(self, source: str):
        self.source = source
        self.left = MAX_POINTS

    def read(self, value: str | None) -> tuple[Point, ...]:
        """The points in an attribute: `x,y x,y`, `x y x y`, `x,y,x,y` or `(x,y) (x,y)`; none if one is not whole.

        Raises:
            HtrError: there are more points than a page has.
        """
        most = 2 * self.left
        numbers = _numbers(value or "", most + 1)
        if len(numbers) > most:
            raise HtrError(f"{self.source} has more than {MAX_POINTS} points in its lines; no page has")
        self.left -= len(numbers) // 2
        if len(numbers) % 2 or not numbers or max(numbers) > FURTHEST or min(numbers) < -FURTHEST:
            return ()
        return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def identified(elements: Iterable[Element], attribute: str, source: str) -> dict[str, Element]:
    """The lines of a file by id, in its order; a line without an id, or with one that is taken, is given one.

    Raises:
        HtrError: there are more lines than a page has.
    """
    named: dict[str, Element] = {}
    for position, element in enumerate(elements, 1):
        if position > MAX_LINES:
            raise HtrError(f"{source} has more than {MAX_LINES} lines; no page has")
        wanted = element.attributes.get(attribute) or "line"
        id_ = wanted
        while id_ in named or id_ == "line":
            id_ = f"{wanted}-{position}" if id_ == wanted else f"{id_}-{position}"
        named[id_] = element
    return named


def check_ids(readings: Mapping[str, object], lines: Mapping[str, object], source: str) -> None:
    """Refuses texts for lines that the file has not.

    Raises:
        HtrError: there are such.
    """
    if unknown := [id_ for id_ in readings if id_ not in lines]:
        raise HtrError(f"{source} has no line {unknown[0]}: read it again before text is written into it")

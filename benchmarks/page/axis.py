"""Axes of plots: where a value lies, and which values are marked."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

STEPS = (1, 2, 2.5, 5, 10)
LOG_MARKS = ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,))
MOST_MARKS = 7


@dataclass(frozen=True)
class Axis:
    """A range of values and its name.

    Attributes:
        name: with the unit.
        low, high: ends of the range.
        log: whether equal ratios have equal lengths.
    """

    name: str
    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def marks(self) -> list[float]:
        """A few round values in the range."""
        if not self.log:
            step = _round_step((self.high - self.low) / 5)
            first = math.ceil(self.low / step - 1e-9)
            return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in LOG_MARKS:
            values = (digit * 10.0**decade for decade in decades for digit in digits)
            found = [value for value in values if self.low * 0.999 <= value <= self.high * 1.001]
            if len(found) <= MOST_MARKS:
                break
        return found


def axis(name: str, values: Iterable[float], log: bool = False, zero: bool = False) -> Axis:
    """An axis on which all values have room.

    Args:
        name: with the unit.
        values: what is shown; above zero for a logarithmic axis.
        log: see `Axis`.
        zero: whether the axis begins at zero.
    """
    known = list(values)
    low, high = min(known), max(known)
    if log:
        room = max((high / low) ** 0.08, 1.15)
        return Axis(name, low / room, high * room, True)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    return Axis(name, 0.0 if zero else low - room, high + room)


def shown(value: float) -> str:
    """A value as a mark shows it: 3 digits at most, thousands with k, millions with M."""
    for unit, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{suffix}"
    return f"{value:.3g}"


def _round_step(about: float) -> float:
    power = 10.0 ** math.floor(math.log10(about))
    return next(step * power for step in STEPS if step * power >= about * 0.999)

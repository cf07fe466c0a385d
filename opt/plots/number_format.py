"""Tick labels: numbers short and each its own, and powers of ten taken out where matplotlib could not compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import Formatter

LARGEST_POWER = 60
"""Beyond this power of ten, or below its inverse, the product of two axes' scales is soon no number any more."""
DIGITS = (6, 7, 8)
"""Significant digits of a tick, as many as tell it from its neighbours; more are told by an offset."""
ROUNDING = 1e-9
"""What is less than this share of an axis is a zero that was computed."""


@dataclass(frozen=True)
class Magnitude:
    """The power of ten that an axis is counted in.

    Args:
        power: 0 unless the values are so large or small that sums and products of them are no numbers.
    """

    power: int = 0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values, (n,), as they are drawn."""
        if self.power >= 0:
            return values / 10.0**self.power if self.power else values
        # the inverse of a denormal number is none: two steps
        first = min(-self.power, 300)
        return values * 10.0**first * 10.0 ** (-self.power - first)

    def label(self, text: str) -> str:
        """The axis' label, with the power of ten where there is one."""
        return f"{text}, in 1e{self.power}" if self.power else text


PLAIN = Magnitude()
"""Values as they are."""


def magnitude_of(*values: np.ndarray) -> Magnitude:
    """What to count in, so that every finite value can be drawn.

    Args:
        values: (n,) each; what is not finite is passed over.
    """
    largest = 0.0
    for some in values:
        finite = some[np.isfinite(some)]
        largest = max(largest, float(np.abs(finite).max(initial=0.0)))
    power = math.floor(math.log10(largest)) if largest > 0 else 0
    return Magnitude(power if abs(power) > LARGEST_POWER else 0)


class ShortNumbers(Formatter):
    """Ticks as short as they can be and still differ; what they have in common goes to the end of the axis.

    Args:
        is_linear: Whether what is tiny beside the axis' range is a zero.
    """

    def __init__(self, *, is_linear: bool) -> None:
        self._is_linear = is_linear
        self._digits = DIGITS[0]
        self._offset = 0.0
        self._decimals = 0

    def set_locs(self, locs: Sequence[float]) -> None:
        """Choose the digits for ticks at these places, as matplotlib asks for before it writes them."""
        self._digits, self._offset = DIGITS[0], 0.0
        distinct = sorted({float(loc) for loc in locs})
        for digits in DIGITS:
            self._digits = digits
            if len({self(loc) for loc in distinct}) == len(distinct):
                return
        self._digits, self._offset = DIGITS[0], distinct[len(distinct) // 2]
        # a difference of numbers that are nearly equal is known to few digits
        self._decimals = 2 - math.floor(math.log10(distinct[-1] - distinct[0]))

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The tick's text."""
        value = round(float(x) - self._offset, self._decimals) if self._offset else float(x)
        if self._is_linear and self.axis is not None:
            low, high = self.axis.get_view_interval()
            if abs(value) < ROUNDING * abs(high - low):
                return "0"
        return short(value, digits=self._digits)

    def get_offset(self) -> str:
        """What is to be added to every tick, for the end of the axis; "" where it is nothing."""
        return f"{self._offset:+.17g}" if self._offset else ""


def short(value: float, *, digits: int = DIGITS[0]) -> str:
    """A number in a few letters: 1.5k, 20M, 3e-7."""
    size = abs(value)
    if size == 0:
        return "0"
    if 1e4 <= size < 1e18:
        power = int(math.log10(size) // 3)
        return f"{value / 1000**power:.{digits}g}{' kMGTP'[power]}".replace(" ", "")
    if size < 1e-3 or size >= 1e18:
        mantissa, exponent = f"{value:.{digits - 3}e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.{digits}g}"

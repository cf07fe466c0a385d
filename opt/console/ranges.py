"""The numbers that options and parameters take, and the words that tell a user which."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from opt.console.errors import UsageError

_DIGITS = 24
"""Whole numbers of more digits are told by their number of digits."""
_POWERS_FROM = 10**9
"""Bounds from here on are shown as powers where they are some."""


@dataclass(frozen=True, repr=False)
class Range:
    """Finite numbers from `low` to `high`.

    Args:
        low: The least.
        high: The largest.
        is_above: Whether `low` itself is left out.
        is_below: Whether `high` itself is left out.
    """

    low: float = -math.inf
    high: float = math.inf
    is_above: bool = False
    is_below: bool = False

    def __repr__(self) -> str:
        return f"<{self.words or 'finite'}>"

    def __contains__(self, value: float) -> bool:
        return self._is_over(value) and self._is_under(value) and -math.inf < value < math.inf

    def _is_over(self, value: float) -> bool:
        return value > self.low if self.is_above else value >= self.low

    def _is_under(self, value: float) -> bool:
        return value < self.high if self.is_below else value <= self.high

    @property
    def words(self) -> str:
        """The range as help shows it, such as `1 to 10,000` or `above 0`; empty where any finite number is taken."""
        low = "" if self.low == -math.inf else f"{'above' if self.is_above else 'at least'} {_long(self.low)}"
        high = "" if self.high == math.inf else f"{'below' if self.is_below else 'at most'} {_long(self.high)}"
        if low and high and not self.is_above and not self.is_below:
            return f"{_long(self.low)} to {_long(self.high)}"
        return ", ".join(filter(None, (low, high)))

    def check(self, name: str, value: float | None) -> None:
        """Refuse a number that is not in the range; None stands for a default and is taken.

        Raises:
            UsageError: With the name, what was expected, and the number.
        """
        if value is not None and value not in self:
            raise UsageError(f"{name} must {self._expected(value)}, got {shown(value)}")

    def _expected(self, value: float) -> str:
        least = f"be {'above' if self.is_above else 'at least'} {_text(self.low)}"
        most = f"{'below' if self.is_below else 'at most'} {_text(self.high)}"
        if self.high - self.low <= 1:  # short enough to be told whole
            is_plain = not (self.is_above or self.is_below)
            return f"lie between {_text(self.low)} and {_text(self.high)}" if is_plain else f"{least} and {most}"
        if value == value and not self._is_over(value) and self.low > -math.inf:
            return least
        if value == value and not self._is_under(value):
            return f"be {most}"
        return "be finite"


def _text(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _long(bound: float) -> str:
    """A bound in help: long numbers as powers, others with commas between their thousands."""
    if isinstance(bound, int) and abs(bound) >= _POWERS_FROM:
        for base in (10, 2):
            for offset, text in ((0, ""), (1, " - 1")):
                exponent = round(math.log(abs(bound) + offset, base))
                if base**exponent == abs(bound) + offset:
                    return f"{'-' if bound < 0 else ''}{base}^{exponent}{text}"
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


COUNT = Range(1, 10**12)
"""How many of something that takes no room, such as evaluations."""
EPOCHS = Range(1, 10_000)
"""Passes over data."""
SEED = Range(0, 2**63 - 1)
"""Seeds that every generator takes: numpy's, torch's, and C's 64 bits, with room for seeds beside them."""
WORD = Range(-(2**63), 2**63 - 1)
"""Whole numbers of 64 bits."""
SHARE = Range(0.0, 1.0)
"""Shares and probabilities."""

Count = Annotated[int, COUNT]
Epochs = Annotated[int, EPOCHS]
Seed = Annotated[int, SEED]
Share = Annotated[float, SHARE]
Finite = Annotated[float, Range()]


def check_words(name: str, value: Any) -> None:
    """Refuse a value that holds a whole number beyond 64 bits, in lists and mappings too.

    Raises:
        UsageError: As `Range.check`.
    """
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        for part in value:
            check_words(name, part)
    elif isinstance(value, int):
        WORD.check(name, value)


def shown(value: object) -> str:
    """A number in a message: a long one by its length, since nobody reads a line of thirty digits."""
    if isinstance(value, int) and abs(value) >= 10**_DIGITS:
        return f"a number of {int(math.log10(abs(value))) + 1} digits"
    return str(value)

"""Words that several messages share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def some(names: Sequence[str], *, at_most: int = 3, separator: str = ", ") -> str:
    """The first of some names and how many more there are: `a, b, c and 2 more`.

    Args:
        names: The names, in the order to show.
        at_most: How many are shown.
        separator: What stands between two.
    """
    shown = separator.join(names[:at_most])
    return f"{shown} and {len(names) - at_most} more" if len(names) > at_most else shown


def excerpt(value: Any, *, at_most: int = 60) -> str:
    """A value as Python writes it, in one line and cut where it is long; for messages on what was not expected."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a whole number of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= at_most else f"{text[: at_most - 3]}..."

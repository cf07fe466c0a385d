"""Words that several messages share."""

from __future__ import annotations

from collections.abc import Sequence


def some(names: Sequence[str], *, at_most: int = 3, separator: str = ", ") -> str:
    """The first of some names and how many more there are: `a, b, c and 2 more`.

    Args:
        names: The names, in the order to show.
        at_most: How many are shown.
        separator: What stands between two.
    """
    shown = separator.join(names[:at_most])
    return f"{shown} and {len(names) - at_most} more" if len(names) > at_most else shown

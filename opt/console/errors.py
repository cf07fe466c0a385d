"""The one error type for what a user can put right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """Something the user gave is wrong: one line that says what was expected, what came, what to do.

    The commands catch it once, print the line to stderr and exit with code 2.
    From Python it is an ordinary ValueError.
    """


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint `; did you mean 'x'?` with the nearest of `names`, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""

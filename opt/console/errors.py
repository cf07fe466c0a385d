"""The one error type for what a user can put right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T", bound=str)


class UsageError(ValueError):
    """Something the user gave is wrong: one line that says what was expected, what came, what to do.

    The commands catch it once, print the line to stderr and exit with code 2.
    From Python it is an ordinary ValueError.
    """


def check_choice(name: str, value: T, choices: Iterable[str], *, more: str = "") -> T:
    """The value itself, where it is one of the choices.

    Args:
        name: What is chosen, as a user knows it.
        value: What came.
        choices: What can be chosen, such as a dictionary by name.
        more: What else can be given, in words.

    Raises:
        UsageError: It is none of them; with all of them, and the nearest.
    """
    known = list(choices)
    if value not in known:
        raise UsageError(f"{name} must be one of {', '.join(known)}{more}, got {value!r:.300}{nearest(value, known)}")
    return value


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint `; did you mean 'x'?` with the nearest of `names`, or an empty string."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""

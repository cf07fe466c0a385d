"""The outcome of carrying out a planned run, as any process on any machine tells it."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Outcome(NamedTuple):
    """How carrying out a planned run ended.

    Args:
        name: The run's name.
        reason: Why it did not come to its end, in one line, or an empty string.
        kind: "ended", well or not; "not begun", since the study was to stop; or "in use", since another
            process works on its run directory, so that nothing is said about the run.
    """

    name: str
    reason: str = ""
    kind: Literal["ended", "not begun", "in use"] = "ended"

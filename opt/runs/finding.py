"""The finding of a check: a verdict on one file or fact of a run or study."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        verdict: "ok", "note" for what is no fault, or "wrong".
        subject: The file or fact that was checked.
        text: What was found.
    """

    verdict: str
    subject: str
    text: str


TOLERANCE = 1e-9
"""Relative difference up to which two numbers are taken as equal; history.csv holds ten digits."""

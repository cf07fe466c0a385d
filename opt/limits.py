"""Limits of time and memory: of one candidate's evaluation, and of a whole process."""

from __future__ import annotations

import contextlib
import re
import resource
import signal
import threading
from collections.abc import Iterator
from typing import Any

from opt.errors import UsageError

_LEAST_BYTES, _MOST_BYTES = 10**7, 10**18
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class EvaluationTimeoutError(Exception):
    """An evaluation took longer than it may."""


def in_main_thread() -> bool:
    """Whether this is its process's main thread, the only one that signals reach."""
    return threading.current_thread() is threading.main_thread()


def check_time_limit() -> None:
    """Refuse a limit of time where it could not be kept.

    Raises:
        UsageError: This is not the main thread.
    """
    if not in_main_thread():
        raise UsageError("a limit of evaluation time needs the search in its process's main thread; leave it out here")


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise EvaluationTimeoutError in the code inside once it has taken `seconds`; None sets no limit.

    For the main thread, the only one that signals reach; a call into compiled code is ended when it returns.
    """
    if seconds is None:
        yield
        return

    def strike(number: int, frame: Any) -> None:
        raise EvaluationTimeoutError(f"took longer than {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


def parse_bytes(text: str, flag: str) -> int:
    """Bytes from `500MB`, `2GB`, `1.5g` or a plain number; powers of 1000.

    Raises:
        UsageError: The text is none of these, or less than Python takes, or more than any machine has.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    if not found or float(found[1]) <= 0:
        raise UsageError(f"{flag} must be an amount of memory like 500MB or 2GB, got {text!r}")
    n_bytes = float(found[1]) * _UNITS[found[2]]
    if not _LEAST_BYTES <= n_bytes <= _MOST_BYTES:
        limits = f"between {_LEAST_BYTES // 10**6} MB, which Python itself takes, and {_MOST_BYTES // 10**12} TB"
        raise UsageError(f"{flag} must lie {limits}, got {text[:30]}")
    return round(n_bytes)


def limit_memory(n_bytes: int) -> None:
    """Let this process allocate at most `n_bytes`: beyond it an allocation fails, as MemoryError in Python.

    Counts data and anonymous memory (RLIMIT_DATA), which Linux enforces for every way of allocating.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ceiling = n_bytes if hard == resource.RLIM_INFINITY else min(n_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, hard))

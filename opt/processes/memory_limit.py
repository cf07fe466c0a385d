"""The limit of a whole process's memory; that of an evaluation's time is in `evaluation_process`."""

from __future__ import annotations

import re
import resource

from opt.console.errors import UsageError

_LEAST_BYTES, _MOST_BYTES = 10**7, 10**18
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


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

"""How much memory examples take, said or refused before they are read."""

from __future__ import annotations

import os

from opt.console.command import warn
from opt.console.errors import UsageError

LARGE_BYTES = 2**30
"""Beyond this the size is told before reading."""


def check_memory(n_bytes: int) -> None:
    """Refuse what does not fit this machine.

    Raises:
        UsageError: It takes more than the memory; with both sizes.
    """
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):  # not told by this system
        return
    # pages of the file cache are given back when they are wanted: what counts is most of the machine's memory
    if n_bytes > max(free, 0.7 * total):
        raise UsageError(
            f"the data set takes {n_bytes / 2**30:.1f} GiB and this machine has {total / 2**30:.1f}; "
            "read fewer examples"
        )


def say_memory(name: str, n_bytes: int) -> None:
    """Tell the size of what is read next, where it is large.

    Args:
        name: What is read.
        n_bytes: Its size in memory.

    Raises:
        UsageError: As `check_memory`.
    """
    check_memory(n_bytes)
    if n_bytes > LARGE_BYTES:
        warn(f"{name} takes {n_bytes / 2**30:.1f} GiB of memory")

"""Processes that this program starts: they end with the one that started them, and how they ended in words."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

WATCH_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1
_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with(parent: int, *, by_kernel: bool = False) -> None:
    """End this process by SIGKILL when the process that started it has ended, whatever of.

    A thread looks who the parent is: a process whose parent is gone gets another. It waits while a call into
    compiled code holds the interpreter. Linux can do the same without a thread and at once, but takes the
    end of the parent's *thread* that started this process for the parent's end.

    Args:
        parent: Id of the process that started this one, as it told itself: it may have ended meanwhile.
        by_kernel: Leave it to Linux where it is one. For a process whose starting thread waits for it.
    """
    is_watched = by_kernel and _LIBRARY is not None and _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0
    if os.getppid() != parent:
        _end()
    if not is_watched:
        threading.Thread(target=_watch, args=(parent,), name="parent watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    _end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def how_it_ended(code: int) -> str:
    """How a process ended, from its exit code; negative for a signal's number, as `subprocess` has it."""
    if code >= 0:
        return f"its process ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal has no name of its own
        name = f"signal {-code}"
    hint = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
    return f"its process was ended by {name}{hint}"

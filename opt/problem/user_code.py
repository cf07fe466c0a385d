"""Calling code that a user wrote: whatever it does to end this process becomes an ordinary exception."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from opt.processes.stop_signals import is_interruption

LONGEST_REASON = 1000
_ENDINGS = ("_exit", "abort", "execv", "execve")
"""Functions of `os` after which the process, or this program in it, is no more; exec...() call the last two."""


class EndAttemptedError(Exception):
    """A user's code raised SystemExit or the like, or called a function that ends the process."""


class _Guards(threading.local):
    """Of this thread: the ids of the processes in which it entered `guarded`, the innermost last."""

    def __init__(self) -> None:
        self.pids: list[int] = []


_guards = _Guards()


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Run a user's code: what would end this process raises EndAttemptedError in it.

    That is SystemExit, a KeyboardInterrupt that no signal caused, anything else that is no Exception, and
    calls of `os._exit` and its like. A signal's interruption passes. A process that the code forked
    and that comes back here is ended: it must not go on with our search beside us.

    Raises:
        EndAttemptedError: Its text is the reason, such as "SystemExit: 0".
    """
    install()
    pid = os.getpid()
    _guards.pids.append(pid)
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        if isinstance(error, Exception) or is_interruption(error):
            raise
        raise EndAttemptedError(reason_of(error)).with_traceback(error.__traceback__) from error
    finally:
        if os.getpid() != pid:
            _leave(failure)
        _guards.pids.pop()


def reason_of(error: BaseException) -> str:
    """An exception as a reason in words: its type and its text, in characters that any file can hold."""
    try:
        text = str(error)
    except Exception as failure:  # the text is a user's code as well
        text = f"(its text raises {type(failure).__name__})"
    if isinstance(error, EndAttemptedError):
        return text
    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    reason = reason.encode("utf-8", "backslashreplace").decode()
    return reason if len(reason) <= LONGEST_REASON else reason[:LONGEST_REASON] + " ..."


@functools.cache
def install() -> None:
    """Replace the functions of `os`, for good: a user's module may take them by name. Outside `guarded` they work."""
    for name in _ENDINGS:
        setattr(os, name, _refusing(name, getattr(os, name)))


def _refusing(name: str, end: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(end)
    def call(*arguments: Any, **named: Any) -> Any:
        # elsewhere, and in a process that the user's code forked, it does what it always does
        if _guards.pids and _guards.pids[-1] == os.getpid():
            values = ", ".join([*map(repr, arguments), *(f"{key}={value!r}" for key, value in named.items())])
            raise SystemExit(f"os.{name}({values})")
        return end(*arguments, **named)

    return call


def _leave(failure: BaseException | None) -> None:
    """End a forked process as Python ends one, without the clearing up that belongs to our process."""
    code = 0 if failure is None else 1
    if isinstance(failure, SystemExit):
        code = failure.code if isinstance(failure.code, int) else int(failure.code is not None)
    elif failure is not None:
        traceback.print_exception(failure)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    _guards.pids.clear()
    os._exit(code)

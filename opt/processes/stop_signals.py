"""SIGINT and SIGTERM: what they do while a search or a study runs."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class GivenUpError(KeyboardInterrupt):
    """A second signal: what is under way is given up.

    Told apart from the KeyboardInterrupt that a user's code may raise by itself.
    """


def in_main_thread() -> bool:
    """Whether this is its process's main thread, the only one that signals reach."""
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def on_stop_signals(handle: Callable[[str], None]) -> Iterator[None]:
    """Call `handle("stopped by SIGINT")` when this process gets SIGINT or SIGTERM; nothing outside the main thread.

    A process forked inside, as a user's `multiprocessing` does, is ended by them as if we were not there.
    """
    if not in_main_thread():
        yield
        return
    owner = os.getpid()

    def strike(number: Any, frame: Any) -> None:
        if os.getpid() == owner:
            handle(f"stopped by {signal.Signals(number).name}")
            return
        signal.signal(number, previous[number])
        os.kill(os.getpid(), number)

    # None: a handler that was not set from Python
    previous: dict[int, Any] = {number: signal.getsignal(number) or signal.SIG_DFL for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        signal.signal(number, strike)
    try:
        yield
    finally:
        for stop_signal, handler in previous.items():
            signal.signal(stop_signal, handler)


def is_interruption(error: BaseException) -> bool:
    """Whether an exception comes from a signal to this process, and not from the code that raised it.

    Under Python's own handler of SIGINT the two cannot be told apart: then a KeyboardInterrupt counts as a signal's.
    """
    if isinstance(error, GivenUpError):
        return True
    is_python_s = in_main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, KeyboardInterrupt) and is_python_s

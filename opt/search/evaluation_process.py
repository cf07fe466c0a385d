"""Work under a limit of time, in a process of its own: forked for it, and ended when its time is up.

The fork has everything that this process has, so nothing is pickled on the way in; on the way out come
bytes. What the work changes in memory is lost with its process.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import struct
import sys
import time
import warnings
from collections.abc import Callable
from typing import NoReturn, TextIO

from threadpoolctl import ThreadpoolController

from opt.console.errors import UsageError
from opt.problem.user_code import guarded, reason_of
from opt.processes.child_process import end_with, how_it_ended
from opt.processes.stop_signals import STOP_SIGNALS, in_main_thread, on_stop_signals

POLL_SECONDS = 0.1
CLOSED_SECONDS = 0.002
_HEADER = struct.Struct("<?Q")
_OMP_PAUSE_HARD = 2


class EvaluationTimeoutError(Exception):
    """An evaluation took longer than it may."""


class NoProcessError(Exception):
    """The system starts no further process; the text says why."""


class ApartError(Exception):
    """Work in a process of its own failed there; the text is the reason, the exception's type included."""


def check_apart() -> None:
    """Refuse a limit of evaluation time where processes cannot be forked safely.

    Raises:
        UsageError: No fork on this system, not the main thread, or CUDA is in use.
    """
    if not hasattr(os, "fork"):
        raise UsageError("--eval-time needs a system that can fork processes, such as Linux; leave it out here")
    if not in_main_thread():
        raise UsageError("a limit of evaluation time needs the search in its process's main thread; leave it out here")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise UsageError("--eval-time evaluates in forked processes, in which CUDA does not work; use the CPU for it")


def run_apart(work: Callable[[], bytes], *, seconds: float) -> bytes:
    """What `work` returns, done in a process of its own.

    The process ends with this one. Its own children that stay in its process group end with it. Signals that stop
    a search do not reach the work: this process decides what they mean.

    Args:
        work: Called in the fork.
        seconds: Most wall-clock seconds; then the process is killed, whatever it is doing.

    Raises:
        EvaluationTimeoutError: The time was up.
        ApartError: The work raised, or its process died.
        NoProcessError: No process could be started.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # else the fork would write it once more
    _rest_openmp(len(sys.modules))
    reading, writing = _pipe()
    parent = os.getpid()
    # until the fork is in `child`, no handler may raise: nobody would end it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    child: _Child | None = None
    try:
        pid = _fork()
        if pid == 0:
            _work_and_exit(work, writing, parent, mask)
        child = _Child(pid)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(writing)
        writing = -1
        answer = _read(reading, child, time.monotonic() + seconds)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if child is not None:
            child.end()
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    if answer is None:
        if child.was_late:
            raise EvaluationTimeoutError(f"took longer than {seconds:g} s")
        raise ApartError("its process is gone" if child.code is None else how_it_ended(child.code))
    is_value, payload = answer
    if not is_value:
        raise ApartError(payload.decode())
    return payload


class _Child:
    """A forked process, the first of its group.

    Attributes:
        code: Its exit code once it has ended; None before, and when somebody else has asked for it.
        was_late: Whether it was at work when its time was up.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        self.was_late = False
        self._is_over = False
        with contextlib.suppress(OSError):  # it does so itself as well: whoever is first
            os.setpgid(pid, pid)

    def is_over(self, *, wait: bool = False) -> bool:
        """Whether it has ended."""
        if not self._is_over:
            try:
                pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
            except ChildProcessError:  # another part of the program waits for every child
                self._is_over = True
            else:
                if pid:
                    self._is_over, self.code = True, os.waitstatus_to_exitcode(status)
        return self._is_over

    def end(self) -> None:
        """Kill it and what it started, and wait for it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.is_over(wait=True)


def _pipe() -> tuple[int, int]:
    try:
        return os.pipe()
    except OSError as error:
        raise NoProcessError(error.strerror) from None


def _fork() -> int:
    try:
        with warnings.catch_warnings():
            # Python warns of threads at a fork, those of linear algebra too, which _rest_openmp has seen to
            warnings.simplefilter("ignore", DeprecationWarning)
            return os.fork()
    except OSError as error:
        raise NoProcessError(error.strerror) from None


def _read(reading: int, child: _Child, deadline: float) -> tuple[bool, bytes] | None:
    """The child's whole message; None when its time is up or it ended without one."""
    data = bytearray()
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    os.set_blocking(reading, False)
    is_open = True
    while True:
        left = deadline - time.monotonic()
        # whoever else holds the pipe, as a process that the work started, keeps it open after the child's end
        was_over = child.is_over()
        if is_open and poll.poll(0 if was_over else min(max(left, 0.0), POLL_SECONDS) * 1000):
            with contextlib.suppress(BlockingIOError):
                part = os.read(reading, 1 << 20)
                is_open = bool(part)
                data += part
            if len(data) >= _HEADER.size:
                is_value, n = _HEADER.unpack_from(data)
                if len(data) == _HEADER.size + n:
                    return is_value, bytes(data[_HEADER.size :])
            if is_open and left > 0:
                continue
        if was_over:
            return None
        if left <= 0:
            child.was_late = True
            return None
        if not is_open:
            time.sleep(min(left, CLOSED_SECONDS))


def _work_and_exit(work: Callable[[], bytes], writing: int, parent: int, mask: set[int | signal.Signals]) -> NoReturn:
    """The forked process from its first line to its last."""
    code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        end_with(parent, by_kernel=True)
        # streams of its own: the parent's may be a display's, whose lock another thread held at the fork
        sys.stdout, sys.stderr = _plain_stream(1, sys.stdout), _plain_stream(2, sys.stderr)
        with on_stop_signals(lambda reason: None):
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            try:
                with guarded():
                    answer, is_value = work(), True
            except Exception as error:  # a user's code may raise anything: the reason is passed on
                answer, is_value = reason_of(error).encode(), False
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            message = memoryview(_HEADER.pack(is_value, len(answer)) + answer)
            while message:
                message = message[os.write(writing, message) :]
        code = 0
    finally:
        # whatever happened, this process never goes on with the search
        os._exit(code)


def _plain_stream(descriptor: int, otherwise: TextIO) -> TextIO:
    try:
        return open(descriptor, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    except OSError:  # closed
        return otherwise


@functools.lru_cache(maxsize=1)
def _openmp_libraries(n_modules: int) -> tuple[Callable[[int], int], ...]:
    """`omp_pause_resource_all` of every OpenMP library in this process; looked up anew once more modules are loaded."""
    libraries = ThreadpoolController().select(internal_api="openmp").lib_controllers
    functions = (getattr(library.dynlib, "omp_pause_resource_all", None) for library in libraries)
    return tuple(function for function in functions if function is not None)


def _rest_openmp(n_modules: int) -> None:
    """Have OpenMP end its waiting threads: a fork has none of them, and would wait for them for ever."""
    for pause in _openmp_libraries(n_modules):
        pause(_OMP_PAUSE_HARD)

"""File locks (flock): files that one process at a time writes to, with a note of who does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opt.console.errors import UsageError

WAIT_SECONDS = 5.0
"""So long a lock is waited for: the workers of a command that was killed hold theirs for a moment more."""
_POLL_SECONDS = 0.05


class InUseError(UsageError):
    """Another process holds the lock."""


class LockedFile:
    """A file open for appending that no second process has open so.

    The lock is the system's (flock): it ends with this process, whatever of, and with its file's closing.

    Args:
        path: The file; made when it does not exist.
        noted: What the holder is known to have noted of itself, as `this_process` gives it.
        folder: What is in use, for messages; None takes the file's folder.

    Raises:
        InUseError: Another process holds it, and still does after `WAIT_SECONDS`.
        UsageError: The file system has no locks.
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, *, noted: Mapping[str, Any] | None = None, folder: Path | None = None) -> None:
        # unbuffered: a fork that closes its copy has nothing to write
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - open as long as its owner
        try:
            _lock(self._file.fileno(), fcntl.LOCK_EX, folder or path.parent, noted)
        except UsageError:
            self._file.close()
            raise
        _open_files.add(self)

    @property
    def is_closed(self) -> bool:
        """Whether the lock is given back."""
        return self._file.closed

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]

    def cut(self, n_bytes: int) -> None:
        """Keep the first `n_bytes` only."""
        self._file.truncate(n_bytes)

    def sync(self) -> None:
        """Bring everything to the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Give the lock back."""
        self._file.close()


_open_files: weakref.WeakSet[LockedFile] = weakref.WeakSet()


def _close_copies() -> None:
    """In a fork: a copy of the file would hold the lock for as long as the fork lives."""
    for file in list(_open_files):
        file.close()


os.register_at_fork(after_in_child=_close_copies)


def wait_until_free(path: Path, *, noted: Mapping[str, Any] | None = None) -> None:
    """Wait a little until nobody holds a file.

    Args:
        path: The file; one that cannot be opened is nobody's.
        noted: As `LockedFile` takes it.

    Raises:
        InUseError: Another process holds it, and still does after `WAIT_SECONDS`.
    """
    with contextlib.suppress(OSError), open(path, "rb") as file:
        _lock(file.fileno(), fcntl.LOCK_SH, path.parent, noted)


def this_process() -> dict[str, Any]:
    """What a process notes of itself beside what it locks: `pid`, `host` and `since`."""
    return {"pid": os.getpid(), "host": os.uname().nodename, "since": datetime.now(UTC).isoformat(timespec="seconds")}


def _lock(descriptor: int, kind: int, folder: Path, noted: Mapping[str, Any] | None) -> None:
    # asked again and again: a wait within flock itself could not be limited
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise InUseError(f"{folder} is in use by {_holder(noted)}; wait for it or stop it first") from None
            time.sleep(_POLL_SECONDS)
        except OSError as error:
            reason = f"{folder} cannot be locked against other processes ({error.strerror})"
            raise UsageError(f"{reason}; give another --out, on a file system with locks") from None


def _holder(noted: Mapping[str, Any] | None) -> str:
    """Who holds a lock, as far as is known: the note is of whoever took it last and told."""
    pid, host, since = map((noted if isinstance(noted, Mapping) else {}).get, ("pid", "host", "since"))
    if not isinstance(pid, int) or pid <= 0 or not isinstance(host, str) or not isinstance(since, str):
        return "another process"
    if host == os.uname().nodename and _is_gone(pid):
        return f"another process (the last that noted itself, {pid} on {host} at {since}, is no longer seen)"
    return f"another process (by its own note {pid} on {host} since {since})"


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's
        return False
    return False

"""Safe reading of files that may be anything: a pipe that never ends, a folder, or far too long."""

from __future__ import annotations

import contextlib
import errno
import json
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 256 * 1024 * 1024
"""A manifest, a study or a table is never longer."""


def read_bytes(path: Path, *, at_most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file.

    Args:
        path: The file; links are followed.
        at_most: Its most bytes.

    Raises:
        OSError: There is none, it cannot be read, it is a folder, a pipe or a device, or it is longer. Each has a
            `strerror` in words.
    """
    check_regular(path)
    with open(path, "rb") as file:
        data = file.read(at_most + 1)
    if len(data) > at_most:
        raise OSError(errno.EFBIG, f"longer than {at_most} bytes", str(path))
    return data


def check_regular(path: Path) -> None:
    """Refuse what is no regular file before it is opened: the other end of a pipe may never come.

    Raises:
        OSError: As `read_bytes`.
    """
    try:
        mode = path.stat().st_mode
    except ValueError:  # a NUL, which no system takes in a name
        raise OSError(errno.EINVAL, "its name holds a NUL", str(path)) from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is a pipe or a device, not a file", str(path))


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: As `read_bytes`.
        ValueError: It is not UTF-8, not JSON, or nested deeper than Python reads.
    """
    text = read_bytes(path).decode("utf-8")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def is_file(path: Path) -> bool:
    """Whether there is a file; a path that the system refuses, as one too long, is none."""
    with contextlib.suppress(OSError):
        return path.is_file()
    return False


def is_folder(path: Path) -> bool:
    """Whether there is a folder; a path that the system refuses is none."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def resolved(path: Path) -> Path:
    """The path with its links followed; as it is where they lead in a loop."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()

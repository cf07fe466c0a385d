"""Atomic writing of whole files: to a temporary name beside the target, then renamed onto it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_TEMPORARY = re.compile(r"\.(?P<name>.*\.[A-Za-z0-9]+)\.(?P<pid>\d{1,10})")
"""A temporary file's name: the target's between a dot and the number of the process that writes it."""


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by a file that holds `data`; a reader sees the old file or the new one, never half.

    Raises:
        OSError: It cannot be written, or a folder with something in it stands in its place.
    """
    if path.name in ("", ".."):  # the present folder, the root, the folder above
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.is_dir():
        try:
            path.rmdir()
        except OSError:
            raise OSError(errno.EISDIR, f"{path.name} is a folder with something in it; move it away") from None
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def stray_files(folders: Iterable[Path]) -> Iterator[Path]:
    """Temporary files that processes left in these folders which died while they wrote; nothing below the folders."""
    for folder in folders:
        with contextlib.suppress(OSError):
            for path in sorted(folder.iterdir()):
                match = _TEMPORARY.fullmatch(path.name)
                if match and path.is_file() and not is_alive(int(match["pid"])):
                    yield path


def remove_stray_files(folders: Iterable[Path]) -> None:
    """Remove them; one that cannot be removed stays, for it does no harm."""
    for path in stray_files(folders):
        with contextlib.suppress(OSError):
            path.unlink()


def is_alive(pid: int) -> bool:
    """Whether a process of that number is on this machine; so is one of another user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except PermissionError:
        return True
    return True

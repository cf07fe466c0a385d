"""Atomic creation of a folder: it has its first files from the moment it has its name, whoever is killed meanwhile."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from opt.console.errors import UsageError
from opt.files.atomic import is_alive

ABANDONED_SECONDS = 60.0
"""A folder that waits for its name longer than this, and whose process is not here, has none elsewhere either."""
_NUMBERS = itertools.count()
_WAITING = re.compile(r"\.new-\d+\.(?P<pid>\d{1,10})")


def new_folder(parent: Path, names: Iterable[str], fill: Callable[[Path], None]) -> Path | None:
    """A folder in `parent` under the first of the names that is free.

    Args:
        parent: An existing folder.
        names: Names for it; one is free that nothing has, or an empty folder.
        fill: Called with the folder before it has its name, to write the first files.

    Returns:
        Its path; None where no name is free.

    Raises:
        OSError: It cannot be made or filled.
    """
    waiting = parent / f".new-{next(_NUMBERS)}.{os.getpid()}"
    waiting.mkdir()
    try:
        fill(waiting)
        for name in names:
            try:
                # a rename takes the name only where it is free or an empty folder's: two processes never share one
                return waiting.rename(parent / name)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
        return None
    finally:
        shutil.rmtree(waiting, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders in `parent` that still wait for their name and whose process died."""
    for path in parent.glob(".new-*"):
        match = _WAITING.fullmatch(path.name)
        if match is None or is_alive(int(match["pid"])):
            continue
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(path)


def check_folder(out: Path) -> None:
    """Check that runs can be made in a folder, before a problem is built that may take long to build.

    Raises:
        UsageError: The folder cannot be made, or nothing can be written in it.
    """
    try:
        nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        reason = "" if os.access(nearest, os.W_OK | os.X_OK) else "permission denied"
        if not nearest.is_dir():
            reason = f"{nearest} is a file"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise UsageError(f"cannot write a run under {out}: {reason}; give another --out")

"""Digests (checksums) of the files of a run, by their paths in it."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

from opt.files.digest import new_hash

FILES = ("journal.jsonl", "history.csv", "trace.csv", "front.csv", "references.csv")
SOLUTIONS, PLOTS, START = "solutions", "plots", "start"


def digests(path: Path) -> dict[str, str]:
    """Digests of the files of the run in the folder `path`, by their paths in it; pictures are not among them.

    A picture may be drawn anew at any time, and has checks of its own: see `opt.runs.damage.is_whole_picture`.

    Raises:
        OSError: One cannot be read.
    """
    names = [name for name in FILES if (path / name).is_file()]
    names += [f"{SOLUTIONS}/{name}" for name in entries(path / SOLUTIONS)]
    names += [file.relative_to(path).as_posix() for file in sorted((path / START).rglob("*")) if file.is_file()]
    return {name: digest_of(path / name) for name in names}


def digest_of(path: Path) -> str:
    """A file's digest, read piece by piece: a solution may be larger than memory should hold."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EISDIR, "it is no file", str(path))
    with open(path, "rb") as file:
        return hashlib.file_digest(file, new_hash).hexdigest()


def entries(folder: Path) -> list[str]:
    """Names in a folder, temporary files apart; none where there is no such folder."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []

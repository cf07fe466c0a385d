"""The folder of what is fetched or computed once: where it is, what lies there, how it is emptied."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from opt.console.errors import UsageError, nearest

DOWNLOADS = "datasets"
"""Kind of what was fetched, which is kept unless it is named."""


def cache_folder() -> Path:
    """Folder for what we fetch or compute once: `$OPT_CACHE_DIR`, else `~/.cache/opt-compress`."""
    given = os.environ.get("OPT_CACHE_DIR")
    if given:
        return in_home(given)
    return in_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "opt-compress"


def in_home(path: str | os.PathLike[str]) -> Path:
    """The path with `~` or `~user` at its begin put in.

    Raises:
        UsageError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(f"{path} begins with the folder of a user who is unknown here; give the whole path") from None


@dataclass(frozen=True)
class KindOfThing:
    """What is kept of one kind.

    Attributes:
        name: Of the kind, and of its folder.
        n_files: How many files.
        size_bytes: Of all of them.
        oldest: When the first of them was written, in seconds since 1970.
        newest: Likewise the last.
    """

    name: str
    n_files: int
    size_bytes: int
    oldest: float
    newest: float


def kinds_of_things() -> list[KindOfThing]:
    """Every kind that has files in the cache folder, by name."""
    return [kind for folder in _folders() if (kind := _kind(folder)) is not None]


def clear(kinds: Sequence[str] = ()) -> int:
    """Delete what is kept of the named kinds; without names everything that was computed, and no download.

    Returns:
        Bytes that were freed.

    Raises:
        UsageError: There is no such kind, or a file cannot be deleted.
    """
    folders = {folder.name: folder for folder in _folders()}
    for name in kinds:
        if name not in folders:
            there = ", ".join(folders) or "nothing"
            raise UsageError(f"nothing of the kind {name!r} is kept{nearest(name, folders)}; there is {there}")
    chosen = [folders[name] for name in kinds or (name for name in folders if name != DOWNLOADS)]
    freed = 0
    for path in (path for folder in chosen for path in _files(folder)):
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:  # another process was faster
            continue
        except OSError as error:
            raise UsageError(f"{path} cannot be deleted: {error.strerror}") from None
        freed += size
    return freed


def _folders() -> list[Path]:
    try:
        return sorted(path for path in cache_folder().iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:  # there is none yet
        return []


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        yield from (Path(root) / name for name in sorted(names))


def _kind(folder: Path) -> KindOfThing | None:
    states = []
    for path in _files(folder):
        try:
            states.append(path.lstat())
        except OSError:  # deleted a moment ago
            continue
    if not states:
        return None
    times = [state.st_mtime for state in states]
    return KindOfThing(folder.name, len(states), sum(state.st_size for state in states), min(times), max(times))

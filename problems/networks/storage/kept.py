"""A cache on disk: what a training or a computation made, in a file named after everything that made it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from opt.console.command import warn
from opt.console.errors import UsageError
from opt.files.cache_folder import cache_folder, in_home
from problems.networks.storage.checkpoints import write_whole

T = TypeVar("T")

_LONGEST_NAME = 50
"""Letters of a name that a user gave, in a file's name: a file system ends that at 255 bytes."""


@dataclass(frozen=True)
class Kept(Generic[T]):
    """What was read from the cache, or made.

    Attributes:
        value: The thing itself.
        path: Its file; None where the file could not be written.
        is_read: Whether it was in the cache; else it was made.
    """

    value: T
    path: Path | None
    is_read: bool


def cache_key(made_by: Mapping[str, object], *, length: int = 20) -> str:
    """Hexadecimal digest of everything that makes a thing.

    Args:
        made_by: Plain values by name; a `version` among them is raised when the code makes something else of the rest.
        length: Letters of the digest, at most 64.
    """
    return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:length]


def cache_file(kind: str, key: str, *, name: str | None = None, folder: str | os.PathLike[str] | None = None) -> Path:
    """Path of a kept file.

    Args:
        kind: Of thing, which has its own folder in the cache folder (`$OPT_CACHE_DIR`, else ~/.cache/opt-compress).
        key: Of everything that makes it.
        name: For a reader of the folder, put before the key; may be a path, of which the last part counts.
        folder: Another folder than the kind's.
    """
    place = cache_folder() / kind if folder is None else in_home(folder)
    return place / f"{key if name is None else f'{Path(name).name[:_LONGEST_NAME]}-{key}'}.safetensors"


def kept(path: Path, make: Callable[[], T], *, read: Callable[[Path], T], encode: Callable[[T], bytes]) -> Kept[T]:
    """The thing of a file, or made and kept there.

    A file that is damaged or another thing's is said on stderr and made anew. A folder that cannot be written costs no
    more than making the thing again the next time.

    Args:
        path: The file, as `cache_file` names it.
        make: Makes the thing.
        read: Reads it from the file; raises UsageError where the file does not hold what its name says.
        encode: The thing as bytes of the file, which is written whole or not at all.
    """
    if path.is_file():
        try:
            return Kept(read(path), path, is_read=True)
        except UsageError as error:
            warn(f"made anew, because {error}")
    value = make()
    try:
        write_whole(path, encode(value))
    except UsageError:
        return Kept(value, None, is_read=False)
    return Kept(value, path, is_read=False)

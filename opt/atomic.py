"""Writing whole files: to a temporary name beside the target, then renamed onto it."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by a file that holds `data`; a reader sees the old file or the new one, never half."""
    if path.name in ("", ".."):  # the present folder, the root, the folder above
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

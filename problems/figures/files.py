"""Figures and tables written into a folder, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from opt.console.errors import UsageError
from opt.files import atomic


def write_files(out: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder, which is made where there is none; the files written.

    Raises:
        UsageError: The folder cannot be written.
    """
    for name, data in files.items():
        try:
            out.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(out / name, data)
        except OSError as error:
            raise UsageError(f"cannot write {out / name}: {error.strerror}; give another --out DIR") from None
    return [out / name for name in files]

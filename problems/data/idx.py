"""The IDX file format of MNIST and its relatives, plain or gzipped."""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from opt.console.errors import UsageError
from opt.files.plain_file import check_regular

# Third byte of the magic number; all types are big-endian.
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_MOST_DIMS = 8
"""Images have three or four; NumPy ends at 64."""
_MOST_RATIO = 200
"""A gzipped file unpacks to no more than so many times its size: images come to 10, and what is more is a bomb."""
_ALWAYS_BYTES = 64 * 1024 * 1024
"""Up to here any ratio is taken: labels in order, or black images, are nothing when packed."""


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one IDX file; of a gzipped one no more is unpacked than its header promises.

    Args:
        path: File, gzipped or not; its content decides, not its name.

    Returns:
        Array of the file's shape and type, in native byte order, writable.

    Raises:
        UsageError: the file can't be read, is not IDX, is longer or shorter than its header says, or promises more
            than a file of its size holds.

    Source: http://yann.lecun.com/exdb/mnist, "The IDX file format".
    """
    path = Path(path)
    try:
        check_regular(path)
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            is_packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if is_packed:
                with gzip.GzipFile(fileobj=raw) as file:
                    return _array(path, file, max(_ALWAYS_BYTES, _MOST_RATIO * size))
            return _array(path, raw, size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path} is a damaged gzip file ({error}); replace the file with a fresh copy.") from error
    except MemoryError:
        raise UsageError(f"{path} does not fit into memory; give a smaller data set.") from None
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror or error}; check the path and its permissions."
        ) from error


def _array(path: Path, file: IO[bytes] | gzip.GzipFile, most: int) -> np.ndarray:
    """The array in an open file, of which at most `most` bytes are to be read."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise UsageError(
            f"{path} is not an IDX file: expected a magic number 00 00 08..0E, got {magic.hex(' ') or 'nothing'}; "
            "replace the file with a fresh copy."
        )
    n_dims = magic[3]
    sizes = file.read(4 * n_dims)
    shape = tuple(int(d) for d in np.frombuffer(sizes[: len(sizes) // 4 * 4], dtype=">u4"))
    dtype = np.dtype(_TYPES[magic[2]])
    # Python integers: a corrupt header must not overflow into a size that fits.
    expected = 4 + 4 * n_dims + math.prod(shape) * dtype.itemsize
    if len(shape) != n_dims or not 1 <= n_dims <= _MOST_DIMS:
        raise UsageError(
            f"{path} is truncated or damaged: its header promises {n_dims} dimensions and holds {len(shape)}, expected "
            f"1 to {_MOST_DIMS}; replace the file with a fresh copy."
        )
    promised = f"its header promises shape {shape}, {expected} bytes"
    if expected > most:
        raise UsageError(
            f"{path} is truncated or damaged: {promised}, and a file of its size holds at most {most}; "
            "replace the file with a fresh copy."
        )
    data = _read_whole(file, expected - 4 - 4 * n_dims)
    n_read = 4 + len(sizes) + len(data)
    if n_read < expected or file.read(1):
        holds = f"it holds {n_read}" if n_read < expected else "it holds more"
        raise UsageError(f"{path} is truncated or damaged: {promised}, {holds}; replace the file with a fresh copy.")
    try:
        return np.frombuffer(data, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as error:  # no values along one axis and too many along another
        raise UsageError(f"{path} is damaged: {promised} ({error}); replace the file with a fresh copy.") from None


def _read_whole(file: IO[bytes] | gzip.GzipFile, n: int) -> bytes:
    """The next n bytes, or as many as there are; taken piece by piece, so that a lie costs no memory."""
    pieces = io.BytesIO()
    while n > 0 and (piece := file.read(min(n, 1 << 20))):
        pieces.write(piece)
        n -= len(piece)
    return pieces.getvalue()

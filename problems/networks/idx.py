"""The IDX file format of MNIST and its relatives, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from opt.errors import UsageError

# Third byte of the magic number; all types are big-endian.
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one IDX file.

    Args:
        path: File, gzipped or not; its content decides, not its name.

    Returns:
        Array of the file's shape and type, in native byte order, writable.

    Raises:
        UsageError: the file can't be read, is not IDX, or is longer or shorter than its header says.

    Source: http://yann.lecun.com/exdb/mnist, "The IDX file format".
    """
    path = Path(path)
    data = _read(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES:
        raise UsageError(
            f"{path} is not an IDX file: expected a magic number 00 00 08..0E, got {data[:4].hex(' ') or 'nothing'}; "
            "replace the file with a fresh copy."
        )
    n_dims = data[3]
    header = 4 + 4 * n_dims
    shape = tuple(int(d) for d in np.frombuffer(data[4:header], dtype=">u4")) if len(data) >= header else ()
    dtype = np.dtype(_TYPES[data[2]])
    # Python integers: a corrupt header must not overflow into a size that fits.
    expected = header + math.prod(shape) * dtype.itemsize
    if n_dims == 0 or len(shape) != n_dims or len(data) != expected:
        raise UsageError(
            f"{path} is truncated or damaged: its header promises shape {shape}, {expected} bytes, "
            f"it holds {len(data)}; replace the file with a fresh copy."
        )
    return np.frombuffer(data, dtype=dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == _GZIP_MAGIC else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path} is a damaged gzip file ({error}); replace the file with a fresh copy.") from error
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror or error}; check the path and its permissions."
        ) from error

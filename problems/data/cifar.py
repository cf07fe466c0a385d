"""The binary version of CIFAR-10: records of one label byte and 3 x 32 x 32 pixel bytes."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np

from opt.console.errors import UsageError
from opt.files.plain_file import check_regular

SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32
TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILES = ("test_batch.bin",)
MOST_BYTES = 60_000 * RECORD_BYTES
"""Of one file: the whole data set has so many images."""
_MOST_ARCHIVE_BYTES = 2 * MOST_BYTES
FOLDER = "cifar-10-batches-bin"


def read_cifar_batch(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read one binary batch file.

    Args:
        path: E.g. `data_batch_1.bin`; any number of records.

    Returns:
        Images (n, 3, 32, 32) uint8, colour channels first, and labels (n,) int64 in 0..9.

    Raises:
        UsageError: the file can't be read, ends within a record, or holds a label above 9.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
    """
    path = Path(path)
    try:
        check_regular(path)
        size = path.stat().st_size
        if size == 0 or size % RECORD_BYTES or size > MOST_BYTES:  # told before it is read
            raise UsageError(
                f"{path} is truncated or no CIFAR-10 batch: expected a multiple of {RECORD_BYTES} bytes and at most "
                f"{MOST_BYTES}, got {size}; replace the file with a fresh copy."
            )
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror or error}; check the path and its permissions."
        ) from error
    records = data.reshape(-1, RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise UsageError(
            f"{path} is damaged or no CIFAR-10 batch: expected labels 0 to 9, got {labels.max()}; "
            "replace the file with a fresh copy."
        )
    return records[:, 1:].reshape(-1, *SHAPE).copy(), labels


def extract_cifar(archive: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Unpack the six batch files of `cifar-10-binary.tar.gz` into `folder`; nothing else in it is touched.

    Raises:
        UsageError: the archive is damaged, lacks a batch file, or promises more than the data set is.
    """
    archive, folder = Path(archive), Path(folder)
    try:
        check_regular(archive)
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(_unpacked(archive)), mode="r:") as tar:
            for member in _batches(tar):
                file = tar.extractfile(member)
                if file is None:
                    raise KeyError(member.name)
                name = Path(member.name).name
                partial = folder / f"{name}.{os.getpid()}.partial"
                partial.write_bytes(file.read())
                partial.replace(folder / name)
    except (tarfile.TarError, KeyError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{archive} is damaged ({error}); remove it, or replace it with a fresh copy.") from error
    except OSError as error:
        raise UsageError(f"cannot unpack {archive} into {folder}: {error.strerror or error}.") from error


def _unpacked(archive: Path) -> bytes:
    """The bytes of a gzipped file, or of one that is not.

    Raises:
        tarfile.TarError: They are more than the data set is.
    """
    with open(archive, "rb") as raw:
        is_packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.GzipFile(fileobj=raw) if is_packed else raw
        data = file.read(_MOST_ARCHIVE_BYTES + 1)
    if len(data) > _MOST_ARCHIVE_BYTES:
        raise tarfile.ReadError(f"it unpacks to more than {_MOST_ARCHIVE_BYTES} bytes")
    return data


def _batches(tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """The six batch files in an archive.

    Raises:
        KeyError: One is missing or no plain file.
        tarfile.TarError: The archive promises more than the data set is.
    """
    wanted = {f"{FOLDER}/{name}": name for name in (*TRAIN_FILES, *TEST_FILES)}
    batches: dict[str, tarfile.TarInfo] = {}
    n_bytes = 0
    for member in tar:
        n_bytes += member.size
        if n_bytes > _MOST_ARCHIVE_BYTES:
            raise tarfile.ReadError(f"it promises more than {_MOST_ARCHIVE_BYTES} bytes")
        if member.name in wanted and member.isfile():
            batches[member.name] = member
    return [batches[name] for name in wanted]

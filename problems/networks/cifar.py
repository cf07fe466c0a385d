"""The binary version of CIFAR-10: records of one label byte and 3 x 32 x 32 pixel bytes."""

from __future__ import annotations

import os
import tarfile
import zlib
from pathlib import Path

import numpy as np

from opt.errors import UsageError

SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32
TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILES = ("test_batch.bin",)
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
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror or error}; check the path and its permissions."
        ) from error
    if len(data) == 0 or len(data) % RECORD_BYTES:
        raise UsageError(
            f"{path} is truncated or no CIFAR-10 batch: expected a multiple of {RECORD_BYTES} bytes, got {len(data)}; "
            "replace the file with a fresh copy."
        )
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
        UsageError: the archive is damaged or lacks a batch file.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            for name in (*TRAIN_FILES, *TEST_FILES):
                member = tar.extractfile(f"{FOLDER}/{name}")
                if member is None:
                    raise KeyError(name)
                partial = folder / f"{name}.{os.getpid()}.partial"
                partial.write_bytes(member.read())
                partial.replace(folder / name)
    except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise UsageError(f"{archive} is damaged ({error}); remove it, or replace it with a fresh copy.") from error

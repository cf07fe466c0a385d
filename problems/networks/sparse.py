"""Sparse tensors as bytes: one bit a weight that says whether it remains, and the values of those that do."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from opt.errors import UsageError

_MASK, _VALUES, _SHAPE = ".sparse_mask", ".sparse_values", ".sparse_shape"


def sparse_bytes(n_weights: int, n_kept: int, *, bit_width: int = 32) -> int:
    """Bytes of the encoding of a tensor: a bit for every weight and `bit_width` bits for each that is kept.

    A tensor so dense that this is no gain is stored plainly, and counted so.

    Args:
        n_weights: Weights of the tensor.
        n_kept: Weights whose values are stored.
        bit_width: Bits a value.
    """
    plain = math.ceil(n_weights * bit_width / 8)
    return min(plain, math.ceil(n_weights / 8) + math.ceil(n_kept * bit_width / 8))


def encode(array: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A tensor as its packed mask, (ceil(size / 8),) uint8, and the values under it, (n_kept,), in C order."""
    return np.packbits(mask.reshape(-1)), np.ascontiguousarray(array[mask])


def decode(packed: np.ndarray, values: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The tensor with zeros where nothing is stored, and its bool mask; the inverse of `encode`.

    Raises:
        ValueError: mask and values do not belong together.
    """
    size = math.prod(shape)
    if len(packed) != math.ceil(size / 8):
        raise ValueError(f"a mask of {size} weights takes {math.ceil(size / 8)} bytes, got {len(packed)}.")
    mask = np.unpackbits(packed, count=size).astype(bool).reshape(shape)
    if np.count_nonzero(mask) != len(values):
        raise ValueError(f"the mask keeps {np.count_nonzero(mask)} weights and {len(values)} values are stored.")
    array = np.zeros(shape, dtype=values.dtype)
    array[mask] = values
    return array, mask


def save_sparse(
    path: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    *,
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Write a pruned network as safetensors: masked tensors encoded, the rest as they are.

    Args:
        path: File to write, whole or not at all; its folder is made.
        tensors: Weights and biases by name.
        masks: Bool masks of some of them, True where a weight stays; the other weights are taken as zero.
        metadata: Text kept with them.

    Returns:
        Bytes of the file.

    Raises:
        UsageError: the file can't be written.
    """
    path = Path(path)
    stored: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        if name not in masks or sparse_bytes(array.size, int(masks[name].sum()), bit_width=8 * array.itemsize) >= (
            array.nbytes
        ):
            stored[name] = np.ascontiguousarray(array if name not in masks else np.where(masks[name], array, 0))
            continue
        stored[name + _MASK], stored[name + _VALUES] = encode(array, masks[name])
        stored[name + _SHAPE] = np.array(array.shape, dtype=np.int64)
    data = safetensors.numpy.save(stored, dict(metadata or {}))
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}; choose a folder with space that you own."
        ) from error
    return len(data)


def load_sparse(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read what `save_sparse` wrote: dense tensors by name, and the masks of those that were encoded.

    Raises:
        UsageError: the file is missing, damaged, or does not hold together.
    """
    try:
        stored = safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise UsageError(f"{path} is damaged or no safetensors file ({error}); replace it or give another.") from error
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or error
        raise UsageError(f"cannot read {path}: {reason}; check the path.") from error
    tensors = {name: array for name, array in stored.items() if not name.endswith((_MASK, _VALUES, _SHAPE))}
    masks: dict[str, np.ndarray] = {}
    for name in [key[: -len(_MASK)] for key in stored if key.endswith(_MASK)]:
        try:
            shape = tuple(int(n) for n in stored[name + _SHAPE])
            tensors[name], masks[name] = decode(stored[name + _MASK], stored[name + _VALUES], shape)
        except (KeyError, ValueError) as error:
            raise UsageError(f"{path} holds no whole sparse tensor {name!r}: {error}; give another file.") from error
    return tensors, masks

"""Sparse tensors as bytes: one bit a weight that says whether it remains, and the values of those that do."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy

from opt.console.command import execute
from opt.console.errors import UsageError
from opt.console.options import OptionParser
from opt.console.terminal import tell
from problems.networks.storage.checkpoints import as_arrays, read_safetensors, write_whole

SUFFIX = "_mask"
"""What a solution's file adds to a tensor's name for its mask."""

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
        ValueError: mask and values do not belong together, or are of other kinds.
    """
    size = math.prod(shape)
    if packed.dtype != np.uint8 or packed.ndim != 1 or values.ndim != 1 or min(shape, default=0) < 0:
        raise ValueError(f"mask and values must be rows of bytes and numbers of shape {shape}, got {packed.dtype}.")
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
    """Write a pruned network as safetensors: masked tensors encoded where that is a gain, the rest as they are.

    Args:
        path: File to write, whole or not at all; its folder is made.
        tensors: Weights and biases by name.
        masks: Bool masks of some of them, True where a weight stays; the other weights are taken as zero.
        metadata: Text kept with them.

    Returns:
        Bytes of the tensors in the file, its header of names and shapes left out.

    Raises:
        UsageError: the file can't be written.
    """
    stored: dict[str, np.ndarray] = {}
    shapes: dict[str, str] = {}
    for name, array in tensors.items():
        mask = masks.get(name)
        n_kept = array.size if mask is None else int(np.count_nonzero(mask))
        if mask is None or sparse_bytes(array.size, n_kept, bit_width=8 * array.itemsize) == array.nbytes:
            stored[name] = np.ascontiguousarray(array if mask is None else np.where(mask, array, 0))
            continue
        stored[name + _MASK], stored[name + _VALUES] = encode(array, mask)
        shapes[name + _SHAPE] = ",".join(map(str, array.shape))
    write_whole(Path(path), safetensors.numpy.save(stored, {**(metadata or {}), **shapes}))
    return sum(array.nbytes for array in stored.values())


def load_sparse(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Read what `save_sparse` wrote: dense tensors by name, and the masks of those that were encoded.

    Raises:
        UsageError: the file is missing, damaged, or does not hold together.
    """
    read, metadata = read_safetensors(Path(path))
    stored = as_arrays(path, read)
    tensors = {name: array for name, array in stored.items() if not name.endswith((_MASK, _VALUES))}
    masks: dict[str, np.ndarray] = {}
    for name in [key[: -len(_MASK)] for key in stored if key.endswith(_MASK)]:
        try:
            shape = tuple(int(n) for n in metadata[name + _SHAPE].split(","))
            tensors[name], masks[name] = decode(stored[name + _MASK], stored[name + _VALUES], shape)
        except (KeyError, ValueError, TypeError) as error:
            raise UsageError(f"{path} holds no whole sparse tensor {name!r}: {error}; give another file.") from error
    return tensors, masks


def main(argv: Sequence[str]) -> int:
    """The command: a solution of a threshold run, sparse."""
    parser = OptionParser(
        prog="python -m problems.networks.layers.sparse", description="Store a solution of a threshold run sparsely."
    )
    parser.add_argument("solution", metavar="SOLUTION.safetensors", help="from the folder solutions/ of a run")
    parser.add_argument("--out", metavar="FILE", required=True, help="safetensors file to write")
    options = parser.read(argv)
    read, _ = read_safetensors(Path(options.solution))
    arrays = as_arrays(options.solution, read)
    masks = {name[: -len(SUFFIX)]: array for name, array in arrays.items() if name.endswith(SUFFIX)}
    tensors = {name: array for name, array in arrays.items() if not name.endswith(SUFFIX)}
    if not masks:
        raise UsageError(f"{options.solution} holds no masks; give a solution of a threshold run")
    for name, mask in masks.items():
        if name not in tensors or mask.dtype != np.bool_ or mask.shape != tensors[name].shape:
            raise UsageError(f"{options.solution}: the mask of {name} does not fit it; give another solution")
    size = save_sparse(options.out, tensors, masks)
    zeros = sum(int(np.count_nonzero(~mask)) for mask in masks.values())
    dense = sum(array.nbytes for array in tensors.values())
    tell(f"wrote {options.out}: {zeros} zeros, {size} bytes of tensors instead of {dense}")
    return 0


if __name__ == "__main__":
    execute(main)

"""Size of fully connected networks: parameters, multiply-adds, bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Cost(NamedTuple):
    """Of each of n networks, (n,) int64 each; 1 MAC = 1 multiply + 1 add."""

    parameters: np.ndarray
    macs: np.ndarray
    size_bytes: np.ndarray


def count(
    widths: np.ndarray,
    n_in: int,
    n_out: int,
    *,
    bit_width: int = 32,
    has_bias: Sequence[bool] | None = None,
    n_other: int = 0,
) -> Cost:
    """Cost of fully connected networks, many at once.

    Args:
        widths: (n, n_hidden_layers) whole numbers >= 1, or (n_hidden_layers,) for one network.
        n_in: Inputs of the first layer.
        n_out: Outputs of the last.
        bit_width: Bits a parameter; 32 is float32.
        has_bias: Whether each layer has a bias, the last one included; None where all have.
        n_other: Parameters beside the layers', which count as they are.

    Returns:
        Cost with arrays (n,), or scalars for one network. A bias is a parameter, and no MAC; bytes are rounded up.

    Raises:
        ValueError: widths that are not positive whole numbers.

    Example:
        >>> count(np.array([256, 256]), 784, 10).parameters
        np.int64(269322)
    """
    given = np.asarray(widths)
    if given.ndim not in (1, 2) or given.dtype.kind not in "iu" or (given.size and given.min() < 1):
        raise ValueError(f"widths must be whole numbers >= 1 of shape (n, layers), got {given.dtype} {given.shape}.")
    table = np.atleast_2d(given).astype(np.int64)
    ends = [np.full((len(table), 1), n, dtype=np.int64) for n in (n_in, n_out)]
    full = np.hstack([ends[0], table, ends[1]])
    macs = (full[:, :-1] * full[:, 1:]).sum(axis=1)
    biases = np.ones(full.shape[1] - 1, dtype=np.int64) if has_bias is None else np.asarray(has_bias, dtype=np.int64)
    parameters = macs + (full[:, 1:] * biases).sum(axis=1) + n_other
    cost = Cost(parameters, macs, -(-parameters * bit_width // 8))
    return cost if given.ndim == 2 else Cost(*(array[0] for array in cost))

"""Data sets: inputs of a circuit and the outputs wanted for them, with weights and don't-cares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from native.circuits.grid import Grid


@dataclass(frozen=True)
class DataSet:
    """Inputs and the outputs wanted for them.

    Args:
        inputs: (n_samples, n_in) numbers; one sample may be given as (n_in,).
        outputs: (n_samples, n_out) numbers.
        weights: (n_out,) or (n_samples, n_out), how much each output's error counts, not negative and for int8 whole;
            None is 1.
        is_care: (n_samples, n_out) bool, False where any value will do; None is True everywhere.

    Raises:
        ValueError: Shapes that do not fit, values that are not finite, negative weights.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    weights: np.ndarray | None = None
    is_care: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            values = np.atleast_2d(np.asarray(getattr(self, name)))
            if values.ndim != 2 or values.dtype.kind not in "iufb" or values.size == 0:
                raise ValueError(f"{name} must be numbers of shape (n_samples, n), got {values.dtype} {values.shape}")
            object.__setattr__(self, name, values)
        if len(self.inputs) != len(self.outputs):
            raise ValueError(f"inputs have {len(self.inputs)} samples, outputs {len(self.outputs)}")
        shape = self.outputs.shape
        for name in ("weights", "is_care"):
            values = getattr(self, name)
            if values is None:
                continue
            values = np.asarray(values)
            if values.shape not in ((shape[1],), shape):
                raise ValueError(f"{name} must have shape ({shape[1]},) or {shape}, got {values.shape}")
            object.__setattr__(self, name, values)
        if self.weights is not None and not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise ValueError("weights must be finite and not negative")

    @property
    def n_samples(self) -> int:
        """Samples."""
        return len(self.inputs)

    @property
    def has_weights(self) -> bool:
        """Whether some entry counts other than 1."""
        return self.weights is not None or self.is_care is not None

    def entry_weights(self) -> np.ndarray:
        """(n_samples, n_out) float64 weight of every entry, 0 for don't-cares."""
        weights = np.ones(self.outputs.shape) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        care = True if self.is_care is None else np.asarray(self.is_care, dtype=bool)
        return np.broadcast_to(weights, self.outputs.shape) * care


@dataclass(frozen=True)
class Samples:
    """Data sets laid end to end for one grid: what the C library takes."""

    inputs: np.ndarray
    outputs: np.ndarray
    weights: np.ndarray | None
    set_start: np.ndarray


def join(data: DataSet | Sequence[DataSet], grid: Grid, dtype: np.dtype) -> Samples:
    """Data sets as one, in the domain's type. A set with fewer columns is padded: inputs by 0, outputs by don't-cares.

    Raises:
        ValueError: More columns than the grid has, values that int8 does not hold, int8 weights that are not whole.
    """
    sets = [data] if isinstance(data, DataSet) else list(data)
    if not sets:
        raise ValueError("at least one data set is needed, got none")
    for number, one in enumerate(sets):
        for name, n_own, n in (
            ("inputs", one.inputs.shape[1], grid.n_inputs), ("outputs", one.outputs.shape[1], grid.n_outputs)
        ):  # fmt: skip
            # one set alone has nothing to be as wide as
            if n_own > n or (len(sets) == 1 and n_own < n):
                raise ValueError(f"data set {number} has {n_own} {name}, the grid {n}")
    inputs = [_widened(in_domain(one.inputs, dtype, "inputs"), grid.n_inputs) for one in sets]
    outputs = [_widened(in_domain(one.outputs, dtype, "outputs"), grid.n_outputs) for one in sets]
    starts = np.cumsum([0, *(s.n_samples for s in sets)]).astype(np.uintp)
    return Samples(
        np.concatenate(inputs), np.concatenate(outputs), _joined_weights(sets, grid.n_outputs, dtype), starts
    )


def _joined_weights(sets: Sequence[DataSet], n_outputs: int, dtype: np.dtype) -> np.ndarray | None:
    """(n_samples, n_outputs) float64 weights of all sets, 0 where a set is padded; None where all are 1."""
    if not any(one.has_weights or one.outputs.shape[1] < n_outputs for one in sets):
        return None
    weights = np.concatenate([_widened(one.entry_weights(), n_outputs) for one in sets])
    if dtype == np.int8 and (weights != np.floor(weights)).any():
        raise ValueError("weights of int8 data must be whole numbers (errors are summed exactly); scale them")
    return weights


def in_domain(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """Values in the domain's type, refused where that would change them (int8) or where they are not finite."""
    if dtype != np.int8:
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite")
        return np.ascontiguousarray(values, dtype=dtype)
    if values.dtype == np.int8:
        return np.ascontiguousarray(values)
    with np.errstate(invalid="ignore"):
        converted = values.astype(np.int8)
    if (converted != values).any():
        wrong = values[converted != values].flat[0]
        raise ValueError(f"{name} of int8 data must be whole numbers in -128..127, got {wrong}")
    return np.ascontiguousarray(converted)


def _widened(values: np.ndarray, n: int) -> np.ndarray:
    return np.pad(values, ((0, 0), (0, n - values.shape[1]))) if values.shape[1] < n else values


def deduplicate(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Equal outputs as one, weighted by how often it occurs.

    Args:
        outputs: (n_out,) or (n_samples, n_out) values; outputs are equal when they are on every sample.

    Returns:
        unique: (n_unique,) or (n_samples, n_unique) the distinct outputs.
        weights: (n_unique,) int64 occurrences.
        index: (n_out,) int64 with outputs == unique[..., index].
    """
    outputs = np.asarray(outputs)
    if outputs.ndim == 1:
        unique, index, weights = np.unique(outputs, return_inverse=True, return_counts=True)
    else:
        unique, index, weights = np.unique(outputs, axis=1, return_inverse=True, return_counts=True)
    return unique, weights.astype(np.int64), index.reshape(-1).astype(np.int64)

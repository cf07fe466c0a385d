"""Bounds of real and integer variables, checked once: order, type, size; integers' drawn in to whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

LARGEST_INTEGER = 2**53
"""Beyond it float64, in which bounds and operators count, has no neighbouring whole numbers."""


def checked_bounds(
    kind: str, xl: Any, xu: Any, n_var: int, *, name: str
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Bounds as arrays that every operator can work with.

    Args:
        kind: "real" or "integer"; the bounds of other representations are left as they are.
        xl: Lower bounds, a scalar, (n_var,) or None.
        xu: Upper bounds, likewise.
        n_var: Number of variables.
        name: The problem's, for messages.

    Returns:
        (xl, xu), float64 of shape (n_var,) each, or None where not given. Infinite bounds stay: only some
        algorithms need finite ones. Fractional bounds of integers become the whole numbers between them.

    Raises:
        ValueError: A bound is no number, has another shape, or a variable has no value between its bounds.
    """
    if kind not in ("real", "integer"):
        return xl, xu
    low, high = (_as_array(value, n_var, name=name, which=which) for which, value in (("xl", xl), ("xu", xu)))
    if kind == "integer":
        low, high = (None if low is None else np.ceil(low)), (None if high is None else np.floor(high))
        for bound in (low, high):
            if bound is not None and (np.abs(bound[np.isfinite(bound)]) > LARGEST_INTEGER).any():
                raise ValueError(f"{name}: bounds of integers must lie within +-2**53, got {bound.tolist()}.")
    if low is not None and high is not None:
        wrong = np.flatnonzero(low > high)
        if len(wrong):
            i = int(wrong[0])
            between = "whole number" if kind == "integer" else "value"
            given = f"xl {_at(xl, i)} and xu {_at(xu, i)}"
            raise ValueError(f"{name}: variable {i} has no {between} between its bounds, {given}; xl must be <= xu.")
    return low, high


def has_finite_bounds(xl: np.ndarray | None, xu: np.ndarray | None) -> bool:
    """Whether every variable has two finite bounds, and their difference is finite too."""
    if xl is None or xu is None:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.asarray(xu, dtype=np.float64) - np.asarray(xl, dtype=np.float64)).all())


def _as_array(value: Any, n_var: int, *, name: str, which: str) -> np.ndarray | None:
    if value is None:
        return None
    try:
        bound = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {which} must hold numbers, got {value!r}.") from None
    if bound.ndim == 0:
        bound = np.full(n_var, float(bound))
    if bound.shape != (n_var,):
        raise ValueError(f"{name}: {which} must be a number or have shape ({n_var},), got {bound.shape}.")
    if np.isnan(bound).any():
        raise ValueError(f"{name}: {which} holds NaN; give -inf or inf, or None, where there is no bound.")
    return bound


def _at(value: Any, i: int) -> Any:
    array = np.asarray(value, dtype=np.float64)
    return float(array if array.ndim == 0 else array[i])

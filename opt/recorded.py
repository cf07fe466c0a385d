"""What the journal and the history of a run say about its objective values."""

from __future__ import annotations

from typing import Any

import numpy as np

FALL = 1e-9
"""A relative fall of hypervolume beyond rounding."""


def values(record: dict[str, Any], n_obj: int) -> np.ndarray:
    """(n, n_obj) minimised objectives of the new candidates of one journal record; NaN rows failed."""
    return np.array(record["F"], dtype=float).reshape(-1, n_obj)


def feasible(record: dict[str, Any], n_obj: int) -> np.ndarray:
    """(n, n_obj) minimised objectives of a record's new candidates that are finite and feasible."""
    F = values(record, n_obj)
    ok = np.isfinite(F).all(axis=1)
    if "G" in record:
        ok &= (np.array(record["G"], dtype=float).reshape(len(F), -1) <= 0).all(axis=1)
    return F[ok]

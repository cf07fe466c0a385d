"""What the journal of a run says: the shape of its records, and their objective values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from opt.console.errors import UsageError


def values(record: dict[str, Any], n_obj: int, prefix: str = "") -> np.ndarray:
    """(n, n_obj) minimised objectives of the new candidates of one journal record; NaN rows failed.

    Args:
        record: The record.
        n_obj: Number of objectives.
        prefix: "survivors_" for what was judged again when the objectives changed their meaning.

    Raises:
        UsageError: The record holds something else.
    """
    try:
        F = np.array(record[prefix + "F"], dtype=float)
        return F.reshape(len(F), n_obj)
    except (KeyError, TypeError, ValueError):
        raise _altered(record, f"{prefix}F is not {n_obj} numbers a candidate") from None


def feasible_rows(record: dict[str, Any], n_obj: int, prefix: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Objectives as of `values`, and (n,) bool: which rows are finite and feasible."""
    F = values(record, n_obj, prefix)
    ok = np.isfinite(F).all(axis=1)
    if prefix + "G" in record:
        try:
            G = np.array(record[prefix + "G"], dtype=float)
            ok &= (G.reshape(len(F), G.size // max(len(F), 1)) <= 0).all(axis=1)
        except (TypeError, ValueError):
            raise _altered(record, f"{prefix}G is not a list of numbers a candidate") from None
    return F, ok


def feasible(record: dict[str, Any], n_obj: int) -> np.ndarray:
    """(n, n_obj) minimised objectives of a record's new candidates that are finite and feasible."""
    F, ok = feasible_rows(record, n_obj)
    return F[ok]


def fault(record: dict[str, Any]) -> str:
    """What a record lacks that every record has, in words; "" where it is as it was written.

    Only what is quick to see: the objectives' values are looked at where they are used.
    """
    for name in ("gen", "new", "n"):
        value = record.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            return f"{name} must be a whole number, got {value!r}"
    if not isinstance(record.get("x"), str):
        return "x must be the candidates' digest"
    if not isinstance(record.get("F"), list):
        return "F must be a list of objective values"
    if len(record["F"]) != record["new"]:
        return f"generation {record['gen']} counts {record['new']} evaluations and records {len(record['F'])}"
    if not isinstance(record.get("algo", {}), dict):
        return "algo must be an object"
    return _fault_of_failures(record, "failed") or _fault_of_failures(record, "survivors_failed")


def check_records(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Refuse records that are not as they were written, though they pass the journal's own check.

    Raises:
        UsageError: With the first record that is not, and what is wrong with it.
    """
    for number, record in enumerate(records, start=1):
        if reason := fault(record):
            raise UsageError(
                f"{path} record {number} is altered: {reason}; the run does not replay, restore it from a copy"
            )


def _fault_of_failures(record: dict[str, Any], name: str) -> str:
    failed = record.get(name, {})
    if isinstance(failed, dict) and all(i.isdecimal() and isinstance(why, str) for i, why in failed.items()):
        return ""
    return f"{name} must be reasons by the candidate's number"


def _altered(record: dict[str, Any], reason: str) -> UsageError:
    return UsageError(f"the journal's record of generation {record.get('gen')} is altered: {reason}; start a new run")

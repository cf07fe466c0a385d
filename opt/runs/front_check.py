"""The check of front.csv and the saved solutions: their objectives against the journal, their hypervolume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from opt.console.errors import UsageError
from opt.fronts.archive import hypervolume
from opt.problem import Objective
from opt.runs.finding import TOLERANCE, Finding
from opt.runs.run import Run, read_arrays
from opt.search.recorded import values


def check_front(
    run: Run, records: Sequence[dict[str, Any]], history: pd.DataFrame, front: pd.DataFrame
) -> Iterator[Finding]:
    """front.csv by itself, and against the journal and the last hypervolume of the history.

    Args:
        run: A run that has a front.
        records: Its journal's.
        history: Its history.csv, the columns before the objectives' own checked.
        front: Its front.csv.
    """
    if fault := _table_fault(front, run.objectives):
        yield Finding("wrong", "front.csv", fault)
        return
    yield Finding("ok", "front.csv", f"rows: {len(front)}, each with an id of its own")
    if not records or not len(history):
        return
    if reason := _why_not_comparable(run, records, history):
        yield Finding("note", "hypervolume", reason)
        return
    F = _minimised(front, run.objectives)
    try:
        yield _check_objectives(front["id"], F, records)
    except UsageError as error:
        yield Finding("wrong", "objectives", str(error))
        return
    yield _check_hypervolume(F, np.array(run.manifest["ref_point"], dtype=float), history)


def _table_fault(front: pd.DataFrame, objectives: Sequence[Objective]) -> str:
    missing = [name for name in ("id", *(o.name for o in objectives)) if name not in front]
    if missing:
        return f"has no column {', '.join(missing)}"
    if front["id"].isna().any():
        return f"{int(front['id'].isna().sum())} rows have no id"
    if front["id"].duplicated().any():
        return f"id {front['id'][front['id'].duplicated()].iloc[0]} occurs twice"
    return "" if np.isfinite(_minimised(front, objectives)).all() else "an objective is missing or no number"


def _minimised(front: pd.DataFrame, objectives: Sequence[Objective]) -> np.ndarray:
    """(n, n_obj) the front's objectives, minimised; NaN where there is no number."""
    columns = [pd.to_numeric(front[o.name], errors="coerce").to_numpy(dtype=float) * o.sign for o in objectives]
    return np.column_stack(columns)


def _why_not_comparable(run: Run, records: Sequence[dict[str, Any]], history: pd.DataFrame) -> str:
    """Why the front cannot be compared with the last hypervolume of the history; "" where it can."""
    if run.manifest.get("n_gen") != len(records) or len(history) != len(records):
        return "front.csv is of an earlier generation than the journal; --resume renews it"
    if run.manifest.get("ref_point") is None:
        return "no reference point recorded, not checked"
    if not run.is_stationary:
        return "objective values changed their meaning during the run, not comparable with the front"
    return ""


def _check_objectives(ids: pd.Series, F: np.ndarray, records: Sequence[dict[str, Any]]) -> Finding:
    """Each solution's objectives against the journal's: the number in an id counts the evaluations."""
    everything = np.concatenate([values(record, F.shape[1]) for record in records])
    for solution, f in zip(ids, F, strict=True):
        digits = str(solution)[1:]
        number = int(digits) if digits.isdecimal() else 0
        if not 1 <= number <= len(everything):
            return Finding("wrong", "objectives", f"{solution} of front.csv is no evaluation of the journal")
        if not np.allclose(everything[number - 1], f, rtol=TOLERANCE, atol=0.0):
            return Finding("wrong", "objectives", f"{solution} differs between front.csv and the journal")
    return Finding("ok", "objectives", "of every solution in front.csv as in the journal")


def _check_hypervolume(F: np.ndarray, ref_point: np.ndarray, history: pd.DataFrame) -> Finding:
    last, computed = float(history["hypervolume"].iloc[-1]), hypervolume(F, ref_point)
    if abs(computed - last) > TOLERANCE * max(abs(computed), abs(last)):
        return Finding("wrong", "hypervolume", f"{computed:.10g} from front.csv and {last:.10g} in history.csv")
    return Finding("ok", "hypervolume", f"{computed:.10g} from front.csv as in history.csv")


def check_solutions(folder: Path, ids: set[str]) -> Finding:
    """The saved solutions in a folder: each readable, and one of the front's ids."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [file for file in files if not file.name.startswith(".")]
    for file in files:
        if file.suffix != ".safetensors" or file.stem not in ids:
            return Finding("wrong", "solutions", f"{file.name} is not in front.csv")
        try:
            read_arrays(file)
        except (UsageError, OSError) as error:
            return Finding("wrong", "solutions", f"{file.name} cannot be read: {error}")
    text = f"saved: {len(files)} of {len(ids)}, each readable and in front.csv"
    return Finding("ok", "solutions", text if files else "none saved")

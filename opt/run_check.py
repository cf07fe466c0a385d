"""Verifying the records of a saved run: do its files agree with one another?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from opt import csv_table, journal
from opt.archive import hypervolume, nondominated
from opt.errors import UsageError
from opt.recorded import values
from opt.run import Run, load_run, read_arrays

TOLERANCE = 1e-9
"""Relative difference up to which two numbers are taken as equal; history.csv holds ten digits."""
NEEDED = ("problem", "objectives", "algo", "seed", "status")


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        verdict: "ok", "note" for what is no fault, or "wrong".
        subject: The file or fact that was checked.
        text: What was found.
    """

    verdict: str
    subject: str
    text: str


def check_run(path: Path) -> Iterator[Finding]:
    """Check every record of the run in the folder `path`.

    Args:
        path: A folder with a manifest.json.
    """
    try:
        run = load_run(path)
        missing = [name for name in NEEDED if name not in run.manifest]
    except UsageError as error:
        yield Finding("wrong", "manifest.json", str(error))
        return
    if missing:
        yield Finding("wrong", "manifest.json", f"lacks {', '.join(missing)}")
        return
    status = run.status
    yield Finding("ok", "manifest.json", f"readable, {run.label}, {status}")
    try:
        records, _, n_dropped = journal.read(path / "journal.jsonl")
    except UsageError as error:
        yield Finding("wrong", "journal.jsonl", str(error))
        return
    yield Finding("ok", "journal.jsonl", f"records: {len(records)}, each passes its check")
    if n_dropped:
        yield Finding("note", "journal.jsonl", f"a torn last record of {n_dropped} bytes; --resume drops it")
    yield _check_generations(records)
    history = _table(path / "history.csv")
    if isinstance(history, Finding):
        yield history
        return
    yield _check_evaluations(records, history, finished=status == "finished")
    if (path / "trace.csv").exists():
        trace = _table(path / "trace.csv")
        yield trace if isinstance(trace, Finding) else _check_trace(run, records, trace)
    if status == "finished":
        yield _check_manifest(run, records)
    if not (path / "front.csv").exists() and status != "finished":
        yield Finding("note", "front.csv", f"not written yet, the run is {status}")
        return
    front = _table(path / "front.csv", text=["id"])
    if isinstance(front, Finding):
        yield front
        return
    yield from _check_front(run, records, history, front)
    yield _check_solutions(path / "solutions", set(front["id"]) if "id" in front else set())


def _check_generations(records: list[dict[str, Any]]) -> Finding:
    found = [record.get("gen") for record in records]
    for expected, number in enumerate(found, start=1):
        if number != expected:
            return Finding("wrong", "generations", f"record {expected} is of generation {number}")
    return Finding("ok", "generations", f"1 to {len(found)}, none missing" if found else "none yet")


def _check_evaluations(records: list[dict[str, Any]], history: pd.DataFrame, *, finished: bool) -> Finding:
    """The history's counts against the journal's; an unfinished run's history may end early."""
    counted = np.cumsum([int(record["new"]) for record in records])
    for record in records:
        if len(record["F"]) != record["new"]:
            text = f"generation {record['gen']} counts {record['new']} evaluations and records {len(record['F'])}"
            return Finding("wrong", "evaluations", text)
    rows = history.dropna(subset=["n_gen", "n_eval"])
    if len(rows) > len(counted) or (finished and len(rows) < len(counted)):
        return Finding(
            "wrong", "evaluations", f"history.csv has {len(rows)} rows and the journal {len(counted)} records"
        )
    for k, (n_gen, n_eval) in enumerate(rows[["n_gen", "n_eval"]].to_numpy()):
        if n_gen != k + 1:
            return Finding("wrong", "evaluations", f"history.csv row {k + 1} is of generation {n_gen:g}")
        if n_eval != counted[k]:
            text = f"history.csv counts {n_eval:g} at generation {k + 1} and the journal {counted[k]}"
            return Finding("wrong", "evaluations", text)
    if len(rows) < len(counted):
        text = f"history.csv ends at generation {len(rows)} of {len(counted)}; --resume completes it"
        return Finding("note", "evaluations", text)
    total = int(counted[-1]) if len(counted) else 0
    return Finding("ok", "evaluations", f"{total} in history.csv and in the journal")


def _check_trace(run: Run, records: list[dict[str, Any]], trace: pd.DataFrame) -> Finding:
    """The trace's counts and best values against the journal; a last batch that the budget cut has no row."""
    missing = [name for name in ("n_gen", "n_eval", "acceptance", "best") if name not in trace]
    if missing:
        return Finding("wrong", "trace", f"trace.csv has no column {', '.join(missing)}")
    counted = np.cumsum([int(record["new"]) for record in records])
    if len(trace) > len(counted):
        return Finding("wrong", "trace", f"trace.csv has {len(trace)} rows and the journal {len(counted)} records")
    for k, (n_gen, n_eval) in enumerate(trace[["n_gen", "n_eval"]].to_numpy()):
        if n_gen != k + 1 or n_eval != counted[k]:
            text = f"trace.csv row {k + 1} is of generation {n_gen:g} with {n_eval:g} evaluations, the journal has "
            return Finding("wrong", "trace", f"{text}{counted[k]}")
    for name in (str(c).removeprefix("proposed_") for c in trace if str(c).startswith("proposed_")):
        if f"accepted_{name}" not in trace or (trace[f"accepted_{name}"] > trace[f"proposed_{name}"]).any():
            return Finding("wrong", "trace", f"more moves {name} are accepted than proposed")
    best = trace["best"].to_numpy(dtype=float)
    is_plain = run.is_stationary and not any("G" in record or "failed" in record for record in records)
    if is_plain and (np.diff(best) > TOLERANCE * np.abs(best[1:])).any():
        return Finding("wrong", "trace", "the best value becomes worse")
    if is_plain and len(run.objectives) == 1 and len(best):
        found = np.minimum.accumulate([values(r, 1).min(initial=np.inf) for r in records[: len(best)]])
        if not np.allclose(best, found, rtol=TOLERANCE, atol=0.0):
            return Finding("wrong", "trace", "a best value is not the best that the journal holds until then")
    if len(trace) < len(counted) - 1:
        text = f"trace.csv ends at generation {len(trace)} of {len(counted)}; --resume completes it"
        return Finding("wrong" if run.status == "finished" else "note", "trace", text)
    return Finding("ok", "trace", f"rows: {len(trace)}, with the evaluations of the journal")


def _check_manifest(run: Run, records: list[dict[str, Any]]) -> Finding:
    counted = {
        "n_gen": len(records),
        "n_eval": sum(int(record["new"]) for record in records),
        "n_failed": sum(len(record.get("failed", {})) for record in records),
    }
    for name, count in counted.items():
        if run.manifest.get(name) != count:
            text = f"{name} is {run.manifest.get(name)} in manifest.json and {count} in the journal"
            return Finding("wrong", "totals", text)
    return Finding("ok", "totals", ", ".join(f"{name} {count}" for name, count in counted.items()))


def _check_front(
    run: Run, records: list[dict[str, Any]], history: pd.DataFrame, front: pd.DataFrame
) -> Iterator[Finding]:
    objectives = run.objectives
    missing = [name for name in ("id", *(o.name for o in objectives)) if name not in front]
    if missing:
        yield Finding("wrong", "front.csv", f"has no column {', '.join(missing)}")
        return
    if front["id"].isna().any():
        yield Finding("wrong", "front.csv", f"{int(front['id'].isna().sum())} rows have no id")
        return
    if front["id"].duplicated().any():
        yield Finding("wrong", "front.csv", f"id {front['id'][front['id'].duplicated()].iloc[0]} occurs twice")
        return
    signs = np.array([o.sign for o in objectives])
    columns = [pd.to_numeric(front[o.name], errors="coerce").to_numpy(dtype=float) for o in objectives]
    F = np.column_stack(columns) * signs
    if not np.isfinite(F).all():
        yield Finding("wrong", "front.csv", "an objective is missing or no number")
        return
    yield Finding("ok", "front.csv", f"rows: {len(front)}, each with an id of its own")
    if not records or not len(history):
        return
    if run.manifest.get("n_gen") != len(records) or len(history) != len(records):
        yield Finding(
            "note", "hypervolume", "front.csv is of an earlier generation than the journal; --resume renews it"
        )
        return
    last = float(history["hypervolume"].iloc[-1])
    ref_point = run.manifest.get("ref_point")
    if ref_point is None:
        yield Finding("note", "hypervolume", "no reference point recorded, not checked")
        return
    point = np.array(ref_point, dtype=float)
    if not run.is_stationary:
        text = "objective values changed their meaning during the run, not comparable with the front"
        yield Finding("note", "hypervolume", text)
        return
    yield _check_recorded(front["id"], F, records)
    found = hypervolume(F, point)
    if not _equal(found, last):
        yield Finding("wrong", "hypervolume", f"{found:.10g} from front.csv and {last:.10g} in history.csv")
    else:
        yield Finding("ok", "hypervolume", f"{found:.10g} from front.csv as in history.csv")


def _check_recorded(ids: pd.Series, F: np.ndarray, records: list[dict[str, Any]]) -> Finding:
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


def _check_solutions(folder: Path, ids: set[str]) -> Finding:
    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        if file.stem not in ids:
            return Finding("wrong", "solutions", f"{file.name} is not in front.csv")
        try:
            read_arrays(file)
        except (UsageError, OSError) as error:
            return Finding("wrong", "solutions", f"{file.name} cannot be read: {error}")
    text = f"saved: {len(files)} of {len(ids)}, each readable and in front.csv"
    return Finding("ok", "solutions", text if files else "none saved")


def _front(F: np.ndarray) -> np.ndarray:
    return F[nondominated(F)] if len(F) else F


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(abs(a), abs(b))


def _table(path: Path, text: list[str] | None = None) -> pd.DataFrame | Finding:
    try:
        return csv_table.read(path, dtype=dict.fromkeys(text or [], str), skip_bad_lines=True)
    except FileNotFoundError:
        return Finding("wrong", path.name, "is missing")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        return Finding("wrong", path.name, f"is not a readable table: {error}")

"""Verifying the records of a saved run: do its files agree with one another?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from opt.console.errors import UsageError
from opt.fronts.archive import hypervolume
from opt.runs import journal
from opt.runs.damage import altered_files, damaged_plots, stray_files
from opt.runs.run import Run, load_run, read_arrays
from opt.runs.run_directory import HISTORY_COLUMNS
from opt.runs.run_tables import read_table
from opt.search.recorded import fault, values

TOLERANCE = 1e-9
"""Relative difference up to which two numbers are taken as equal; history.csv holds ten digits."""


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
    except UsageError as error:
        yield Finding("wrong", "manifest.json", str(error))
        return
    status = run.status
    if run.seal in ("altered", "rewritten"):
        yield Finding("wrong", "manifest.json", "was altered since it was written: its digest differs")
    else:
        yield Finding("ok", "manifest.json", f"readable, {run.label}, {status}")
    yield from _check_digests(run)
    yield from _check_records(run)


def _check_digests(run: Run) -> Iterator[Finding]:
    """The bytes of every file against the digests that were taken when the run ended, and the pictures'."""
    reasons = altered_files(run)
    for name, reason in reasons.items():
        yield Finding("wrong", name, reason)
    if run.files and not reasons:
        yield Finding("ok", "digests", f"files: {len(run.files)}, each as it was when the run ended")
    if run.manifest["status"] != "running" and not run.files:
        yield Finding("note", "digests", "none, as of an earlier release; files are compared with each other")
    for name, reason in damaged_plots(run).items():
        is_pending = "plots" not in run.manifest
        hint = "; --resume draws it" if is_pending else f"; python -m opt.plot {run.path} draws it again"
        yield Finding("note" if is_pending else "wrong", name, reason + hint)
    for file in stray_files(run.path):
        yield Finding("note", file.name, "left by a process that died while it wrote; --resume removes it")


def _check_records(run: Run) -> Iterator[Finding]:
    """The records against one another: journal, history, trace, manifest, front and solutions."""
    path, status = run.path, run.status
    if status == "interrupted" and not (path / "journal.jsonl").exists():
        yield Finding("note", "journal.jsonl", "not begun, the run was killed before its first generation")
        return
    # of a run under way the journal is read last: it is never behind the tables
    history = _table(path / "history.csv", whole=status == "finished")
    trace = _table(path / "trace.csv", whole=status == "finished") if (path / "trace.csv").exists() else None
    try:
        records, _, n_dropped = journal.read(path / "journal.jsonl")
    except UsageError as error:
        yield Finding("wrong", "journal.jsonl", str(error))
        return
    if n_dropped:
        text = f"its last {n_dropped} bytes fail their check, torn or altered; --resume drops them"
        yield Finding("wrong" if status == "finished" else "note", "journal.jsonl", text)
    generations = _check_generations(records)
    yield Finding("ok", "journal.jsonl", f"records: {len(records)}, each passes its check")
    yield generations
    for number, record in enumerate(records, start=1):
        if reason := fault(record):
            yield Finding("wrong", "evaluations", f"record {number} of journal.jsonl: {reason}")
            return
    if generations.verdict == "wrong":
        return
    if isinstance(history, Finding):
        yield history
        return
    missing = [name for name in HISTORY_COLUMNS if name not in history]
    if missing or any(history[name].dtype.kind not in "iuf" for name in HISTORY_COLUMNS):
        text = f"has no column {', '.join(missing)}" if missing else "has text where a number belongs"
        yield Finding("wrong", "history.csv", text)
        return
    yield _check_evaluations(records, history, finished=status == "finished")
    if trace is not None:
        yield trace if isinstance(trace, Finding) else _check_trace(run, records, trace)
    if status == "finished":
        yield _check_manifest(run, records)
    if not run.has_front:
        earlier = "is of an earlier part of the run" if (path / "front.csv").exists() else "is not written yet"
        yield Finding("note", "front.csv", f"{earlier}, the run is {status}")
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
    needed = ("n_gen", "n_eval", "acceptance", "best")
    # candidates that complete a search are not the algorithm's, and have no row
    records = [record for record in records if "rest" not in record]
    missing = [name for name in needed if name not in trace]
    if missing:
        return Finding("wrong", "trace", f"trace.csv has no column {', '.join(missing)}")
    counts = [str(c) for c in trace if str(c).startswith(("proposed_", "accepted_"))]
    if any(trace[name].dtype.kind not in "iuf" for name in (*needed, *counts)):
        return Finding("wrong", "trace", "trace.csv has text where a number belongs")
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
    try:
        yield _check_recorded(front["id"], F, records)
    except UsageError as error:
        yield Finding("wrong", "objectives", str(error))
        return
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


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(abs(a), abs(b))


def _table(path: Path, text: Sequence[str] = (), *, whole: bool = True) -> pd.DataFrame | Finding:
    try:
        return read_table(path, text=text, whole=whole)
    except FileNotFoundError:
        return Finding("wrong", path.name, "is missing")
    except UsageError as error:
        return Finding("wrong", path.name, str(error))

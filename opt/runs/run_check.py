"""The consistency check of a saved run: its files against their digests and against one another."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.runs import journal
from opt.runs.damage import altered_files, damaged_plots, stray_files
from opt.runs.finding import Finding
from opt.runs.front_check import check_front, check_solutions
from opt.runs.run import Run, load_run
from opt.runs.run_directory import HISTORY_COLUMNS
from opt.runs.run_tables import read_table
from opt.runs.trace_check import check_trace
from opt.search.recorded import fault


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
        hint = "; --resume draws it" if is_pending else f"; {spelled('plot')} {run.path} draws it again"
        yield Finding("note" if is_pending else "wrong", name, reason + hint)
    for file in stray_files(run.path):
        yield Finding("note", file.name, "left by a process that died while it wrote; --resume removes it")


def _check_records(run: Run) -> Iterator[Finding]:
    """The records against one another: journal, history, trace, manifest, front and solutions."""
    path, is_finished = run.path, run.status == "finished"
    if run.status == "interrupted" and not (path / "journal.jsonl").exists():
        yield Finding("note", "journal.jsonl", "not begun, the run was killed before its first generation")
        return
    # of a run under way the journal is read last: it is never behind the tables
    history = _table(path / "history.csv", whole=is_finished)
    trace = _table(path / "trace.csv", whole=is_finished) if (path / "trace.csv").exists() else None
    records = yield from _check_journal(path / "journal.jsonl", is_finished=is_finished)
    if records is None:
        return
    # the rest compares rows with rows: of a table that is none there is nothing to compare
    if isinstance(history, Finding):
        yield history
        return
    if reason := _history_fault(history):
        yield Finding("wrong", "history.csv", reason)
        return
    yield _check_evaluations(records, history, is_finished=is_finished)
    if trace is not None:
        yield trace if isinstance(trace, Finding) else check_trace(run, records, trace)
    if is_finished:
        yield _check_manifest(run, records)
    yield from _check_end(run, records, history)


def _check_journal(path: Path, *, is_finished: bool) -> Generator[Finding, None, list[dict[str, Any]] | None]:
    """The journal by itself; returns its records, None where they cannot be compared with anything."""
    try:
        records, _, n_dropped = journal.read(path)
    except UsageError as error:
        yield Finding("wrong", path.name, str(error))
        return None
    if n_dropped:
        text = f"its last {n_dropped} bytes fail their check, torn or altered; --resume drops them"
        yield Finding("wrong" if is_finished else "note", path.name, text)
    yield Finding("ok", path.name, f"records: {len(records)}, each passes its check")
    generations = _check_generations(records)
    yield generations
    for number, record in enumerate(records, start=1):
        if reason := fault(record):
            yield Finding("wrong", "evaluations", f"record {number} of {path.name}: {reason}")
            return None
    return None if generations.verdict == "wrong" else records


def _history_fault(history: pd.DataFrame) -> str:
    missing = [name for name in HISTORY_COLUMNS if name not in history]
    if missing:
        return f"has no column {', '.join(missing)}"
    has_text = any(history[name].dtype.kind not in "iuf" for name in HISTORY_COLUMNS)
    return "has text where a number belongs" if has_text else ""


def _check_end(run: Run, records: list[dict[str, Any]], history: pd.DataFrame) -> Iterator[Finding]:
    """The front and its solutions, where the run has ended with them."""
    file = run.path / "front.csv"
    if not run.has_front:
        earlier = "is of an earlier part of the run" if file.exists() else "is not written yet"
        yield Finding("note", "front.csv", f"{earlier}, the run is {run.status}")
        return
    front = _table(file, text=["id"])
    if isinstance(front, Finding):
        yield front
        return
    yield from check_front(run, records, history, front)
    yield check_solutions(run.path / "solutions", set(front["id"]) if "id" in front else set())


def _check_generations(records: list[dict[str, Any]]) -> Finding:
    for expected, number in enumerate((record.get("gen") for record in records), start=1):
        if number != expected:
            return Finding("wrong", "generations", f"record {expected} is of generation {number}")
    return Finding("ok", "generations", f"1 to {len(records)}, none missing" if records else "none yet")


def _check_evaluations(records: list[dict[str, Any]], history: pd.DataFrame, *, is_finished: bool) -> Finding:
    """The history's counts against the journal's; an unfinished run's history may end early."""
    counted = np.cumsum([int(record["new"]) for record in records])
    rows = history.dropna(subset=["n_gen", "n_eval"])
    if len(rows) > len(counted) or (is_finished and len(rows) < len(counted)):
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


def _table(path: Path, text: Sequence[str] = (), *, whole: bool = True) -> pd.DataFrame | Finding:
    try:
        return read_table(path, text=text, whole=whole)
    except FileNotFoundError:
        return Finding("wrong", path.name, "is missing")
    except UsageError as error:
        return Finding("wrong", path.name, str(error))

"""The check of trace.csv: its counts and best values against the journal's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from opt.runs.finding import TOLERANCE, Finding
from opt.runs.run import Run
from opt.search.recorded import values

_NEEDED = ("n_gen", "n_eval", "acceptance", "best")
"""Columns of annealing's traces; an algorithm of the user's has the counts, and others of its own."""


@dataclass(frozen=True)
class _Traced:
    """A trace and the records that its rows are of.

    Attributes:
        run: The run.
        records: Those of the journal that the algorithm's own batches made.
        trace: trace.csv.
        n_eval: (n_records,) evaluations until the end of each.
    """

    run: Run
    records: Sequence[dict[str, Any]]
    trace: pd.DataFrame
    n_eval: np.ndarray

    @property
    def is_comparable(self) -> bool:
        """Whether every record's values have one meaning and all of them are feasible."""
        return self.run.is_stationary and not any("G" in r or "failed" in r for r in self.records)


def check_trace(run: Run, records: Sequence[dict[str, Any]], trace: pd.DataFrame) -> Finding:
    """The trace's counts and best values against the journal; a last batch that the budget cut has no row."""
    # candidates that complete a search are not the algorithm's, and have no row
    records = [record for record in records if "rest" not in record]
    traced = _Traced(run, records, trace, np.cumsum([int(record["new"]) for record in records]))
    # each fault relies on what those before it have ruled out
    for fault_of in (_column_fault, _count_fault, _move_fault, _best_fault):
        if fault := fault_of(traced):
            return Finding("wrong", "trace", fault)
    if len(trace) < len(records) - 1:
        text = f"trace.csv ends at generation {len(trace)} of {len(records)}; --resume completes it"
        return Finding("wrong" if run.status == "finished" else "note", "trace", text)
    return Finding("ok", "trace", f"rows: {len(trace)}, with the evaluations of the journal")


def _column_fault(traced: _Traced) -> str:
    trace = traced.trace
    needed = _NEEDED if "phase" in trace else _NEEDED[:2]
    missing = [name for name in needed if name not in trace]
    if missing:
        return f"trace.csv has no column {', '.join(missing)}"
    counts = [str(c) for c in trace if str(c).startswith(("proposed_", "accepted_"))]
    has_text = any(trace[name].dtype.kind not in "iuf" for name in (*needed, *counts))
    return "trace.csv has text where a number belongs" if has_text else ""


def _count_fault(traced: _Traced) -> str:
    trace, expected = traced.trace, traced.n_eval
    if len(trace) > len(expected):
        return f"trace.csv has {len(trace)} rows and the journal {len(expected)} records"
    for k, (n_gen, n_eval) in enumerate(trace[["n_gen", "n_eval"]].to_numpy()):
        if n_gen != k + 1 or n_eval != expected[k]:
            text = f"trace.csv row {k + 1} is of generation {n_gen:g} with {n_eval:g} evaluations, the journal has "
            return f"{text}{expected[k]}"
    return ""


def _move_fault(traced: _Traced) -> str:
    trace = traced.trace
    for name in (str(c).removeprefix("proposed_") for c in trace if str(c).startswith("proposed_")):
        if f"accepted_{name}" not in trace or (trace[f"accepted_{name}"] > trace[f"proposed_{name}"]).any():
            return f"more moves {name} are accepted than proposed"
    return ""


def _best_fault(traced: _Traced) -> str:
    if not traced.is_comparable or "phase" not in traced.trace:
        return ""
    best = traced.trace["best"].to_numpy(dtype=float)
    if (np.diff(best) > TOLERANCE * np.abs(best[1:])).any():
        return "the best value becomes worse"
    # of several objectives the trace holds a scalar that the journal does not
    if len(traced.run.objectives) == 1 and len(best):
        lowest = [values(record, 1).min(initial=np.inf) for record in traced.records[: len(best)]]
        if not np.allclose(best, np.minimum.accumulate(lowest), rtol=TOLERANCE, atol=0.0):
            return "a best value is not the best that the journal holds until then"
    return ""

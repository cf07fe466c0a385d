"""What is drawn: runs with their labels, colours and markers, and quantities with their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from opt.errors import UsageError
from opt.problem import Objective
from opt.run import Run

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B3A8E")
"""Okabe and Ito's colours, told apart with any colour vision, without yellow and black; and a violet."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LineStyle = Literal["-", "--", ":", "-."]
LINES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")
GREY = "#4D4D4D"


@dataclass(frozen=True)
class Series:
    """One run as it is drawn.

    Attributes:
        run: The run.
        label: Its legend entry.
        front: Its front.csv, or the front so far of one that has not ended.
        colour: Any matplotlib colour.
        marker: Any matplotlib marker.
        line: Any matplotlib line style.
    """

    run: Run
    label: str
    front: pd.DataFrame
    colour: str
    marker: str
    line: LineStyle


def series_of(runs: Sequence[Run]) -> list[Series]:
    """The runs as they are drawn together.

    Raises:
        UsageError: The runs are of different problems or objectives, or one cannot be read.
    """
    check_comparable(runs)
    return [
        Series(
            run=run,
            label=label,
            front=_front(run),
            colour=PALETTE[k % len(PALETTE)],
            marker=MARKERS[(k + k // len(PALETTE)) % len(MARKERS)],
            line=LINES[k // len(PALETTE) % len(LINES)],
        )
        for k, (run, label) in enumerate(zip(runs, labels(runs), strict=True))
    ]


def in_order(runs: Sequence[Run]) -> list[Run]:
    """Each run once: algorithms in the order they were given, seeds ascending."""
    distinct = list({run.path.resolve(): run for run in runs}.values())
    algorithms = [run.manifest["algo"]["name"] for run in distinct]
    return sorted(distinct, key=lambda run: (algorithms.index(run.manifest["algo"]["name"]), run.manifest["seed"]))


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuse runs that do not share one problem and its objectives."""
    if not runs:
        raise UsageError("give at least one run to plot; `python -m opt.show` lists the runs")
    first = runs[0]
    for run in runs[1:]:
        a, b = first.manifest["problem"]["name"], run.manifest["problem"]["name"]
        if a != b:
            raise UsageError(f"{first.path} is of problem {a!r} and {run.path} of {b!r}; plot them apart")
        ours, theirs = ([(o.name, o.sense, o.unit) for o in r.objectives] for r in (first, run))
        if ours != theirs:
            a, b = (", ".join(_short(o) for o in r.objectives) for r in (first, run))
            raise UsageError(f"{first.path} has the objectives {a} and {run.path} has {b}; plot them apart")


def labels(runs: Sequence[Run]) -> list[str]:
    """One legend entry a run: only what differs between them, their folders' names where nothing else does."""
    if len(runs) == 1:
        return [f"{runs[0].manifest['algo']['name']} seed {runs[0].manifest['seed']}"]
    parts: list[list[str]] = [[] for _ in runs]
    facts = [_facts(run) for run in runs]
    for key in dict.fromkeys(key for fact in facts for key in fact):
        values = [fact.get(key, "") for fact in facts]
        if len(set(values)) == 1:
            continue
        short = key in ("algorithm", "seed")
        if not short and len({" ".join(p) for p in parts}) == len(runs):
            break
        for part, value in zip(parts, values, strict=True):
            if value:
                part.append(value)
    found = [" ".join(part) for part in parts]
    if len(set(found)) < len(runs):
        found = [
            label if label and found.count(label) == 1 else f"{label} {run.path.name}".strip()
            for label, run in zip(found, runs, strict=True)
        ]
    if len(set(found)) < len(runs):
        found = [str(run.path) for run in runs]
    return found


def subject(runs: Sequence[Run]) -> str:
    """Title of a picture: the problem and what the runs have in common."""
    parts = [str(runs[0].manifest["problem"]["name"])]
    algorithms = {run.manifest["algo"]["name"] for run in runs}
    seeds = {run.manifest["seed"] for run in runs}
    if len(algorithms) == 1:
        parts.append(algorithms.pop())
    if len(seeds) == 1:
        parts.append(f"seed {seeds.pop()}")
    return ", ".join(parts)


def _facts(run: Run) -> dict[str, str]:
    """What may tell a run apart, most telling first, as it is written in a label."""
    manifest = run.manifest
    facts = {"algorithm": str(manifest["algo"]["name"]), "seed": f"seed {manifest['seed']}"}
    for group in (manifest["problem"].get("parameters"), manifest["algo"].get("parameters"), manifest.get("budget")):
        for name, value in (group or {}).items():
            facts[f"{name}="] = f"{name}={_plain(value)}"
    return facts


def _plain(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:10] + "…" + text[-12:]


def _short(objective: Objective) -> str:
    return f"{objective.label} ({objective.sense})"


def _front(run: Run) -> pd.DataFrame:
    front = run.front if run.has_front else run.front_so_far.table
    for objective in run.objectives:
        if objective.name not in front:
            raise UsageError(f"{run.path / 'front.csv'} has no column {objective.name!r}; resume or repeat the run")
    return front


@dataclass(frozen=True)
class Quantity:
    """What an axis shows: an objective as the search measured it, or its held-out counterpart.

    Args:
        objective: The objective.
        column: The column that holds it.
        whole: When given, the column holds `whole` minus the quantity, as accuracy does for error.
    """

    objective: Objective
    column: str
    whole: float | None = None

    @property
    def label(self) -> str:
        """Axis label."""
        return self.objective.label if self.column == self.objective.name else f"test {self.objective.label}"

    @property
    def sign(self) -> float:
        """+1 when less is better, -1 when more is."""
        return self.objective.sign

    def values(self, table: pd.DataFrame) -> np.ndarray:
        """(n,) float64 values of a table's rows; NaN where there is none."""
        if self.column not in table:
            return np.full(len(table), np.nan)
        values = pd.to_numeric(table[self.column], errors="coerce").to_numpy(dtype=float)
        return values if self.whole is None else self.whole - values


def search_quantity(objective: Objective) -> Quantity:
    """The objective as the search measured it."""
    return Quantity(objective, objective.name)


def test_quantity(objective: Objective, tables: Sequence[pd.DataFrame]) -> Quantity | None:
    """The objective's held-out counterpart among the columns, `test_error` or `test_accuracy` for error."""
    columns = {str(column) for table in tables for column in table.columns}
    if f"test_{objective.name}" in columns:
        return Quantity(objective, f"test_{objective.name}")
    for one, other in (("error", "accuracy"), ("accuracy", "error")):
        if one in objective.name:
            column = f"test_{objective.name.replace(one, other)}"
            if column in columns:
                return Quantity(objective, column, whole=100.0 if objective.unit in ("%", "percent") else 1.0)
    return None


test_quantity.__test__ = False  # type: ignore[attr-defined]


def finite(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of x and y, (n,) each, of which both are finite."""
    ok = np.isfinite(x) & np.isfinite(y)
    return x[ok], y[ok]

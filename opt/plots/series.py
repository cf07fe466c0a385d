"""Data series of plots: runs with their labels, colours and markers, and quantities with their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.plots.number_format import PLAIN, Magnitude, magnitude_of
from opt.problem import Objective
from opt.runs.run import Run

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B3A8E")
"""Okabe and Ito's colours, told apart with any colour vision, without yellow and black; and a violet."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LineStyle = Literal["-", "--", ":", "-."]
LINES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")
GREY = "#4D4D4D"
FEW_SEEDS = len(PALETTE)
"""So many runs that differ in their seeds alone are drawn run by run."""
MOST_GROUPS = 2 * len(PALETTE)
"""Of more settings than this, each with repeats, the algorithms alone are told apart."""


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
        group: What it is a repeat of, where runs are drawn as repeats of settings; else "".
    """

    run: Run
    label: str
    front: pd.DataFrame
    colour: str
    marker: str
    line: LineStyle
    group: str = ""


def series_of(runs: Sequence[Run]) -> list[Series]:
    """The runs as they are drawn together: one look each, or one for all repeats of a setting.

    Raises:
        UsageError: The runs are of different problems or objectives, or one cannot be read.
    """
    check_comparable(runs)
    groups = repeats(runs)
    looks = groups or [str(k) for k in range(len(runs))]
    order = list(dict.fromkeys(looks))
    series = []
    for run, label, look, group in zip(runs, labels(runs), looks, groups or [""] * len(runs), strict=True):
        k = order.index(look)
        series.append(
            Series(
                run=run,
                label=label,
                front=_front(run),
                colour=PALETTE[k % len(PALETTE)],
                marker=MARKERS[(k + k // len(PALETTE)) % len(MARKERS)],
                line=LINES[k // len(PALETTE) % len(LINES)],
                group=group,
            )
        )
    return series


def grouped(series: Sequence[Series]) -> dict[str, list[Series]]:
    """The runs of each group by its name, in order; empty where runs are drawn one by one."""
    groups: dict[str, list[Series]] = {}
    for s in series:
        if s.group:
            groups.setdefault(s.group, []).append(s)
    return groups


def group_label(group: str, series: Sequence[Series]) -> str:
    """A group's legend entry, with the number of its repeats."""
    seeds = {s.run.manifest["seed"] for s in series}
    what = "seed" if len(seeds) == len(series) else "run"
    empty = sum(not len(s.front) for s in series)
    without = f", {empty} of them without a solution" if empty else ""
    return f"{group}, {len(series)} {what}{'s' if len(series) > 1 else ''}{without}"


def repeats(runs: Sequence[Run]) -> list[str]:
    """What each run is a repeat of; nothing where runs are to be drawn one by one.

    Repeats differ in their seeds alone. Where there are many settings, or each has a single run, the algorithms are
    the groups. A few seeds of one setting are drawn one by one, and so is what is never repeated.
    """
    names = _setting_names(runs)
    if not _are_repeated(names) or len(set(names)) > MOST_GROUPS:
        algorithms = [str(run.manifest["algo"]["name"]) for run in runs]
        if len(set(algorithms)) > 1 and _are_repeated(algorithms) and len(runs) > FEW_SEEDS:
            names = algorithms
    if not _are_repeated(names) or (len(set(names)) == 1 and len(runs) <= FEW_SEEDS):
        return []
    return names


def _are_repeated(names: Sequence[str]) -> bool:
    return len(set(names)) < len(names)


def in_order(runs: Sequence[Run]) -> list[Run]:
    """Each run once: algorithms in the order they were given, seeds ascending."""
    distinct = list({run.path.resolve(): run for run in runs}.values())
    algorithms = [run.manifest["algo"]["name"] for run in distinct]
    return sorted(distinct, key=lambda run: (algorithms.index(run.manifest["algo"]["name"]), run.manifest["seed"]))


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuse runs that do not share one problem and its objectives."""
    if not runs:
        raise UsageError(f"give at least one run to plot; `{spelled('show')}` lists the runs")
    first = runs[0]
    for run in runs[1:]:
        a, b = first.manifest["problem"]["name"], run.manifest["problem"]["name"]
        if a != b:
            raise UsageError(f"{first.path} is of problem {a!r} and {run.path} of {b!r}; plot them apart")
        ours, theirs = ([(o.name, o.sense, o.unit) for o in r.objectives] for r in (first, run))
        if ours != theirs:
            a, b = (", ".join(_in_words(o) for o in r.objectives) for r in (first, run))
            raise UsageError(f"{first.path} has the objectives {a} and {run.path} has {b}; plot them apart")


def labels(runs: Sequence[Run]) -> list[str]:
    """One legend entry a run: only what differs between them, their folders' names where nothing else does."""
    if len(runs) == 1:
        return [f"{runs[0].manifest['algo']['name']} seed {runs[0].manifest['seed']}"]
    names = _differences([_facts(run) for run in runs])
    if len(set(names)) < len(runs):
        names = [
            label if label and names.count(label) == 1 else f"{label} {run.path.name}".strip()
            for label, run in zip(names, runs, strict=True)
        ]
    if len(set(names)) < len(runs):
        names = [str(run.path) for run in runs]
    return names


def _setting_names(runs: Sequence[Run]) -> list[str]:
    """A name for the setting of each run, everything but its seed: what differs between the settings."""
    settings = [{name: value for name, value in _facts(run).items() if name != "seed"} for run in runs]
    whole = [_setting(run) for run in runs]
    first = {key: k for k, key in reversed(list(enumerate(whole)))}
    order = sorted(first, key=first.__getitem__)
    names: dict[str, str] = {}
    for key, name in zip(order, _differences([settings[first[key]] for key in order]), strict=True):
        name = name or settings[first[key]]["algorithm"]
        # long values are shortened in a name and may then be equal
        names[key] = f"{name} ({len(names) + 1})" if name in names.values() else name
    return [names[key] for key in whole]


def _setting(run: Run) -> str:
    """All that was asked for but the seed, as one text."""
    problem, algorithm = run.manifest["problem"].get("parameters"), run.manifest["algo"]
    return repr((problem, algorithm["name"], algorithm.get("parameters"), run.manifest.get("budget")))


def _differences(facts: Sequence[dict[str, str]]) -> list[str]:
    """What tells each from the others, in few words: algorithm and seed, then one parameter after the other."""
    parts: list[list[str]] = [[] for _ in facts]
    for key in dict.fromkeys(key for fact in facts for key in fact):
        values = [fact.get(key, "") for fact in facts]
        if len(set(values)) == 1:
            continue
        short = key in ("algorithm", "seed")
        if not short and len({" ".join(p) for p in parts}) == len(facts):
            break
        for part, value in zip(parts, values, strict=True):
            if value:
                part.append(value)
    return [" ".join(part) for part in parts]


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


def _in_words(objective: Objective) -> str:
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
        magnitude: What its numbers are counted in.
    """

    objective: Objective
    column: str
    whole: float | None = None
    magnitude: Magnitude = PLAIN

    @property
    def label(self) -> str:
        """Axis label."""
        name = self.objective.label if self.column == self.objective.name else f"test {self.objective.label}"
        return self.magnitude.label(name)

    @property
    def sign(self) -> float:
        """+1 when less is better, -1 when more is."""
        return self.objective.sign

    def values(self, table: pd.DataFrame) -> np.ndarray:
        """(n,) float64 values of a table's rows, counted in the magnitude; NaN where there is none."""
        if self.column not in table:
            return np.full(len(table), np.nan)
        values = pd.to_numeric(table[self.column], errors="coerce").to_numpy(dtype=float)
        return self.magnitude(values if self.whole is None else self.whole - values)


def counted(quantities: Sequence[Quantity], tables: Sequence[pd.DataFrame]) -> Magnitude:
    """What the quantities' values in all these tables can be counted in together."""
    plain = [replace(quantity, magnitude=PLAIN) for quantity in quantities]
    return magnitude_of(*(quantity.values(table) for quantity in plain for table in tables))


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

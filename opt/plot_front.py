"""The picture of fronts: every pair of objectives, the held-out values, and the references beside them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opt.archive import nondominated
from opt.plot_series import GREY, Quantity, Series, few_ticks, search_quantity, subject, test_quantity
from opt.problem import Objective

DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
CURVE_MARKERS = ("x", "+", "1", "2", "3", "4")
REFERENCE_COLOURS = ("black", "#7F7F7F", "#A65628")
POINT_MARKERS = ("*", "p", "h", "8", "H", "d")
CURVE_WIGGLE = 4.0
"""A reference whose sorted y travels farther than so many times its range is a cloud, not a curve."""
CROWDED = 60
"""A staircase of more points is drawn without large markers."""
LONG_LEGEND = 14


@dataclass(frozen=True)
class Panel:
    """One pair of quantities and its place in the grid."""

    row: int
    column: int
    x: Quantity
    y: Quantity


@dataclass(frozen=True)
class ReferenceSet:
    """All rows of one reference, from every run that brings it: one table each where they differ."""

    name: str
    tables: list[pd.DataFrame]
    colour: str
    marker: str
    dashes: tuple[float, tuple[float, ...]]
    is_cloud: bool

    @property
    def is_point(self) -> bool:
        """Whether it is a single solution, such as the parent."""
        return all(len(table) == 1 for table in self.tables)

    @property
    def style(self) -> dict[str, Any]:
        """How it is drawn, in the panels and in the legend: a mark, a dashed curve, or a cloud of dots."""
        if self.is_point:
            edge = {"markeredgecolor": "white", "markeredgewidth": 0.7}
            return {"color": self.colour, "linestyle": "none", "marker": self.marker, "markersize": 11.0, **edge}
        if self.is_cloud:
            return {"color": self.colour, "linestyle": "none", "marker": ".", "markersize": 2.5, "alpha": 0.5}
        marker = self.marker if max(len(table) for table in self.tables) <= CROWDED else None
        look = {"color": self.colour, "linestyle": self.dashes, "linewidth": 1.0, "alpha": 0.9}
        return {**look, "marker": marker, "markersize": 4.5}


def front_figure(series: Sequence[Series]) -> Figure:
    """The fronts of runs of one problem, as a figure to be saved.

    Two objectives give one panel, more give the matrix of their pairs. Where held-out values were
    measured they are drawn too, in panels of their own. One objective gives a strip of each run's best.
    """
    objectives = series[0].run.objectives
    references = _references(series)
    if len(objectives) == 1:
        return _strip_figure(series, references)
    panels = _panels(series)
    n_rows, n_columns = (1 + max(getattr(p, side) for p in panels) for side in ("row", "column"))
    size = 4.2 if len(panels) <= 2 else max(2.0, min(3.0, 14.0 / n_columns))
    inside = n_columns >= 2 and n_rows >= 2 and len(series) + len(references) <= LONG_LEGEND
    figure = Figure(figsize=(size * n_columns + (0.9 if inside else 2.6), size * n_rows + 0.7), layout="constrained")
    grid = figure.add_gridspec(n_rows, n_columns)
    axes: dict[tuple[int, int], Axes] = {}
    for panel in panels:
        ax = figure.add_subplot(grid[panel.row, panel.column])
        axes[panel.row, panel.column] = ax
        _draw_pair(ax, panel, series, references)
    _share(panels, axes)
    _say_empty(list(axes.values()), series)
    handles = _handles(series, references)
    if inside:
        place = figure.add_subplot(grid[0, 1:], label="legend")
        place.set_axis_off()
        place.legend(handles=handles, loc="upper left", borderaxespad=0.0, fontsize=9, frameon=False)
    else:
        figure.legend(handles=handles, loc="outside right upper", fontsize=9, frameon=False)
    _title(figure, series, f"Pareto front: {subject([s.run for s in series])}")
    return figure


def _panels(series: Sequence[Series]) -> list[Panel]:
    """The corner matrix of the search values, and under it (beside it for two objectives) the held-out ones.

    Objectives with a held-out counterpart come last, so that they stand on the y axes.
    """
    objectives = series[0].run.objectives
    tables = [table for s in series for table in (s.front, s.run.references)]
    tests = {o.name: t for o in objectives if (t := test_quantity(o, tables)) is not None}
    untested = [o for o in objectives if o.name not in tests]
    ordered = [search_quantity(o) for o in [*untested, *(o for o in objectives if o.name in tests)]]
    panels = [
        Panel(row - 1, column, ordered[column], ordered[row]) for row in range(1, len(ordered)) for column in range(row)
    ]
    held_out = [tests[q.objective.name] for q in ordered if q.objective.name in tests]
    xs = ordered[: len(untested)] or held_out[:1]
    ys = held_out if untested else held_out[1:]
    if len(objectives) == 2:
        return panels + [Panel(0, 1 + k, xs[0], y) for k, y in enumerate(ys)]
    return panels + [Panel(len(ordered) - 1 + k, column, x, y) for k, y in enumerate(ys) for column, x in enumerate(xs)]


def _share(panels: Sequence[Panel], axes: dict[tuple[int, int], Axes]) -> None:
    """One scale for one quantity in a column or row; its label and numbers only at the outer panels."""
    for panel in panels:
        ax = axes[panel.row, panel.column]
        lowest = max((p for p in panels if p.column == panel.column and p.x == panel.x), key=lambda p: p.row)
        leftmost = min((p for p in panels if p.row == panel.row and p.y == panel.y), key=lambda p: p.column)
        if lowest is not panel:
            ax.sharex(axes[lowest.row, lowest.column])
            ax.tick_params(labelbottom=False)
        else:
            ax.set_xlabel(panel.x.label)
        if leftmost is not panel:
            ax.sharey(axes[leftmost.row, leftmost.column])
            ax.tick_params(labelleft=False)
        else:
            ax.set_ylabel(panel.y.label)
        if len(panels) == 2 and panel.column == 1 and panels[0].y.objective == panel.y.objective:
            ax.sharey(axes[0, 0])
    for ax in axes.values():
        ax.autoscale_view()
        few_ticks(ax)


def _draw_pair(ax: Axes, panel: Panel, series: Sequence[Series], references: Sequence[ReferenceSet]) -> None:
    for reference in references:
        for table in reference.tables:
            x, y = _finite(panel.x.values(table), panel.y.values(table))
            _draw_reference(ax, reference, x, y)
    for k, s in enumerate(series):
        x, y = _finite(panel.x.values(s.front), panel.y.values(s.front))
        if not len(x):
            continue
        # the first run is drawn last, so that it lies above the rest as it stands above them in the legend
        order = 3 + 0.01 * (len(series) - k)
        best = staircase(x * panel.x.sign, y * panel.y.sign)
        many = len(x) > CROWDED
        light = np.ones(len(x), dtype=bool)
        light[best] = False
        ax.plot(
            x[light],
            y[light],
            linestyle="none",
            marker=s.marker,
            markersize=2.5 if many else 4.0,
            markeredgewidth=0.0,
            color=s.colour,
            alpha=(0.25 if many else 0.4) / (1.0 if len(series) == 1 else 1.6),
            rasterized=len(x) > 1000,
            zorder=order - 1,
            gid="front",
        )
        ax.plot(
            x[best],
            y[best],
            drawstyle="steps-post",
            linestyle=s.line,
            linewidth=1.1,
            marker=s.marker,
            markersize=_marker_size(len(best)),
            markeredgewidth=0.0,
            color=s.colour,
            zorder=order,
            gid="staircase",
        )
    ax.grid(True, color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)


def staircase(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the nondominated points of a pair, from the least x on.

    Args:
        x: (n,) float64, minimised, finite.
        y: (n,) float64, likewise.

    Returns:
        (k,) int64; along them x rises and y falls.
    """
    if not len(x):
        return np.empty(0, dtype=np.int64)
    best = np.flatnonzero(nondominated(np.column_stack([x, y])))
    return best[np.argsort(x[best], kind="stable")]


def _draw_reference(ax: Axes, reference: ReferenceSet, x: np.ndarray, y: np.ndarray) -> None:
    if not len(x):
        return
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    ax.plot(x, y, **reference.style, zorder=5 if reference.is_point else 1.5, gid="reference")


def _references(series: Sequence[Series]) -> list[ReferenceSet]:
    """The references of all runs; what several runs bring alike is kept once."""
    objectives = series[0].run.objectives
    found: dict[str, list[pd.DataFrame]] = {}
    for s in series:
        table = s.run.references
        shown = [c for c in table.columns if str(c).startswith("test_") or c in {o.name for o in objectives}]
        for name, rows in table.groupby("reference", sort=False):
            values = rows[shown].reset_index(drop=True)
            known = found.setdefault(str(name), [])
            if not any(values.equals(other) for other in known):
                known.append(values)
    sets: list[ReferenceSet] = []
    for is_point in (False, True):
        names = [name for name, tables in found.items() if (max(map(len, tables)) == 1) == is_point]
        markers = POINT_MARKERS if is_point else CURVE_MARKERS
        for k, name in enumerate(names):
            sets.append(
                ReferenceSet(
                    name=name,
                    tables=found[name],
                    colour=REFERENCE_COLOURS[k % len(REFERENCE_COLOURS)],
                    marker=markers[k % len(markers)],
                    dashes=DASHES[k % len(DASHES)],
                    is_cloud=any(_is_cloud(table, objectives) for table in found[name]),
                )
            )
    return sets


def _is_cloud(table: pd.DataFrame, objectives: Sequence[Objective]) -> bool:
    """Whether some pair of objectives shows the table's rows as a surface rather than as a curve."""
    for ox, oy in itertools.combinations(objectives, 2):
        x, y = _finite(search_quantity(ox).values(table), search_quantity(oy).values(table))
        span = float(np.ptp(y)) if len(y) > 8 else 0.0
        if span > 0 and float(np.abs(np.diff(y[np.lexsort((y, x))])).sum()) > CURVE_WIGGLE * span:
            return True
    return False


def _handles(series: Sequence[Series], references: Sequence[ReferenceSet]) -> list[Artist]:
    handles: list[Artist] = []
    for s in series:
        n = len(s.front)
        label = s.label if n else f"{s.label} (empty front)"
        if len(series) == 1 and n:
            label = f"front ({n} solution{'s' if n > 1 else ''})"
        handles.append(
            Line2D([], [], color=s.colour, linestyle=s.line, marker=s.marker, markersize=5, linewidth=1.1, label=label)
        )
    for r in references:
        handles.append(Line2D([], [], **(r.style | ({"markersize": 5.0} if r.is_cloud else {})), label=r.name))
    return handles


def _title(figure: Figure, series: Sequence[Series], title: str) -> None:
    figure.suptitle(title, fontsize=11)
    objectives = series[0].run.objectives
    notes = []
    if len(objectives) > 2:
        notes.append("lines: nondominated within the panel")
    if any(o.sign < 0 for o in objectives):
        notes.append("better: " + ", ".join(f"{'less' if o.sign > 0 else 'more'} {o.name}" for o in objectives))
    if notes:
        figure.supxlabel("; ".join(notes), fontsize=8, color=GREY)


def _say_empty(axes: Sequence[Axes], series: Sequence[Series]) -> None:
    if any(len(s.front) for s in series):
        return
    box = {"facecolor": "white", "edgecolor": "0.8", "boxstyle": "round"}
    for ax in axes:
        text = ax.text(0.5, 0.5, "empty front:\nno feasible solution", ha="center", va="center", fontsize=9, zorder=6)
        text.set(transform=ax.transAxes, bbox=box)


def _strip_figure(series: Sequence[Series], references: Sequence[ReferenceSet]) -> Figure:
    """One objective: each run's best beside the references, and its held-out value where there is one."""
    objective = series[0].run.objectives[0]
    search = search_quantity(objective)
    test = test_quantity(objective, [s.front for s in series])
    figure = Figure(figsize=(3.4 + min(0.8 * len(series), 6.0), 4.4), layout="constrained")
    ax = figure.add_subplot()
    handles: list[Artist] = []
    for quantity, filled in [(search, True)] + ([(test, False)] if test else []):
        handles.append(_hollow_or_filled(GREY, "o", filled, label=f"best, {'search' if filled else 'held-out'} value"))
        for k, s in enumerate(series):
            y = quantity.values(s.front)
            y = y[np.isfinite(y)]
            line = _hollow_or_filled(s.colour, s.marker, filled)
            line.set_data(np.full(len(y), k - 0.12 if filled and test else k + 0.12 if test else float(k)), y)
            line.set_gid("front" if filled else "test")
            ax.add_line(line)
    for reference in references:
        y = np.concatenate([search.values(table) for table in reference.tables])
        y = y[np.isfinite(y)]
        if len(y):
            best = float((y * search.sign).min() * search.sign)
            line = ax.axhline(best, color=reference.colour, linestyle=reference.dashes, linewidth=1.0, gid="reference")
            handles.append(Line2D([], [], color=line.get_color(), linestyle=line.get_linestyle(), label=reference.name))
    ax.set_xlim(-0.6, len(series) - 0.4)
    ax.set_xticks(
        range(len(series)),
        [s.label for s in series],
        rotation=30 if len(series) > 2 else 0,
        ha="right" if len(series) > 2 else "center",
    )
    ax.autoscale_view(scalex=False)
    ax.margins(y=0.15)
    few_ticks(ax, x=False)
    ax.set_ylabel(objective.label)
    ax.grid(True, axis="y", color="0.92", linewidth=0.6)
    _say_empty([ax], series)
    figure.legend(handles=handles, loc="outside right upper", fontsize=9, frameon=False)
    _title(figure, series, f"Best solution: {subject([s.run for s in series])}")
    return figure


def _hollow_or_filled(colour: str, marker: str, filled: bool, label: str | None = None) -> Line2D:
    return Line2D(
        [],
        [],
        color=colour,
        linestyle="none",
        marker=marker,
        markersize=7,
        markerfacecolor=colour if filled else "none",
        label=label,
    )


def _finite(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ok = np.isfinite(x) & np.isfinite(y)
    return x[ok], y[ok]


def _marker_size(n: int) -> float:
    return 4.5 if n <= CROWDED else 3.0 if n <= 300 else 1.8

"""The picture of fronts: every pair of objectives, the held-out values, and the references beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opt.archive import nondominated
from opt.plot_layout import (
    LEGEND_LINE,
    LEGEND_SIZE,
    Scale,
    heading,
    helpful_scale,
    legend_below,
    legend_beside,
    legend_width,
    say_empty,
)
from opt.plot_references import CROWDED, ReferenceSet, references_of
from opt.plot_series import Quantity, Series, finite, search_quantity, subject, test_quantity
from opt.plot_strip import strip_figure


@dataclass(frozen=True)
class Panel:
    """One pair of quantities and its place in the grid."""

    row: int
    column: int
    x: Quantity
    y: Quantity


def front_figure(series: Sequence[Series]) -> Figure:
    """The fronts of runs of one problem, as a figure to be saved.

    Two objectives give one panel, more give the matrix of their pairs. Where held-out values were
    measured they are drawn too, in panels of their own. One objective gives a strip of each run's best.
    """
    objectives = series[0].run.objectives
    if len(objectives) == 1:
        return strip_figure(series)
    references = references_of(series)
    panels = _panels(series)
    n_rows, n_columns = (1 + max(getattr(p, side) for p in panels) for side in ("row", "column"))
    size = 4.2 if len(panels) <= 2 else max(2.0, min(3.0, 14.0 / n_columns))
    handles = _handles(series, references)
    width, height = legend_width(handles), LEGEND_LINE * len(handles)
    # a matrix has an empty corner for the legend; one that does not fit goes below, and beside a single row
    is_row = n_rows == 1
    in_corner = not is_row and height < size and width < size * (n_columns - 1)
    figure = Figure(
        figsize=(
            size * n_columns + (0.9 + width if is_row else 0.9),
            max(size * n_rows, height if is_row else 0) + 0.7,
        ),
        layout="constrained",
    )
    grid = figure.add_gridspec(n_rows, n_columns)
    axes: dict[tuple[int, int], Axes] = {}
    for panel in panels:
        ax = figure.add_subplot(grid[panel.row, panel.column])
        axes[panel.row, panel.column] = ax
        _draw_pair(ax, panel, series, references)
    _share(panels, axes, _scales(series, references))
    say_empty(list(axes.values()), series)
    if in_corner:
        place = figure.add_subplot(grid[0, 1:], label="legend")
        place.set_axis_off()
        place.legend(handles=handles, loc="upper left", borderaxespad=0.0, fontsize=LEGEND_SIZE, frameon=False)
    elif is_row:
        legend_beside(axes[0, n_columns - 1], handles)
    else:
        legend_below(figure, handles)
    heading(figure, series, f"Pareto front: {subject([s.run for s in series])}")
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


def _scales(series: Sequence[Series], references: Sequence[ReferenceSet]) -> dict[str, Scale]:
    """The scale of each objective, by its name: one for its search and its held-out values."""
    scales = {}
    for objective in series[0].run.objectives:
        quantity = search_quantity(objective)
        fronts = np.concatenate([quantity.values(s.front) for s in series])
        known = np.concatenate([np.empty(0), *(quantity.values(table) for r in references for table in r.tables)])
        scales[objective.name] = helpful_scale(fronts[np.isfinite(fronts)], known[np.isfinite(known)])
    return scales


def _share(panels: Sequence[Panel], axes: dict[tuple[int, int], Axes], scales: dict[str, Scale]) -> None:
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
    for panel in panels:
        ax = axes[panel.row, panel.column]
        scales[panel.x.objective.name].apply(ax, "x")
        scales[panel.y.objective.name].apply(ax, "y")
    for ax in axes.values():
        ax.autoscale_view()


def _draw_pair(ax: Axes, panel: Panel, series: Sequence[Series], references: Sequence[ReferenceSet]) -> None:
    for reference in references:
        for table in reference.tables:
            x, y = finite(panel.x.values(table), panel.y.values(table))
            _draw_reference(ax, reference, x, y)
    for k, s in enumerate(series):
        x, y = finite(panel.x.values(s.front), panel.y.values(s.front))
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


def _marker_size(n: int) -> float:
    return 4.5 if n <= CROWDED else 3.0 if n <= 300 else 1.8

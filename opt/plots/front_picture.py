"""The picture of Pareto fronts: every pair of objectives, the held-out values, and the references beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opt.plots.axes_layout import (
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
from opt.plots.reference_markers import CROWDED, ReferenceSet, references_of
from opt.plots.repeats import draw_repeats, repeats_handles
from opt.plots.series import Quantity, Series, counted, finite, grouped, search_quantity, subject, test_quantity
from opt.plots.stairs import draw_set, staircase
from opt.plots.strip import strip_figure

__all__ = ["front_figure", "staircase"]


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
    Repeats of a setting are drawn as what half of them attain, with the range from the best to the worst.
    """
    objectives = series[0].run.objectives
    if len(objectives) == 1:
        return strip_figure(series)
    references = references_of(series)
    panels = _counted(_panels(series), series, references)
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
    _share(panels, axes, _scales(panels, series, references))
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
    tested = [o for o in objectives if o.name in tests]
    untested = [o for o in objectives if o.name not in tests]
    search = [search_quantity(o) for o in [*untested, *tested]]
    matrix = [
        Panel(row - 1, column, search[column], search[row]) for row in range(1, len(search)) for column in range(row)
    ]
    return matrix + _held_out_panels(search, [tests[o.name] for o in tested])


def _held_out_panels(search: Sequence[Quantity], held_out: Sequence[Quantity]) -> list[Panel]:
    """The panels of the held-out values, each over the objectives that have none, or over the first that has.

    Args:
        search: The objectives' search values; those with a held-out counterpart come last.
        held_out: The counterparts, in the same order.
    """
    n_untested = len(search) - len(held_out)
    xs = search[:n_untested] or held_out[:1]
    ys = held_out if n_untested else held_out[1:]
    if len(search) == 2:
        return [Panel(0, 1 + k, xs[0], y) for k, y in enumerate(ys)]
    return [Panel(len(search) - 1 + k, column, x, y) for k, y in enumerate(ys) for column, x in enumerate(xs)]


def _counted(panels: Sequence[Panel], series: Sequence[Series], references: Sequence[ReferenceSet]) -> list[Panel]:
    """The panels with what they are counted in: one magnitude for an objective's search and held-out values."""
    tables = [*(s.front for s in series), *(table for r in references for table in r.tables)]
    shown = [quantity for panel in panels for quantity in (panel.x, panel.y)]
    same = {q.objective.name: counted([o for o in shown if o.objective == q.objective], tables) for q in shown}

    def own(quantity: Quantity) -> Quantity:
        return replace(quantity, magnitude=same[quantity.objective.name])

    return [replace(panel, x=own(panel.x), y=own(panel.y)) for panel in panels]


def _scales(panels: Sequence[Panel], series: Sequence[Series], references: Sequence[ReferenceSet]) -> dict[str, Scale]:
    """The scale of each objective, by its name: one for its search and its held-out values."""
    scales = {}
    for quantity in (q for panel in panels for q in (panel.x, panel.y)):
        searched = replace(quantity, column=quantity.objective.name, whole=None)
        fronts = np.concatenate([searched.values(s.front) for s in series])
        beside = np.concatenate([np.empty(0), *(searched.values(table) for r in references for table in r.tables)])
        scales[quantity.objective.name] = helpful_scale(fronts[np.isfinite(fronts)], beside[np.isfinite(beside)])
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
    signs = panel.x.sign, panel.y.sign
    for reference in references:
        for table in reference.tables:
            x, y = finite(panel.x.values(table), panel.y.values(table))
            draw_set(ax, x, y, signs=signs, stairs=reference.stairs, rest=reference.rest)
    pairs = [finite(panel.x.values(s.front), panel.y.values(s.front)) for s in series]
    if grouped(series):
        draw_repeats(ax, series, pairs, signs=signs)
    else:
        for k, (s, (x, y)) in enumerate(zip(series, pairs, strict=True)):
            # the first run is drawn last, so that it lies above the rest as it stands above them in the legend
            _draw_run(ax, s, x, y, signs=signs, order=3 + 0.01 * (len(series) - k), is_alone=len(series) == 1)
    ax.grid(True, color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)


def _draw_run(
    ax: Axes, s: Series, x: np.ndarray, y: np.ndarray, *, signs: tuple[float, float], order: float, is_alone: bool
) -> None:
    many = len(x) > CROWDED
    n_best = len(staircase(x * signs[0], y * signs[1]))
    draw_set(
        ax,
        x,
        y,
        signs=signs,
        stairs={
            "linestyle": s.line,
            "linewidth": 1.1,
            "marker": s.marker,
            "markersize": 4.5 if n_best <= CROWDED else 3.0 if n_best <= 300 else 1.8,
            "markeredgewidth": 0.0,
            "color": s.colour,
            "zorder": order,
            "gid": "staircase",
        },
        rest={
            "marker": s.marker,
            "markersize": 2.5 if many else 4.0,
            "color": s.colour,
            "alpha": (0.25 if many else 0.4) / (1.0 if is_alone else 1.6),
            "zorder": order - 1,
            "gid": "front",
        },
    )


def _handles(series: Sequence[Series], references: Sequence[ReferenceSet]) -> list[Artist]:
    handles: list[Artist] = repeats_handles(series)
    for s in [] if handles else series:
        n = len(s.front)
        label = s.label if n else f"{s.label} (empty front)"
        if len(series) == 1 and n:
            label = f"front ({n} solution{'s' if n > 1 else ''})"
        handles.append(
            Line2D([], [], color=s.colour, linestyle=s.line, marker=s.marker, markersize=5, linewidth=1.1, label=label)
        )
    is_pair = len(series[0].run.objectives) == 2
    return handles + [reference.handle(is_pair=is_pair) for reference in references]

"""The strip plot of a single objective: each run's best solution as a point on a strip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opt.plots.axes_layout import few_ticks, heading, legend_beside, legend_width, say_empty
from opt.plots.reference_markers import ReferenceSet, references_of
from opt.plots.series import (
    GREY,
    Quantity,
    Series,
    counted,
    group_label,
    grouped,
    search_quantity,
    subject,
    test_quantity,
)

WIDTH = 0.5
"""The runs of a group take so much of the way to the next one."""
SHIFT = 0.12
"""Search and held-out values stand so far to the left and right of a run's place."""


def strip_figure(series: Sequence[Series]) -> Figure:
    """One objective: each run's best beside the references, and its held-out value where there is one.

    Repeats of a setting stand side by side about one place, with their median.
    """
    references = references_of(series)
    search, test = _quantities(series, references)
    figure = Figure(figsize=(6.0, 4.4), layout="constrained")
    ax = figure.add_subplot()
    shift = 0.0 if test is None else SHIFT
    handles = [_draw_bests(ax, series, search, is_test=False, shift=-shift)]
    if test is not None:
        handles.append(_draw_bests(ax, series, test, is_test=True, shift=shift))
    names = _draw_medians(ax, series, search, shift=-shift, handles=handles)
    handles += _draw_references(ax, references, search)
    _set_axes(ax, names, search)
    say_empty([ax], series)
    legend_beside(ax, handles)
    figure.set_figwidth(1.2 + max(2.5, 0.8 * len(names)) + legend_width(handles))
    heading(figure, series, f"Best solution: {subject([s.run for s in series])}")
    return figure


def _quantities(series: Sequence[Series], references: Sequence[ReferenceSet]) -> tuple[Quantity, Quantity | None]:
    """The objective as the search measured it and its held-out counterpart, both counted in one magnitude."""
    objective = series[0].run.objectives[0]
    tables = [*(s.front for s in series), *(table for r in references for table in r.tables)]
    search, test = search_quantity(objective), test_quantity(objective, [s.front for s in series])
    magnitude = counted([search] if test is None else [search, test], tables)
    return replace(search, magnitude=magnitude), None if test is None else replace(test, magnitude=magnitude)


def _draw_bests(ax: Axes, series: Sequence[Series], quantity: Quantity, *, is_test: bool, shift: float) -> Artist:
    """Draw each run's best, filled for the search value and hollow for the held-out one; their legend entry."""
    for s, place in zip(series, _places(series), strict=True):
        y = _finite_values(quantity, s.front)
        line = _mark(s.colour, s.marker, is_filled=not is_test, is_repeat=bool(s.group))
        line.set_data(np.full(len(y), place + shift), y)
        line.set_gid("test" if is_test else "front")
        ax.add_line(line)
    label = f"best, {'held-out' if is_test else 'search'} value"
    return _mark(GREY, "o", is_filled=not is_test, label=label)


def _draw_references(ax: Axes, references: Sequence[ReferenceSet], search: Quantity) -> list[Artist]:
    """Draw the best of each reference as a line across; their legend entries."""
    handles: list[Artist] = []
    for reference in references:
        y = np.concatenate([_finite_values(search, table) for table in reference.tables])
        if len(y):
            best = float((y * search.sign).min() * search.sign)
            line = ax.axhline(best, color=reference.colour, linestyle=reference.dashes, linewidth=1.0, gid="reference")
            handles.append(Line2D([], [], color=line.get_color(), linestyle=line.get_linestyle(), label=reference.name))
    return handles


def _set_axes(ax: Axes, names: Sequence[str], search: Quantity) -> None:
    """Name the places, in slanted letters where they are many, and label the values."""
    is_slanted = len(names) > 2
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_xticks(range(len(names)), names, rotation=30 if is_slanted else 0, ha="right" if is_slanted else "center")
    ax.autoscale_view(scalex=False)
    ax.margins(y=0.15)
    few_ticks(ax, x=False)
    ax.set_ylabel(search.label)
    ax.grid(True, axis="y", color="0.92", linewidth=0.6)


def _finite_values(quantity: Quantity, table: pd.DataFrame) -> np.ndarray:
    values = quantity.values(table)
    return values[np.isfinite(values)]


def _places(series: Sequence[Series]) -> np.ndarray:
    """(n,) where each run stands: one place a run, or the runs of a group side by side about its place."""
    groups = grouped(series)
    if not groups:
        return np.arange(len(series), dtype=float)
    places = np.empty(len(series))
    for k, group in enumerate(groups):
        own = [i for i, s in enumerate(series) if s.group == group]
        places[own] = k + (WIDTH * np.linspace(-0.5, 0.5, len(own)) if len(own) > 1 else 0.0)
    return places


def _draw_medians(
    ax: Axes, series: Sequence[Series], search: Quantity, *, shift: float, handles: list[Artist]
) -> list[str]:
    """Draw the median of each group's bests, as a line across its runs; the names under the places."""
    groups = grouped(series)
    if not groups:
        return [s.label for s in series]
    style: dict[str, Any] = {"color": "black", "linewidth": 1.6}
    for k, runs in enumerate(groups.values()):
        best = np.concatenate([_finite_values(search, s.front) * search.sign for s in runs])
        if len(best):
            ends = [k + shift - 0.6 * WIDTH, k + shift + 0.6 * WIDTH]
            ax.plot(ends, [float(np.median(best)) * search.sign] * 2, zorder=4, gid="median", **style)
    handles.append(Line2D([], [], label="median, search value", **style))
    return [group_label(group, runs) for group, runs in groups.items()]


def _mark(colour: str, marker: str, *, is_filled: bool, is_repeat: bool = False, label: str | None = None) -> Line2D:
    return Line2D(
        [],
        [],
        color=colour,
        linestyle="none",
        marker=marker,
        markersize=4 if is_repeat else 7,
        markerfacecolor=colour if is_filled else "none",
        label=label,
    )

"""The picture of one objective: each run's best solution as a point on a strip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opt.plots.axes_layout import few_ticks, heading, legend_beside, legend_width, say_empty
from opt.plots.reference_markers import references_of
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


def strip_figure(series: Sequence[Series]) -> Figure:
    """One objective: each run's best beside the references, and its held-out value where there is one.

    Repeats of a setting stand side by side about one place, with their median.
    """
    objective = series[0].run.objectives[0]
    references = references_of(series)
    tables = [*(s.front for s in series), *(table for r in references for table in r.tables)]
    search, test = search_quantity(objective), test_quantity(objective, [s.front for s in series])
    magnitude = counted([search] if test is None else [search, test], tables)
    search = replace(search, magnitude=magnitude)
    test = None if test is None else replace(test, magnitude=magnitude)
    places = _places(series)
    figure = Figure(figsize=(6.0, 4.4), layout="constrained")
    ax = figure.add_subplot()
    handles: list[Artist] = []
    for quantity, filled in [(search, True)] + ([(test, False)] if test else []):
        handles.append(_hollow_or_filled(GREY, "o", filled, label=f"best, {'search' if filled else 'held-out'} value"))
        for s, place in zip(series, places, strict=True):
            y = quantity.values(s.front)
            y = y[np.isfinite(y)]
            line = _hollow_or_filled(s.colour, s.marker, filled, is_repeat=bool(s.group))
            line.set_data(np.full(len(y), place + (0.0 if test is None else -0.12 if filled else 0.12)), y)
            line.set_gid("front" if filled else "test")
            ax.add_line(line)
    names = _draw_medians(ax, series, search, shift=0.0 if test is None else -0.12, handles=handles)
    for reference in references:
        y = np.concatenate([search.values(table) for table in reference.tables])
        y = y[np.isfinite(y)]
        if len(y):
            best = float((y * search.sign).min() * search.sign)
            line = ax.axhline(best, color=reference.colour, linestyle=reference.dashes, linewidth=1.0, gid="reference")
            handles.append(Line2D([], [], color=line.get_color(), linestyle=line.get_linestyle(), label=reference.name))
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_xticks(
        range(len(names)),
        names,
        rotation=30 if len(names) > 2 else 0,
        ha="right" if len(names) > 2 else "center",
    )
    ax.autoscale_view(scalex=False)
    ax.margins(y=0.15)
    few_ticks(ax, x=False)
    ax.set_ylabel(search.label)
    ax.grid(True, axis="y", color="0.92", linewidth=0.6)
    say_empty([ax], series)
    legend_beside(ax, handles)
    figure.set_figwidth(1.2 + max(2.5, 0.8 * len(names)) + legend_width(handles))
    heading(figure, series, f"Best solution: {subject([s.run for s in series])}")
    return figure


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
        best = np.concatenate([search.values(s.front) * search.sign for s in runs])
        best = best[np.isfinite(best)]
        if len(best):
            ends = [k + shift - 0.6 * WIDTH, k + shift + 0.6 * WIDTH]
            ax.plot(ends, [float(np.median(best)) * search.sign] * 2, zorder=4, gid="median", **style)
    handles.append(Line2D([], [], label="median, search value", **style))
    return [group_label(group, runs) for group, runs in groups.items()]


def _hollow_or_filled(
    colour: str, marker: str, filled: bool, label: str | None = None, *, is_repeat: bool = False
) -> Line2D:
    return Line2D(
        [],
        [],
        color=colour,
        linestyle="none",
        marker=marker,
        markersize=4 if is_repeat else 7,
        markerfacecolor=colour if filled else "none",
        label=label,
    )

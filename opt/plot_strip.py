"""The picture of one objective: each run's best solution as a point on a strip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opt.plot_layout import few_ticks, heading, legend_beside, legend_width, say_empty
from opt.plot_references import references_of
from opt.plot_series import GREY, Series, search_quantity, subject, test_quantity


def strip_figure(series: Sequence[Series]) -> Figure:
    """One objective: each run's best beside the references, and its held-out value where there is one."""
    objective = series[0].run.objectives[0]
    search = search_quantity(objective)
    test = test_quantity(objective, [s.front for s in series])
    figure = Figure(figsize=(6.0, 4.4), layout="constrained")
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
    for reference in references_of(series):
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
    say_empty([ax], series)
    legend_beside(ax, handles)
    figure.set_figwidth(1.2 + max(2.5, 0.8 * len(series)) + legend_width(handles))
    heading(figure, series, f"Best solution: {subject([s.run for s in series])}")
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

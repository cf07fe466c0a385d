"""Axes layout: scales, ticks, title, notes and legend of a picture, placed so that nothing overlaps."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from opt.plots.number_format import ShortNumbers
from opt.plots.series import Series

LEGEND_SIZE = 9
LEGEND_LETTER = 0.075
"""Inches of a letter in a legend, roughly."""
LEGEND_LINE = 0.2
"""Inches of a line in a legend, roughly."""


FEW = 8
"""Fronts of fewer solutions stay on a linear scale."""
CROWDED_LOG = 12.0
"""A quarter of the solutions below the maximum divided by so much: a logarithmic scale shows them apart."""
CROWDED_SYMLOG = 100.0
"""The same for values that span too many decades, or reach zero."""
MOST_DECADES = 1e4
"""Widest ratio of a plain logarithmic scale."""
MOST_POWERS = 100
"""Most powers of ten of a scale that is linear below its threshold."""


@dataclass(frozen=True)
class Scale:
    """The scale of an axis.

    Args:
        kind: "linear", "log", or "symlog": logarithmic above a threshold and linear below it.
        threshold: The threshold of "symlog", a power of ten.
        n_decades: Powers of ten that a logarithmic scale spans, of "symlog" those above the threshold.
    """

    kind: Literal["linear", "log", "symlog"] = "linear"
    threshold: float = 1.0
    n_decades: int = 1

    def apply(self, ax: Axes, which: Literal["x", "y"]) -> None:
        """Give an axis of `ax` this scale, with few ticks and short numbers."""
        set_scale = ax.set_xscale if which == "x" else ax.set_yscale
        if self.kind == "linear":
            few_ticks(ax, x=which == "x", y=which == "y")
            return
        axis = ax.xaxis if which == "x" else ax.yaxis
        if self.kind == "log":
            set_scale("log")
            subs = {0: (1.0, 2.0, 5.0), 1: (1.0, 2.0, 5.0), 2: (1.0, 3.0)}.get(self.n_decades, (1.0,))
            axis.set_major_locator(LogLocator(subs=subs))
        else:
            set_scale("symlog", linthresh=self.threshold, linscale=0.5)
            powers = range(0, self.n_decades + 2, 1 + self.n_decades // 6)
            axis.set_major_locator(FixedLocator([0.0, *(self.threshold * 10.0**power for power in powers)]))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(ShortNumbers(is_linear=False))


def helpful_scale(fronts: np.ndarray, references: np.ndarray) -> Scale:
    """A logarithmic scale where fronts crowd at the low end of a wide range, else a linear one.

    Args:
        fronts: (n,) finite values of the fronts' solutions.
        references: (m,) finite values of the references.
    """
    lowest = min(fronts.min(initial=np.inf), references.min(initial=np.inf))
    if len(fronts) < FEW or lowest < 0:
        return Scale()
    quarter, highest = float(np.quantile(fronts, 0.25)), float(fronts.max())
    if lowest > 0 and highest <= MOST_DECADES * lowest and quarter * CROWDED_LOG < highest:
        return Scale("log", n_decades=int(math.log10(highest / lowest)))
    if quarter > 0 and quarter * CROWDED_SYMLOG < highest:
        # the least of the values may be so small that its powers of ten up to the greatest are too many to draw
        top = math.log10(highest)
        power = max(math.floor(math.log10(quarter)), math.floor(top) - MOST_POWERS)
        return Scale("symlog", threshold=10.0**power, n_decades=int(top - power))
    return Scale()


def few_ticks(ax: Axes, *, x: bool = True, y: bool = True, n: int = 5) -> None:
    """At most n + 1 ticks an axis, with numbers short enough to stand side by side."""
    for axis, is_set in ((ax.xaxis, x), (ax.yaxis, y)):
        if is_set:
            axis.set_major_locator(MaxNLocator(nbins=n, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
            axis.set_major_formatter(ShortNumbers(is_linear=axis.get_scale() == "linear"))


def heading(figure: Figure, series: Sequence[Series], title: str) -> None:
    """Give the figure its title, and under it a note on how to read it where that is not plain."""
    objectives = series[0].run.objectives
    notes = []
    if len(objectives) > 2:
        notes.append("lines join what is nondominated within a panel")
    if any(o.sign < 0 for o in objectives):
        notes.append("better is " + ", ".join(f"{'less' if o.sign > 0 else 'more'} {o.name}" for o in objectives))
    text = [wrapped(figure, title)] + ([wrapped(figure, "; ".join(notes))] if notes else [])
    figure.suptitle("\n".join(text), fontsize=10)


def wrapped(figure: Figure, title: str) -> str:
    """The title in lines that fit the figure's width."""
    return textwrap.fill(title, width=int(10 * figure.get_figwidth()))


def say_empty(axes: Sequence[Axes], series: Sequence[Series]) -> None:
    """Say in each panel that there is nothing to see, when no run has a solution."""
    if any(len(s.front) for s in series):
        return
    box = {"facecolor": "white", "edgecolor": "0.8", "boxstyle": "round"}
    for ax in axes:
        text = ax.text(0.5, 0.5, "empty front:\nno feasible solution", ha="center", va="center", fontsize=9, zorder=6)
        text.set(transform=ax.transAxes, bbox=box)


def legend_width(handles: Sequence[Artist]) -> float:
    """Inches that a legend in one column takes, roughly."""
    return 0.7 + LEGEND_LETTER * max(len(str(handle.get_label())) for handle in handles)


def legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """A legend under the panels, in as many columns as fit; the figure grows by its further lines."""
    n_lines = math.ceil(len(handles) / max(1, int(0.9 * figure.get_figwidth() / legend_width(handles))))
    n_side = math.ceil(len(handles) / n_lines)
    figure.legend(handles=handles, loc="outside lower center", ncols=n_side, fontsize=LEGEND_SIZE, frameon=False)
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * (n_lines - 1))


def legend_beside(ax: Axes, handles: Sequence[Artist]) -> None:
    """A legend to the right of a panel, from its top down."""
    ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0.0,
        fontsize=LEGEND_SIZE,
        frameon=False,
    )

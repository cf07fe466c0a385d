"""What surrounds the data in a picture: ticks, title, notes and legend, placed so that nothing overlaps."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from opt.plot_series import Series

LEGEND_SIZE = 9
LEGEND_LETTER = 0.075
"""Inches of a letter in a legend, roughly."""
LEGEND_LINE = 0.2
"""Inches of a line in a legend, roughly."""


def few_ticks(ax: Axes, *, x: bool = True, y: bool = True, n: int = 5) -> None:
    """At most n + 1 ticks an axis, with numbers short enough to stand side by side."""
    for axis, wanted in ((ax.xaxis, x), (ax.yaxis, y)):
        if wanted:
            axis.set_major_locator(MaxNLocator(nbins=n, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
            axis.set_major_formatter(FuncFormatter(_number))


def _number(value: float, position: int | None = None) -> str:
    size = abs(value)
    if size < 1e-12:
        return "0"
    if size >= 1e4:
        power = min(int(math.log10(size) // 3), 5)
        return f"{value / 1000**power:.6g}{' kMGTP'[power]}".replace(" ", "")
    if size < 1e-3:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.6g}"


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

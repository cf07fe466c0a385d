"""Pictures of groups: growth of hypervolume as bands, indicators as boxes, mean ranks; and how a group looks in all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from opt.comparison.growth import Trace
from opt.comparison.indicators import Comparison
from opt.comparison.significance import ALPHA, RankTest
from opt.plots.axes_layout import few_ticks, legend_below
from opt.plots.number_format import magnitude_of
from opt.plots.series import LINES, MARKERS, PALETTE, LineStyle

GRID = 200
"""Places on the x axis at which bands are computed."""
NAMES = {"hypervolume": "hypervolume (more is better)", "igd_plus": "IGD+ (less is better)"}
NAMES["epsilon"] = "additive epsilon (less is better)"


@dataclass(frozen=True)
class GroupStyle:
    """How a group is drawn, in every picture."""

    colour: str
    marker: str
    line: LineStyle


def styles(groups: Sequence[str]) -> dict[str, GroupStyle]:
    """A style for each group, by its place; as the runs of `opt.plot`."""
    return {
        group: GroupStyle(
            colour=PALETTE[k % len(PALETTE)],
            marker=MARKERS[(k + k // len(PALETTE)) % len(MARKERS)],
            line=LINES[k // len(PALETTE) % len(LINES)],
        )
        for k, group in enumerate(groups)
    }


def pair_grid(n: int) -> tuple[Figure, list[Axes]]:
    """A figure of n panels, at most three side by side."""
    n_columns = min(n, 2 if n == 4 else 3)
    n_rows = math.ceil(n / n_columns)
    size = 5.2 if n == 1 else 3.9
    figure = Figure(figsize=(size * n_columns + 0.4, 0.8 * size * n_rows + 0.9), layout="constrained")
    return figure, [figure.add_subplot(n_rows, n_columns, k + 1) for k in range(n)]


def growth_figure(comparison: Comparison) -> Figure:
    """Hypervolume over evaluations and over seconds: the median of a group's runs and its quartiles as a band."""
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    look = styles(comparison.all_groups or comparison.groups)
    whole = max(comparison.targets.values(), default=0.0)
    lowest = whole
    for ax, unit in zip(axes, ("n_eval", "seconds"), strict=True):
        for group in comparison.groups:
            traces = [m.trace for m in comparison.of(group) if m.trace is not None and len(m.trace.n_eval)]
            if not traces:
                continue
            x, q1, median, q3 = _band(traces, unit)
            ax.fill_between(x, q1, q3, step="post", color=look[group].colour, alpha=0.18, linewidth=0, gid="quartiles")
            style: dict[str, Any] = {"color": look[group].colour, "linestyle": look[group].line, "linewidth": 1.4}
            ax.plot(x, median, drawstyle="steps-post", gid="median", **style)
            lowest = min(lowest, float(np.nanmin(q1)))
        for target in comparison.targets.values():
            ax.axhline(target, color="0.55", linewidth=0.7, linestyle=(0, (4, 3)), zorder=1, gid="target")
        ax.set_xlabel("evaluations" if unit == "n_eval" else "seconds of search")
        ax.grid(True, color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
        few_ticks(ax)
        if not any(line.get_gid() == "median" for line in ax.get_lines()):
            ax.text(0.5, 0.5, "no run can be followed", transform=ax.transAxes, ha="center", va="center")
    axes[0].set_ylabel("hypervolume, normalised")
    handles: list[Artist] = [
        Line2D([], [], color=look[g].colour, linestyle=look[g].line, label=f"{g}, {len(comparison.of(g))} runs")
        for g in comparison.groups
    ]
    handles.append(Patch(color="0.5", alpha=0.25, linewidth=0, label="quartiles"))
    shares = ", ".join(f"{100 * share:.0f}" for share in comparison.targets)
    handles.append(
        Line2D([], [], color="0.55", linewidth=0.7, linestyle=(0, (4, 3)), label=f"{shares} % of the joint front's")
    )
    legend_below(figure, handles)
    figure.suptitle(f"Growth, median and quartiles: {comparison.problem}", fontsize=10)
    return figure


def box_figure(comparison: Comparison) -> Figure:
    """The indicators of every group's runs as boxes (median, quartiles), each run a point."""
    groups, look = comparison.groups, styles(comparison.all_groups or comparison.groups)
    figure = Figure(figsize=(max(9.6, 1.2 * len(groups) * 1.5), 4.0), layout="constrained")
    longest = max(len(group) for group in groups)
    slanted = longest * len(groups) > 30
    for k, (measure, label) in enumerate(NAMES.items()):
        ax = figure.add_subplot(1, 3, k + 1)
        values = [np.array([getattr(m, measure) for m in comparison.of(group)], dtype=float) for group in groups]
        magnitude = magnitude_of(*values)
        values = [magnitude(v[np.isfinite(v)]) for v in values]
        boxes = ax.boxplot(values, showfliers=False, widths=0.6, medianprops={"color": "black"}, patch_artist=True)
        for box, group in zip(boxes["boxes"], groups, strict=True):
            box.set(facecolor=look[group].colour, alpha=0.35)
        for place, (group, v) in enumerate(zip(groups, values, strict=True), start=1):
            # spread side by side in the order of the runs, so that the same runs give the same picture
            x = place + 0.36 * (np.linspace(-0.5, 0.5, len(v)) if len(v) > 1 else np.zeros(len(v)))
            style: dict[str, Any] = {"color": look[group].colour, "marker": look[group].marker, "markeredgewidth": 0.0}
            ax.plot(x, v, linestyle="none", markersize=3.5, alpha=0.8, gid="run", **style)
        turn: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
        ax.set_xticks(range(1, len(groups) + 1), groups, **turn)
        ax.set_ylabel(magnitude.label(label))
        few_ticks(ax, x=False)
        ax.grid(True, axis="y", color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
    figure.suptitle(f"Indicators of the final fronts: {comparison.problem}", fontsize=10)
    return figure


def rank_figure(measure: str, test: RankTest, groups: Sequence[str]) -> Figure:
    """The critical-difference diagram: mean ranks, and a bar over groups that Nemenyi's test cannot tell apart.

    Args:
        measure: What was ranked by.
        test: The ranks.
        groups: In the order that decides their colours.
    """
    import scikit_posthocs

    figure = Figure(figsize=(8.0, 1.7 + 0.28 * len(test.ranks)), layout="constrained")
    ax = figure.add_subplot()
    scikit_posthocs.critical_difference_diagram(
        test.ranks,
        test.nemenyi.loc[test.ranks.index, test.ranks.index],
        ax=ax,
        alpha=ALPHA,
        color_palette={group: style.colour for group, style in styles(groups).items()},
        label_fmt_left="{label} ({rank:.3g})  ",
        label_fmt_right="  {label} ({rank:.3g})",
    )
    figure.suptitle(
        f"Mean ranks by median {NAMES[measure].split(' (')[0]}, 1 is best; joined: no difference shown "
        f"(Friedman p = {test.p:.3g})",
        fontsize=10,
    )
    return figure


def _band(traces: Sequence[Trace], unit: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A grid from where every run has begun to where the last ended, and quartiles on it.

    A run that has ended keeps its last value.
    """
    begun = max(float(np.nanmin(getattr(t, unit))) for t in traces)
    ended = max(float(np.nanmax(getattr(t, unit))) for t in traces)
    x = np.linspace(begun, max(ended, begun), GRID)
    values = np.empty((len(traces), GRID))
    for k, t in enumerate(traces):
        place = np.searchsorted(getattr(t, unit), x, side="right") - 1
        values[k] = t.hypervolume[np.maximum(place, 0)]
    q1, median, q3 = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
    return x, q1, median, q3

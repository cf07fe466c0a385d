"""Empirical attainment functions as a picture: a group's median surface, and the band between its quartiles."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from opt.comparison.group_plots import pair_grid, styles
from opt.comparison.indicators import Comparison
from opt.comparison.joint_front_plot import ShownFronts
from opt.plots.attainment import attainment_surfaces, draw_surfaces
from opt.plots.axes_layout import legend_below, wrapped


def attainment_figure(comparison: Comparison) -> Figure:
    """Median and quartile surfaces of every group; of more than two objectives, in each pair's projection."""
    objectives = comparison.objectives
    pairs = list(itertools.combinations(range(len(objectives)), 2))
    figure, axes = pair_grid(len(pairs))
    look = styles(comparison.all_groups or comparison.groups)
    shown = ShownFronts(comparison)
    for ax, (i, j) in zip(axes, pairs, strict=True):
        signs = shown.signs[[i, j]]
        fronts = [F[:, [i, j]] * signs for F in shown.fronts]
        shown.draw_exact(ax, i, j, is_whole=False)
        for group in comparison.groups:
            own = [F for F, m in zip(fronts, comparison.runs, strict=True) if m.group == group]
            draw_surfaces(
                ax,
                attainment_surfaces(own),
                colour=look[group].colour,
                line=look[group].line,
                corner=np.concatenate(fronts).max(axis=0),
                signs=signs,
            )
        shown.finish(ax, i, j)
    handles: list[Artist] = []
    for group in comparison.groups:
        style = look[group]
        n = len(comparison.of(group))
        handles.append(Line2D([], [], color=style.colour, linestyle=style.line, label=f"{group}, {n} runs"))
    handles.append(Patch(color="0.5", alpha=0.25, linewidth=0, label="attained by 25 % to 75 % of the runs"))
    legend_below(figure, handles + shown.exact_handles(is_whole=False))
    title = f"Median attainment: {comparison.problem}"
    if len(objectives) > 2:
        title += "; each pair of objectives on its own, the others left out of sight"
    figure.suptitle(wrapped(figure, title), fontsize=10)
    return figure

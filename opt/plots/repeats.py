"""Attainment of repeated runs: what half of a setting's runs attain, with the range from the best to the worst."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from opt.plots.attainment import attainment_surfaces, draw_surfaces
from opt.plots.series import GREY, Series, group_label, grouped
from opt.plots.stairs import staircase

RANGE = (0.0, 50.0, 100.0)
"""Per cent of the runs that attain a surface: 0 is one of them, the best in each direction; 100 is all."""
SINGLE: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.35}
"""How single runs are drawn, in the colour of their group."""
DOTS: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 1.5, "markeredgewidth": 0.0, "alpha": 0.25}
"""How their solutions are drawn."""
BAND = 0.15
"""Opacity of the range."""


def draw_repeats(
    ax: Axes,
    series: Sequence[Series],
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    signs: tuple[float, float],
) -> None:
    """Draw each group: its median surface, the band from its best to its worst surface, and light its single runs.

    Of two objectives a run's stairs are all that it has; of more, what is dominated in a pair is shown as dots.

    Args:
        ax: Where to draw.
        series: The runs.
        pairs: (n,) and (n,) finite values of each run's solutions, as the axes show them; n may be 0.
        signs: +1 where less is better, -1 where more is, for x and y.
    """
    minimised = [np.column_stack([x * signs[0], y * signs[1]]) for x, y in pairs]
    fronts = [F[staircase(F[:, 0], F[:, 1])] for F in minimised]
    everything = np.concatenate(fronts)
    if not len(everything):
        return
    groups = grouped(series)
    if len(series[0].run.objectives) > 2:
        for look in (runs[0] for runs in groups.values()):
            own = [F for F, s in zip(minimised, series, strict=True) if s.group == look.group]
            x, y = (np.concatenate(own) * signs).T
            ax.plot(x, y, color=look.colour, zorder=1.6, rasterized=len(x) > 1000, gid="front", **DOTS)
    for k, runs in enumerate(groups.values()):
        look = runs[0]
        # the first group lies above the rest, as it stands above them in the legend
        order = 3 + 0.01 * (len(groups) - k)
        own = [front for front, s in zip(fronts, series, strict=True) if s.group == look.group]
        for front in own if len(own) > 1 else []:
            ax.plot(
                *(front * signs).T, color=look.colour, drawstyle="steps-post", zorder=order - 1, gid="run", **SINGLE
            )
        surfaces = attainment_surfaces(own, RANGE)
        draw_surfaces(
            ax,
            surfaces,
            colour=look.colour,
            line=look.line,
            corner=everything.max(axis=0),
            signs=np.array(signs),
            opacity=BAND,
            order=order,
        )


def repeats_handles(series: Sequence[Series]) -> list[Artist]:
    """One legend entry a group, and what line, band and thin lines are; empty where runs are drawn one by one."""
    groups = grouped(series)
    if not groups:
        return []
    handles: list[Artist] = [
        Line2D([], [], color=runs[0].colour, linestyle=runs[0].line, linewidth=1.6, label=group_label(group, runs))
        for group, runs in groups.items()
    ]
    handles.append(Line2D([], [], color=GREY, linewidth=1.6, label="median: attained by half of the runs"))
    handles.append(Patch(color=GREY, alpha=BAND, linewidth=0, label="range: best to worst run"))
    handles.append(Line2D([], [], color=GREY, label="single runs", **SINGLE))
    return handles

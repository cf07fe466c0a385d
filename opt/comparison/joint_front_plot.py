"""The picture of the joint front: every run's solutions, and who has which of the points that nobody beats."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path as Outline

from opt.comparison.group_plots import GroupStyle, pair_grid, styles
from opt.comparison.indicators import Comparison
from opt.plots.axes_layout import helpful_scale, legend_below, wrapped
from opt.plots.number_format import magnitude_of
from opt.plots.stairs import draw_set
from opt.runs.front_files import EXACT_FRONT

CROWDED = 300
"""Joint fronts of more points are drawn with smaller marks."""
EXACT: dict[str, Any] = {"color": (0.0, 0.0, 0.0, 0.2), "linewidth": 3.6}
"""The exact front: wide and light below what was found, so that both are seen where they agree."""
DOTS: dict[str, Any] = {"color": "black", "marker": "o", "markersize": 1.6, "alpha": 0.8, "zorder": 2.4}
"""What of it lies off its stairs in a pair of objectives."""
JOINT: dict[str, Any] = {"color": "0.35", "linewidth": 0.7}


class ShownFronts:
    """A comparison's fronts as pictures show them: in the objectives' own senses, in numbers that can be drawn.

    Args:
        comparison: The runs.

    Attributes:
        fronts: (n, n_obj) of each run.
        joint: (k, n_obj) the joint front, in the order of the comparison's.
        exact: (m, n_obj) the exact front; m is 0 where none is known.
        signs: (n_obj,) +1 where less is better, -1 where more is.
    """

    def __init__(self, comparison: Comparison) -> None:
        n_obj = len(comparison.objectives)
        self.signs = np.array([o.sign for o in comparison.objectives])
        exact = np.empty((0, n_obj)) if comparison.exact is None else comparison.exact
        everything = np.concatenate([exact, *(m.values for m in comparison.runs)])
        magnitudes = [magnitude_of(everything[:, k]) for k in range(n_obj)]
        self._labels = [m.label(o.label) for m, o in zip(magnitudes, comparison.objectives, strict=True)]

        def shown(F: np.ndarray) -> np.ndarray:
            return np.column_stack([m(F[:, k]) for k, m in enumerate(magnitudes)]) * self.signs

        self.fronts = [shown(m.values) for m in comparison.runs]
        self.exact = shown(exact)
        self.joint = np.empty((len(comparison.joint), n_obj))
        for F, m in zip(self.fronts, comparison.runs, strict=True):
            self.joint[m.joint_points[m.is_joint]] = F[m.is_joint]

    def draw_exact(self, ax: Axes, i: int, j: int, *, is_whole: bool = True) -> None:
        """Draw the exact front's stairs in objectives i and j, and if it is to be whole its other points."""
        rest = {**DOTS, "gid": "exact rest"} if is_whole else {"marker": "none"}
        self._draw(ax, self.exact, i, j, EXACT | {"zorder": 1.5, "gid": "exact"}, rest)

    def draw_joint(self, ax: Axes, i: int, j: int) -> None:
        """Draw the joint front's stairs in objectives i and j; its solutions get their owners' marks."""
        self._draw(ax, self.joint, i, j, JOINT | {"zorder": 2.5, "gid": "stairs"}, {"marker": "none"})

    def _draw(
        self, ax: Axes, F: np.ndarray, i: int, j: int, stairs: Mapping[str, Any], rest: Mapping[str, Any]
    ) -> None:
        draw_set(ax, F[:, i], F[:, j], signs=(float(self.signs[i]), float(self.signs[j])), stairs=stairs, rest=rest)

    def exact_handles(self, *, is_whole: bool = True) -> list[Artist]:
        """The exact front's legend entry, where there is one; with a dot where some of it is drawn off its stairs."""
        dot = {"marker": DOTS["marker"], "markersize": 2.5, "markerfacecolor": DOTS["color"], "markeredgewidth": 0.0}
        style = EXACT | (dot if is_whole and len(self.signs) > 2 else {})
        return [Line2D([], [], label=EXACT_FRONT, **style)] if len(self.exact) else []

    def finish(self, ax: Axes, i: int, j: int) -> None:
        """Give a panel its scales, labels and grid."""
        everything = np.concatenate(self.fronts)
        helpful_scale(everything[:, i], self.exact[:, i]).apply(ax, "x")
        helpful_scale(everything[:, j], self.exact[:, j]).apply(ax, "y")
        ax.set_xlabel(self._labels[i])
        ax.set_ylabel(self._labels[j])
        ax.grid(True, color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)


def joint_front_figure(comparison: Comparison) -> Figure:
    """Every run's final front, light, and on it the joint front, each point in the colours of all that have it."""
    pairs = list(itertools.combinations(range(len(comparison.objectives)), 2))
    figure, axes = pair_grid(len(pairs))
    look = styles(comparison.all_groups or comparison.groups)
    shown = ShownFronts(comparison)
    owners = comparison.joint_owners()
    for ax, (i, j) in zip(axes, pairs, strict=True):
        shown.draw_exact(ax, i, j)
        for group in comparison.groups:
            own = [F for F, m in zip(shown.fronts, comparison.runs, strict=True) if m.group == group]
            x, y = np.concatenate(own)[:, [i, j]].T
            _mark(ax, x, y, look[group], size=2.0, alpha=0.2, rasterized=len(x) > 1000, gid="front")
        shown.draw_joint(ax, i, j)
        _draw_owners(ax, shown.joint[:, [i, j]], owners, [look[group] for group in comparison.groups])
        shown.finish(ax, i, j)
    legend_below(figure, [*_handles(comparison, look, owners), *shown.exact_handles()])
    title = f"Joint front, and light the runs' own: {comparison.problem}"
    figure.suptitle(wrapped(figure, title), fontsize=10)
    return figure


def _draw_owners(ax: Axes, points: np.ndarray, owners: np.ndarray, looks: list[GroupStyle]) -> None:
    """Draw each point as its group's mark, or as a pie of the colours of all groups that have it."""
    size = 4.0 if len(points) < CROWDED else 2.6
    for owner in np.unique(owners, axis=0):
        x, y = points[(owners == owner).all(axis=1)].T
        own = [look for look, is_owner in zip(looks, owner, strict=True) if is_owner]
        if len(own) == 1:
            _mark(ax, x, y, own[0], size=size, zorder=3, gid="joint")
            continue
        for k, look in enumerate(own):
            _mark(ax, x, y, look, marker=slice_of(k, len(own)), size=1.7 * size, zorder=3.1, gid="shared")


def slice_of(k: int, n: int) -> Outline:
    """The k-th of n equal slices of a disc, as a marker."""
    wedge = Outline.wedge(90 + 360 * k / n, 90 + 360 * (k + 1) / n)
    # matplotlib scales a marker by its farthest point: a point on the axis that nothing is drawn to keeps slices equal
    assert wedge.codes is not None
    codes = np.append(wedge.codes, Outline.MOVETO)
    return Outline(np.concatenate([wedge.vertices, [[1.0, 0.0]]]), codes)


def _mark(ax: Axes, x: np.ndarray, y: np.ndarray, look: GroupStyle, *, size: float, **style: Any) -> None:
    common: dict[str, Any] = {"linestyle": "none", "color": look.colour, "marker": look.marker, "markeredgewidth": 0.0}
    ax.plot(x, y, markersize=size, **(common | style))


def _handles(comparison: Comparison, look: Mapping[str, GroupStyle], owners: np.ndarray) -> list[Artist]:
    handles: list[Artist] = []
    for group, n in zip(comparison.groups, owners.sum(axis=0), strict=True):
        style: dict[str, Any] = {"color": look[group].colour, "marker": look[group].marker, "markersize": 5}
        handles.append(Line2D([], [], linestyle="none", label=f"{group}: {n} of {len(owners)}", **style))
    shared = owners[owners.sum(axis=1) > 1]
    if len(shared):
        # for an example the groups that share most often; of more than two the first two
        patterns, counts = np.unique(shared, axis=0, return_counts=True)
        one, other = np.flatnonzero(patterns[counts.argmax()])[:2]
        colours = [look[comparison.groups[k]].colour for k in (one, other)]
        disc: dict[str, Any] = {
            "fillstyle": "left",
            "color": colours[0],
            "markerfacecoloralt": colours[1],
            "markersize": 7,
        }
        text = f"{len(shared)} of them shared: one disc, the colours of all that have it"
        handles.append(Line2D([], [], linestyle="none", marker="o", markeredgewidth=0.0, label=text, **disc))
    return handles

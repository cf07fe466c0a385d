"""Empirical attainment surfaces of two objectives: what so many per cent of the runs reach, as stairs and bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import moocore
import numpy as np
from matplotlib.axes import Axes

from opt.plots.series import LineStyle

QUARTILES = (25.0, 50.0, 75.0)
MEDIAN: dict[str, Any] = {"drawstyle": "steps-post", "linewidth": 1.4, "gid": "median"}
"""How the middle surface is drawn, besides its colour."""
BAND: dict[str, Any] = {"step": "post", "linewidth": 0, "gid": "range"}
"""How the range between the outer surfaces is drawn."""


def attainment_surfaces(
    fronts: Sequence[np.ndarray], percentiles: Sequence[float] = QUARTILES
) -> dict[float, np.ndarray]:
    """Points that so many per cent of the runs attain, as the corners of a surface.

    Args:
        fronts: (n, 2) objectives of each run's front, minimised; an empty front attains nothing.
        percentiles: Per cent of the runs.

    Returns:
        By percentile, (k, 2) sorted by the first objective; k may be 0.

    Source: Fonseca et al. 2011, doi:10.1007/978-3-642-19893-9_8; computed by moocore.
    """
    empty = np.empty((0, 2))
    if not any(len(front) for front in fronts):
        return dict.fromkeys(percentiles, empty)
    # moocore counts the sets that it sees: one of an empty front is a point that dominates nothing
    never = np.full((1, 2), np.finfo(np.float64).max)
    points = np.concatenate([front if len(front) else never for front in fronts])
    sets = np.repeat(np.arange(len(fronts)) + 1, [max(len(front), 1) for front in fronts])
    surface = moocore.eaf(points, sets, percentiles=list(percentiles))
    surfaces = {}
    for percentile in percentiles:
        corners = surface[np.isclose(surface[:, 2], percentile), :2]
        corners = corners[(corners < never).all(axis=1)]
        surfaces[percentile] = corners[np.lexsort((corners[:, 1], corners[:, 0]))]
    return surfaces


def draw_surfaces(
    ax: Axes,
    surfaces: Mapping[float, np.ndarray],
    *,
    colour: str,
    line: LineStyle,
    corner: np.ndarray,
    signs: np.ndarray,
    opacity: float = 0.2,
    order: float = 2.0,
) -> None:
    """Draw the middle one of three surfaces as stairs, and the band between the other two.

    Args:
        ax: Where to draw.
        surfaces: What `attainment_surfaces` returns for three percentiles.
        colour: Of line and band.
        line: The line's style.
        corner: (2,) the worst values, minimised: so far the surfaces are drawn.
        signs: (2,) +1 where less is better, -1 where more is.
        opacity: Of the band.
        order: The line's place among what lies over each other; the band is a step below.
    """
    best, median, worst = (surfaces[percentile] for percentile in sorted(surfaces))
    # both ends as y over one set of x: a surface is the least y of the corners up to x, and ends at the corner
    x = np.unique(np.concatenate([best[:, 0], worst[:, 0], corner[:1]]))
    x = x[x <= corner[0]]
    if len(best):
        low, high = (_height(surface, x, top=corner[1]) for surface in (best, worst))
        look = BAND | {"color": colour, "alpha": opacity, "zorder": order - 1}
        ax.fill_between(x * signs[0], low * signs[1], high * signs[1], **look)
    if len(median):
        steps_x = np.concatenate([median[:1, 0], median[:, 0], corner[:1]])
        steps_y = np.concatenate([corner[1:], median[:, 1], median[-1:, 1]])
        look = MEDIAN | {"color": colour, "linestyle": line, "zorder": order}
        ax.plot(steps_x * signs[0], steps_y * signs[1], **look)


def _height(surface: np.ndarray, x: np.ndarray, *, top: float) -> np.ndarray:
    """(n,) least second objective that the surface attains at each x; `top` before its first corner."""
    if not len(surface):
        return np.full(len(x), top)
    lowest = np.minimum.accumulate(surface[:, 1])
    place = np.searchsorted(surface[:, 0], x, side="right") - 1
    return np.where(place >= 0, lowest[np.maximum(place, 0)], top)

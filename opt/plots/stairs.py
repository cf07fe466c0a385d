"""Staircase plots: a set of solutions in a pair of objectives, stairs through its best, the rest as light dots.

One rule for all that is compared by eye: a run's front, the exact front, and what a known method reaches. Between
two solutions there is nothing that anybody has found, so that a straight line from one to the other would show a
known front better than it is beside a front in stairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from opt.fronts.archive import nondominated


def staircase(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the nondominated points of a pair, from the least x on.

    Args:
        x: (n,) float64, minimised, finite.
        y: (n,) float64, likewise.

    Returns:
        (k,) int64; along them x rises and y falls.
    """
    if not len(x):
        return np.empty(0, dtype=np.int64)
    best = np.flatnonzero(nondominated(np.column_stack([x, y])))
    return best[np.argsort(x[best], kind="stable")]


def draw_set(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    *,
    signs: tuple[float, float],
    stairs: Mapping[str, Any],
    rest: Mapping[str, Any],
) -> None:
    """Draw solutions: stairs through those that none of the others dominates in this pair, the others as dots.

    The stairs are the border of what the set attains. From the best x on, the y of a solution holds until the next
    solution has a better one: to the right where less x is better, to the left where more is.

    Args:
        ax: Where to draw.
        x: (n,) finite values as the axis shows them.
        y: (n,) likewise.
        signs: +1 where less is better, -1 where more is, for x and y.
        stairs: matplotlib's properties of the stairs and their marks.
        rest: Those of the dots.
    """
    if not len(x):
        return
    best = staircase(x * signs[0], y * signs[1])
    others = np.ones(len(x), dtype=bool)
    others[best] = False
    dots: dict[str, Any] = {"linestyle": "none", "markeredgewidth": 0.0, "rasterized": len(x) > 1000}
    ax.plot(x[others], y[others], **(dots | dict(rest)))
    ax.plot(x[best], y[best], **({"drawstyle": "steps-post"} | dict(stairs)))

"""References as they are drawn: a curve of a known method, a cloud of an exact front, a mark for the parent."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from opt.plot_series import Series, finite, search_quantity
from opt.problem import Objective

DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
CURVE_MARKERS = ("x", "+", "1", "2", "3", "4")
REFERENCE_COLOURS = ("black", "#7F7F7F", "#A65628")
POINT_MARKERS = ("*", "p", "h", "8", "H", "d")
CURVE_WIGGLE = 4.0
"""A reference whose sorted y travels farther than so many times its range is a cloud, not a curve."""
CROWDED = 60
"""A curve of more points is drawn without marks."""


@dataclass(frozen=True)
class ReferenceSet:
    """All rows of one reference, from every run that brings it: one table each where they differ."""

    name: str
    tables: list[pd.DataFrame]
    colour: str
    marker: str
    dashes: tuple[float, tuple[float, ...]]
    is_cloud: bool

    @property
    def is_point(self) -> bool:
        """Whether it is a single solution, such as the parent."""
        return all(len(table) == 1 for table in self.tables)

    @property
    def style(self) -> dict[str, Any]:
        """How it is drawn, in the panels and in the legend: a mark, a dashed curve, or a cloud of dots."""
        if self.is_point:
            edge = {"markeredgecolor": "white", "markeredgewidth": 0.7}
            return {"color": self.colour, "linestyle": "none", "marker": self.marker, "markersize": 11.0, **edge}
        if self.is_cloud:
            return {"color": self.colour, "linestyle": "none", "marker": ".", "markersize": 2.5, "alpha": 0.5}
        marker = self.marker if max(len(table) for table in self.tables) <= CROWDED else None
        look = {"color": self.colour, "linestyle": self.dashes, "linewidth": 1.0, "alpha": 0.9}
        return {**look, "marker": marker, "markersize": 4.5}


def references_of(series: Sequence[Series]) -> list[ReferenceSet]:
    """The references of all runs; what several runs bring alike is kept once."""
    objectives = series[0].run.objectives
    found: dict[str, list[pd.DataFrame]] = {}
    for s in series:
        table = s.run.references
        shown = [c for c in table.columns if str(c).startswith("test_") or c in {o.name for o in objectives}]
        for name, rows in table.groupby("reference", sort=False):
            values = rows[shown].reset_index(drop=True)
            known = found.setdefault(str(name), [])
            if not any(_alike(values, other) for other in known):
                known.append(values)
    sets: list[ReferenceSet] = []
    for is_point in (False, True):
        names = [name for name, tables in found.items() if (max(map(len, tables)) == 1) == is_point]
        markers = POINT_MARKERS if is_point else CURVE_MARKERS
        for k, name in enumerate(names):
            sets.append(
                ReferenceSet(
                    name=name,
                    tables=found[name],
                    colour=REFERENCE_COLOURS[k % len(REFERENCE_COLOURS)],
                    marker=markers[k % len(markers)],
                    dashes=DASHES[k % len(DASHES)],
                    is_cloud=any(_is_cloud(table, objectives) for table in found[name]),
                )
            )
    return sets


def _alike(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two tables show the same points, up to what no eye can see."""
    if one.shape != other.shape or list(one.columns) != list(other.columns):
        return False
    a, b = (table.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float) for table in (one, other))
    return bool(np.allclose(a, b, rtol=1e-3, atol=1e-9, equal_nan=True))


def _is_cloud(table: pd.DataFrame, objectives: Sequence[Objective]) -> bool:
    """Whether some pair of objectives shows the table's rows as a surface rather than as a curve."""
    for ox, oy in itertools.combinations(objectives, 2):
        x, y = finite(search_quantity(ox).values(table), search_quantity(oy).values(table))
        span = float(np.ptp(y)) if len(y) > 8 else 0.0
        if span > 0 and float(np.abs(np.diff(y[np.lexsort((y, x))])).sum()) > CURVE_WIGGLE * span:
            return True
    return False

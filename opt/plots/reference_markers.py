"""References as they are drawn: stairs of an exact front or of a known method, a mark for the parent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D

from opt.plots.series import Series
from opt.runs.front_files import EXACT_FRONT

DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
CURVE_MARKERS = ("x", "+", "1", "2", "3", "4")
REFERENCE_COLOURS = ("black", "#7F7F7F", "#A65628")
POINT_MARKERS = ("*", "p", "h", "8", "H", "d")
CROWDED = 60
"""Stairs of more points are drawn without marks."""


@dataclass(frozen=True)
class ReferenceSet:
    """All rows of one reference, from every run that brings it: one table each where they differ."""

    name: str
    tables: list[pd.DataFrame]
    colour: str
    marker: str
    dashes: tuple[float, tuple[float, ...]]

    @property
    def is_point(self) -> bool:
        """Whether it is a single solution, such as the parent."""
        return all(len(table) == 1 for table in self.tables)

    @property
    def is_exact(self) -> bool:
        """Whether it is the problem's exact front, which a found one may lie on."""
        return self.name == EXACT_FRONT

    @property
    def stairs(self) -> dict[str, Any]:
        """How its best solutions in a pair of objectives are drawn: a mark, or stairs as those of the runs' fronts."""
        place = {"zorder": 5 if self.is_point else 1.5, "gid": "reference"}
        if self.is_point:
            edge = {"markeredgecolor": "white", "markeredgewidth": 0.7}
            return {
                "color": self.colour,
                "linestyle": "none",
                "marker": self.marker,
                "markersize": 11.0,
                **edge,
                **place,
            }
        if self.is_exact:
            # wide and light below what was found, so that both are seen where they agree
            return {"color": to_rgba(self.colour, 0.25), "linestyle": "-", "linewidth": 3.6, **place}
        marker = self.marker if max(len(table) for table in self.tables) <= CROWDED else None
        look = {"color": self.colour, "linestyle": self.dashes, "linewidth": 1.0, "alpha": 0.9}
        return {**look, "marker": marker, "markersize": 4.5, **place}

    @property
    def rest(self) -> dict[str, Any]:
        """How its other solutions are drawn."""
        marker = self.stairs.get("marker")
        look = {"marker": marker, "markersize": 3.5, "alpha": 0.4} if marker else {"marker": ".", "markersize": 2.5}
        # marks such as + and x are all edge
        return {
            "color": self.colour,
            "alpha": 0.35,
            "markeredgewidth": 0.6,
            "zorder": 1.4,
            "gid": "reference rest",
            **look,
        }

    def handle(self, *, is_pair: bool) -> Line2D:
        """Its legend entry.

        Args:
            is_pair: Whether there are two objectives only, so that nothing of an exact front lies off its stairs.
        """
        style = {key: value for key, value in self.stairs.items() if key not in ("zorder", "gid")}
        if self.is_exact and not is_pair:
            style |= {"marker": ".", "markersize": 4.0, "markerfacecolor": self.colour, "markeredgewidth": 0.0}
        return Line2D([], [], label=self.name, **style)


def references_of(series: Sequence[Series]) -> list[ReferenceSet]:
    """The references of all runs; what several runs bring alike is kept once."""
    objectives = series[0].run.objectives
    tables_of: dict[str, list[pd.DataFrame]] = {}
    for s in series:
        table = s.run.references
        shown = [c for c in table.columns if str(c).startswith("test_") or c in {o.name for o in objectives}]
        for name, rows in table.groupby("reference", sort=False):
            values = rows[shown].reset_index(drop=True)
            tables = tables_of.setdefault(str(name), [])
            if not any(_alike(values, other) for other in tables):
                tables.append(values)
    sets: list[ReferenceSet] = []
    for is_point in (False, True):
        names = [name for name, tables in tables_of.items() if (max(map(len, tables)) == 1) == is_point]
        markers = POINT_MARKERS if is_point else CURVE_MARKERS
        for k, name in enumerate(names):
            sets.append(
                ReferenceSet(
                    name=name,
                    tables=tables_of[name],
                    colour=REFERENCE_COLOURS[k % len(REFERENCE_COLOURS)],
                    marker=markers[k % len(markers)],
                    dashes=DASHES[k % len(DASHES)],
                )
            )
    return sets


def _alike(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two tables show the same points, up to what no eye can see."""
    if one.shape != other.shape or list(one.columns) != list(other.columns):
        return False
    a, b = (table.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float) for table in (one, other))
    with np.errstate(over="ignore"):
        # whatever the unit: what is tiny beside a column's greatest value is no difference
        tiny = 1e-9 * np.nan_to_num(np.abs(b)).max(axis=0, initial=0.0)
        return bool(np.allclose(a, b, rtol=1e-3, atol=tiny, equal_nan=True))

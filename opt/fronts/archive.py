"""The Pareto archive (nondominated set), and quality indicators of fronts (computed by moocore)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import moocore
import numpy as np

LARGEST = float(np.finfo(np.float64).max)
"""The greatest number; what would be more counts as this."""


def normalised(F: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(F - low) / (high - low), finite for every finite F, low and high.

    Args:
        F: (n, n_obj) float64, finite.
        low: (n_obj,) what becomes 0.
        high: (n_obj,) what becomes 1, at least `low`; where it equals `low` the divisor is 1.

    Returns:
        (n, n_obj) float64; what would be beyond the greatest number is that number.
    """
    with np.errstate(over="ignore"):
        gap, span = F - low, high - low
        is_number = np.isfinite(span) & np.isfinite(gap).all(axis=0)
        # differences of halves are numbers; where those of the values are too, halves would cost digits
        part = np.where(is_number, 1.0, 0.5)
        if not is_number.all():
            gap, span = F * part - low * part, high * part - low * part
        return np.clip(gap / np.where(span > 0, span, part), -LARGEST, LARGEST)


def hypervolume(F: np.ndarray, ref_point: np.ndarray) -> float:
    """Volume dominated by F and bounded by ref_point.

    Args:
        F: (n, n_obj) float64, minimised, finite; n may be 0.
        ref_point: (n_obj,) float64; points that do not dominate it add nothing.

    Source: Zitzler and Thiele 1998, doi:10.1007/BFb0056872; computed by moocore.
    """
    inside = F[np.less(F, ref_point).all(axis=1)]
    if not len(inside):
        return 0.0
    if F.shape[1] == 1:
        return min(float(ref_point[0]) - float(inside.min()), LARGEST)
    value = float(moocore.hypervolume(inside, ref=ref_point))
    return value if math.isfinite(value) else _hypervolume_of_extremes(inside, ref_point)


def _hypervolume_of_extremes(inside: np.ndarray, ref_point: np.ndarray) -> float:
    """Hypervolume where a product or a difference on the way to it is no number, though it may be one itself."""
    exponents = _exponents(inside, ref_point[None])
    value = float(moocore.hypervolume(np.ldexp(inside, -exponents), ref=np.ldexp(ref_point, -exponents)))
    return _times_power(value, int(exponents.sum()))


def _exponents(*fronts: np.ndarray) -> np.ndarray:
    """(n_obj,) powers of two that bring each objective's values, (n, n_obj), below a half; they change no digit."""
    return np.frexp(np.max([np.abs(F).max(axis=0) for F in fronts], axis=0))[1] + 1


def _times_power(value: float, exponent: int) -> float:
    """Value times a power of two, at most the greatest number."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(LARGEST, value)


def igd_plus(F: np.ndarray, reference: np.ndarray) -> float:
    """Mean distance from each reference point to the region that F dominates; 0 is perfect.

    Args:
        F: (n, n_obj) float64, minimised, n >= 1.
        reference: (m, n_obj) float64, the true or best-known front.

    Source: Ishibuchi et al. 2015, doi:10.1007/978-3-319-15892-1_8; computed by moocore.
    """
    if F.shape[1] == 1:
        return min(max(float(F.min()) - float(reference.min()), 0.0), LARGEST)
    # the square of a distance may be no number, or 0: one power of two for all objectives, whose distances are added
    exponent = int(_exponents(F, reference).max())
    value = float(moocore.igd_plus(np.ldexp(F, -exponent), ref=np.ldexp(reference, -exponent)))
    return _times_power(value, exponent)


def nondominated(F: np.ndarray) -> np.ndarray:
    """(n,) bool: which rows of F, (n, n_obj) minimised, no other row dominates; of equal rows the first."""
    if F.shape[1] == 1:
        best = np.zeros(len(F), dtype=bool)
        if len(F):
            best[np.argmin(F[:, 0])] = True
        return best
    return moocore.is_nondominated(F)


def farthest_first(F: np.ndarray, n: int) -> np.ndarray:
    """Rows of a front so that the first few are spread along it: the best in each objective, then the farthest.

    Args:
        F: (m, n_obj) float64, finite.
        n: How many to choose; all, in their own order, when m <= n.

    Returns:
        (min(m, n),) int64 indices; each is the row farthest from those before it, on objectives scaled to 0..1.

    Source: Gonzalez 1985, doi:10.1016/0304-3975(85)90224-5.
    """
    if len(F) <= n or n == 0:
        return np.arange(min(len(F), n))
    unit = normalised(F, F.min(axis=0), F.max(axis=0))
    rows = list(dict.fromkeys(int(i) for i in unit.argmin(axis=0)))[:n]
    distance = np.min([np.linalg.norm(unit - unit[i], axis=1) for i in rows], axis=0)
    while len(rows) < n:
        i = int(distance.argmax())
        rows.append(i)
        distance = np.minimum(distance, np.linalg.norm(unit - unit[i], axis=1))
    return np.array(rows)


def reference_point(F: np.ndarray, worst: Sequence[float | None]) -> np.ndarray:
    """Hypervolume's reference point: the stated worst values, else the worst of F and 10 % of its range.

    Args:
        F: (n, n_obj) float64 objectives of the first generation, n >= 1.
        worst: n_obj worst values, minimised, None where not stated.

    Returns:
        (n_obj,) float64.
    """
    low, high = F.min(axis=0), F.max(axis=0)
    with np.errstate(over="ignore"):
        span = np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
        measured = np.minimum(high + 0.1 * span, LARGEST)
    return np.array([m if w is None else w for m, w in zip(measured, worst, strict=True)], dtype=float)


class Archive:
    """The nondominated set of everything offered, with an id for each member.

    Args:
        n_obj: Number of objectives.

    Attributes:
        F: (m, n_obj) float64, minimised, sorted by the first objective.
        ids: (m,) int64.
        X: (m,) object array of candidates, (n_var,) each.
    """

    def __init__(self, n_obj: int) -> None:
        self.F = np.empty((0, n_obj))
        self.ids = np.empty(0, dtype=np.int64)
        self.X = np.empty(0, dtype=object)

    def __len__(self) -> int:
        return len(self.F)

    def clear(self) -> None:
        """Forget every member: the objectives' meaning has changed."""
        self.__init__(self.F.shape[1])  # type: ignore[misc]

    def offer(self, F: np.ndarray, X: Sequence[np.ndarray] | np.ndarray, ids: np.ndarray) -> bool:
        """Take in what nothing else dominates and drop what it dominates.

        Args:
            F: (n, n_obj) float64, minimised, finite.
            X: n candidates.
            ids: (n,) int64, one id each.

        Returns:
            Whether the archive changed.
        """
        if not len(F):
            return False
        n_old = len(self.F)
        if n_old and F.shape[1] == 2:
            # most newcomers are dominated: in two dimensions a look-up in the sorted archive says so
            at = np.searchsorted(self.F[:, 0], F[:, 0], side="right") - 1
            open_ = (at < 0) | (F[:, 1] < self.F[at, 1])
            if not open_.any():
                return False
            fresh = np.flatnonzero(open_)
        else:
            fresh = np.arange(len(F))
        merged = np.concatenate([self.F, F[fresh]])
        keep = nondominated(merged)
        if not keep[n_old:].any():
            return False
        candidates = np.empty(len(merged), dtype=object)
        candidates[:n_old] = self.X
        for k, i in enumerate(fresh, start=n_old):
            # a copy: a view of one row would keep its whole batch in memory
            candidates[k] = np.array(X[int(i)])
        # by the first objective, which the look-up above relies on
        members = np.flatnonzero(keep)
        members = members[np.argsort(merged[members, 0], kind="stable")]
        self.F = merged[members]
        self.ids = np.concatenate([self.ids, ids[fresh]])[members]
        self.X = candidates[members]
        return True

"""The start temperature, from a wanted acceptance and the differences that moves make."""

from __future__ import annotations

import numpy as np

LARGEST_SHARE = 0.05
"""Trials take at most this share of a budget in evaluations ..."""
FEWEST_TRIALS = 5
"""... but so many are tried in the smallest one."""
FLAT = 1e6 * np.finfo(np.float64).tiny
"""Differences no larger in size are none: their temperatures cannot be told in floating point."""
_BISECTIONS = 60


def calibrated_temperature(differences: np.ndarray, acceptance: float) -> float | None:
    """Temperature at which uphill moves are accepted with probability `acceptance` on average.

    Solves mean(exp(-d / T)) = acceptance over the uphill differences d > FLAT. The mean grows with T, and
    lies below `acceptance` at T = min(d) / -log(acceptance) and above it at max(d) / -log(acceptance), so
    bisection between them ends after a fixed number of halvings. Where every move led downhill, their
    sizes are taken: the same moves back are uphill.

    Args:
        differences: (n,) value of the proposal minus value of the current candidate; minimised.
        acceptance: In (0, 1).

    Returns:
        The temperature, or None on a flat landscape, where no difference is above `FLAT` in size.

    Source: Ben-Ameur 2004, doi:10.1023/B:COAP.0000044187.23143.bd. Differs: bisection in place of its fixed
    point, whose convergence depends on a power that must be chosen; and every move counts alike.
    """
    finite = differences[np.isfinite(differences)]
    uphill = finite[finite > FLAT]
    if not len(uphill):
        uphill = -finite[finite < -FLAT]
    if not len(uphill):
        return None
    low, high = np.log(np.array([uphill.min(), uphill.max()]) / -np.log(acceptance))
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        with np.errstate(over="ignore"):
            share = np.exp(-uphill / np.exp(middle)).mean()
        if share < acceptance:
            low = middle
        else:
            high = middle
    return float(np.exp(0.5 * (low + high)))


def affordable_trials(wanted: int, n_eval: int | None) -> int:
    """How many trials of `wanted` a budget of n_eval evaluations bears."""
    if n_eval is None:
        return wanted
    return min(wanted, max(int(LARGEST_SHARE * n_eval), FEWEST_TRIALS))

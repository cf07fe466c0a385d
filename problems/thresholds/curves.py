"""Curves with one parameter through the space of several thresholds: known ways to prune, and counts along them."""

from __future__ import annotations

import numpy as np

from problems.thresholds.masking import ThresholdMasks

GRID = 100
"""Thresholds, evenly spaced, that stand beside a search with one."""
MOST_STEPS = 2_000
"""Of the last layer's shares: more masks than that are not all evaluated by products."""
_STEPS = 48


def evenly_spaced(masks: ThresholdMasks) -> np.ndarray:
    """(m, n_groups) counts of removed weights at `GRID` thresholds of each group, from 0 to its largest score."""
    return _counts_at(masks, np.linspace(0.0, masks.largest, GRID))


def chains(masks: ThresholdMasks, *, last_layer: str) -> dict[str, np.ndarray]:
    """(m, n_groups) counts of removed weights along each curve, by what it does.

    None of them is exact for the whole problem: the front that only a search can find lies on or below each, so that
    the best is an upper bound of its errors.

    Args:
        masks: Of several groups.
        last_layer: The last layer's name.
    """
    pooled = masks.largest.max() * np.geomspace(1e-3, 1.0, _STEPS)
    shares = np.linspace(0.0, 1.0, _STEPS)
    return {
        "one threshold everywhere": _counts_at(masks, np.repeat(pooled[:, None], masks.n_groups, axis=1)),
        "one share everywhere": np.unique(
            masks.counts_of_shares(np.repeat(shares[:, None], masks.n_groups, axis=1)), axis=0
        ),
        f"{last_layer} alone": last_layer_alone(masks),
    }


def last_layer_alone(masks: ThresholdMasks) -> np.ndarray:
    """(m, n_groups) counts that prune only the last layer, each of its groups by the same share."""
    shares = np.zeros((MOST_STEPS, masks.n_groups))
    columns = masks.columns[-1]
    steps = min(MOST_STEPS, int(masks.sizes[columns].max()) + 1)
    shares[:steps, columns] = ((np.arange(steps) + 0.5) / steps)[:, None]
    return np.unique(masks.counts_of_shares(shares[:steps]), axis=0)


def _counts_at(masks: ThresholdMasks, thresholds: np.ndarray) -> np.ndarray:
    return np.unique(masks.counts_at(thresholds), axis=0)

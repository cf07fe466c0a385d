"""Criteria by which single weights are kept: scores of initial and final weights, the highest stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`(w_i, w_f) -> scores`, all of one shape: initial weights, final ones, and what is kept where it is highest."""


def _sign(w: np.ndarray) -> np.ndarray:
    return np.where(w < 0, -1.0, 1.0)


def large_final(w_i: np.ndarray, w_f: np.ndarray) -> np.ndarray:
    """|w_f|, the magnitude criterion."""
    return np.abs(w_f)


def small_final(w_i: np.ndarray, w_f: np.ndarray) -> np.ndarray:
    """-|w_f|."""
    return -np.abs(w_f)


def large_init(w_i: np.ndarray, w_f: np.ndarray) -> np.ndarray:
    """|w_i|."""
    return np.abs(w_i)


def small_init(w_i: np.ndarray, w_f: np.ndarray) -> np.ndarray:
    """-|w_i|."""
    return -np.abs(w_i)


def large_init_large_final(w_i: np.ndarray, w_f: np.ndarray) -> np.ndarray:
    """min(a |w_f|, |w_i|), a = mean |w_i| / mean |w_f|, so that both count alike."""
    return np.minimum(_ratio(w_i, w_f) * np.abs(w_f), np.abs(w_i))


def small_init_small_final(w_i: np.ndarray, w_f: np.ndarray) -> np.ndarray:
    """-max(a |w_f|, |w_i|), a as for `large_init_large_final`."""
    return -np.maximum(_ratio(w_i, w_f) * np.abs(w_f), np.abs(w_i))


def magnitude_increase(w_i: np.ndarray, w_f: np.ndarray) -> np.ndarray:
    """|w_f| - |w_i|."""
    return np.abs(w_f) - np.abs(w_i)


def movement(w_i: np.ndarray, w_f: np.ndarray) -> np.ndarray:
    """|w_f - w_i|."""
    return np.abs(w_f - w_i)


def large_final_same_sign(w_i: np.ndarray, w_f: np.ndarray) -> np.ndarray:
    """max(0, w_i w_f / |w_i|), "MagSign": large final weights that kept their sign."""
    return np.maximum(0.0, _sign(w_i) * w_f)


def large_final_diff_sign(w_i: np.ndarray, w_f: np.ndarray) -> np.ndarray:
    """max(0, -w_i w_f / |w_i|): large final weights that changed their sign."""
    return np.maximum(0.0, -_sign(w_i) * w_f)


def _ratio(w_i: np.ndarray, w_f: np.ndarray) -> float:
    return float(np.abs(w_i).mean() / max(float(np.abs(w_f).mean()), 1e-30))


MASK_CRITERIA: dict[str, Score] = {
    f.__name__: f
    for f in (
        large_final,
        small_final,
        large_init,
        small_init,
        large_init_large_final,
        small_init_small_final,
        magnitude_increase,
        movement,
        large_final_same_sign,
        large_final_diff_sign,
    )
}
"""Criteria on initial and final weights, by name. Source: Zhou et al. 2019, arXiv:1905.01067, sec. 2."""


def filter_scores(name: str, w_i: np.ndarray, w_f: np.ndarray) -> np.ndarray:
    """The same criteria for whole rows (filters, neurons): by the mean over each row's weights.

    Magnitudes are means of the weights' own scores, so `large_final` is the mean of |w_f|; where signs count,
    the rows' mean weights are compared: sign(mean w_i) mean w_f for `large_final_same_sign`.

    Args:
        name: One of `MASK_CRITERIA`.
        w_i: (n_out, ...) initial weights.
        w_f: Final weights of the same shape.

    Returns:
        (n_out,) float64.
    """
    rows_i, rows_f = (w.reshape(len(w), -1).astype(np.float64) for w in (w_i, w_f))
    if name.endswith("_sign"):
        # the thesis's filters: unlike single weights, rows of the wrong sign are ranked too
        same = _sign(rows_i.mean(axis=1)) * rows_f.mean(axis=1)
        return same if name == "large_final_same_sign" else -same
    return MASK_CRITERIA[name](rows_i, rows_f).mean(axis=1)

"""From scores to masks: the highest stay, everywhere or in each layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from operators.masks.sampling import shares
from opt.console.errors import check_choice

MaskScope = Literal["global", "layer", "normalised"]
"""`global` compares all layers' scores, `layer` keeps the same share of each layer, `normalised` compares scores
divided by their layer's mean size."""


def keep_highest(
    scores: Sequence[np.ndarray], n_kept: int, *, scope: MaskScope = "global", least: int = 0
) -> np.ndarray:
    """The mask of the highest scores.

    Args:
        scores: One array a layer; -inf is kept last.
        n_kept: Places to keep in all.
        scope: How layers are compared.
        least: Fewest places that each layer keeps (all of a smaller one).

    Returns:
        (n,) bool over all layers' places, in order; of equal scores the first are kept.
    """
    flat = [np.asarray(s, dtype=np.float64).ravel() for s in scores]
    sizes = [s.size for s in flat]
    if not 0 <= n_kept <= sum(sizes):
        raise ValueError(f"n_kept must lie from 0 to {sum(sizes)}, got {n_kept}.")
    return SCOPES[check_choice("scope", scope, SCOPES)](flat, n_kept, least)


def _over_all_layers(flat: list[np.ndarray], n_kept: int, least: int) -> np.ndarray:
    kept = np.concatenate([_top(s, min(least, s.size)) for s in flat])
    left = n_kept - int(kept.sum())
    if left < 0:
        raise ValueError(f"n_kept must be at least {int(kept.sum())} for {least} places in each layer, got {n_kept}.")
    pooled = np.where(kept, -np.inf, np.concatenate(flat))
    order = np.argsort(-pooled, kind="stable")
    order = order[~kept[order]]
    kept[order[:left]] = True
    return kept


def _over_each_layer(flat: list[np.ndarray], n_kept: int, least: int) -> np.ndarray:
    counts = shares([s.size for s in flat], n_kept)
    return np.concatenate([_top(s, k) for s, k in zip(flat, counts, strict=True)])


def _normalised(flat: list[np.ndarray], n_kept: int, least: int) -> np.ndarray:
    means = [float(np.abs(s[np.isfinite(s)]).mean()) if np.isfinite(s).any() else 1.0 for s in flat]
    return _over_all_layers([s / max(mean, 1e-300) for s, mean in zip(flat, means, strict=True)], n_kept, least)


SCOPES: dict[str, Callable[[list[np.ndarray], int, int], np.ndarray]] = {
    "global": _over_all_layers,
    "layer": _over_each_layer,
    "normalised": _normalised,
}
"""`(flat scores a layer, n_kept, least) -> mask`, by how layers are compared."""


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    mask = np.zeros(scores.size, dtype=bool)
    mask[np.argsort(-scores, kind="stable")[:k]] = True
    return mask


def lottery_keep_counts(
    sizes: Sequence[int], n_kept: int, *, rate: float = 0.2, last_rate: float = 0.1
) -> list[list[int]]:
    """Places kept by each layer after each round of iterative pruning that ends at `n_kept` in all.

    A round removes `rate` of what each layer has left and `last_rate` of the last; the last round removes so
    much less of it that the total comes out.

    Source: Frankle and Carbin 2019, arXiv:1803.03635, sec. 2 and app. G.
    """
    rates = np.array([rate] * (len(sizes) - 1) + [last_rate])
    total = np.array(sizes, dtype=np.float64)

    def kept_after(rounds: float) -> np.ndarray:
        return total * (1 - rates) ** rounds

    n_rounds = 1
    while kept_after(n_rounds).sum() > n_kept:
        n_rounds += 1
    low, high = n_rounds - 1.0, float(n_rounds)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if kept_after(middle).sum() > n_kept else (low, middle)
    plan = [np.rint(kept_after(k)).astype(int).tolist() for k in range(1, n_rounds)]
    exact = kept_after(high)
    last = np.floor(exact + 1e-9).astype(int)
    for layer in np.argsort(-(exact - last), kind="stable")[: n_kept - int(last.sum())]:
        last[layer] += 1
    return [*plan, last.tolist()]

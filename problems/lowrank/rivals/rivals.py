"""Rival methods as curves over budgets: each gives a compressed network and its size."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import nn

from opt.console.command import warn
from problems.lowrank.calibration import Compensation
from problems.lowrank.choices import SIZES, Choice, ChoiceTable, Size
from problems.lowrank.decomposed_network import DecomposableNetwork, Decomposition
from problems.lowrank.ladder import Ladder
from problems.lowrank.layer_matrices import Layer
from problems.lowrank.rivals.filters import filter_thresholding, magnitude_pruning, provable_filter_pruning
from problems.lowrank.rivals.pruned_network import pruned_sizes
from problems.lowrank.spectra import option_key, singular_values

Choices = dict[str, Choice | None]

RIVALS = {
    "uniform": "uniform SVD",
    "frobenius": "SVD energy, Frobenius",
    "nuclear": "SVD energy, nuclear",
    "spectral": "SVD energy, spectral",
    "pca": "PCA",
    "l-rank": "L-Rank",
}
"""Names of the rivals' curves by their names on the command line."""


@dataclasses.dataclass(frozen=True)
class Rival:
    """One network of a rival's curve.

    Args:
        model: In evaluation mode; for decompositions with the weights that the factors stand for.
        sizes: Parameters, multiply-adds and bytes of what has to be stored and computed.
        choices: By layer, where it is a decomposition.
        decomposition: What `model` was made from then.
        on_data: Whether its factors are those that are optimal on data.
    """

    model: nn.Module
    sizes: Mapping[Size, int]
    choices: Mapping[str, Choice | None] | None = None
    decomposition: Decomposition | None = None
    on_data: bool = False


def rival_curves(
    network: DecomposableNetwork,
    budgets: Sequence[float] | np.ndarray,
    *,
    size: Size = "parameters",
    with_pruning: bool = True,
    compensation: Compensation = "none",
) -> dict[str, list[Rival]]:
    """Every rival at every budget; a budget below a method's smallest network gives none.

    Args:
        network: To compress.
        budgets: Of the whole network, in units of `size`.
        size: What budgets are in.
        with_pruning: Whether methods that prune filters or weights are among them.
        compensation: What decompositions are given back, as in `DecomposableNetwork.compress`; none as published.
    """
    curves: dict[str, list[Rival]] = {}
    allocators = decomposition_allocators(network, size)
    for name, allocate in allocators.items():
        found = [c for b in budgets if (c := allocate(float(b))) is not None]
        curves[name] = [decomposed_rival(network, c, on_data=name == "PCA", compensation=compensation) for c in found]
    if with_pruning:
        prunings: dict[str, Callable[..., nn.Module | None]] = {
            "FT": filter_thresholding,
            "PFP": provable_filter_pruning,
            "magnitude": magnitude_pruning,
        }
        for name, prune in prunings.items():
            try:
                models = [m for b in budgets if (m := prune(network, float(b), size=size)) is not None]
                curves[name] = [Rival(m, pruned_sizes(network, m, is_structured=name != "magnitude")) for m in models]
            except Exception as error:  # gradients and inputs of a user's layers may not be had
                reason = " ".join(str(error).split())
                warn(f"{name} is not for this network ({type(error).__name__}: {reason[:100]}) and is left out")
    return curves


def decomposed_rival(
    network: DecomposableNetwork,
    choices: Choices,
    *,
    on_data: bool = False,
    compensation: Compensation = "none",
) -> Rival:
    """A decomposition as a rival, with its sizes."""
    table = network.table()
    x = table.row(choices)[None]
    made = network.compress(choices, on_data=on_data, compensation=compensation)
    return Rival(made.dense, {s: int(table.sizes(x, s)[0]) for s in SIZES}, choices, made, on_data)


def decomposition_allocators(
    network: DecomposableNetwork, size: Size = "parameters"
) -> dict[str, Callable[[float], Choices | None]]:
    """Allocations of one slice a layer, by method: `(budget) -> choices`, None below the smallest network.

    Uniform SVD keeps the same share of every layer. One energy: for each layer the least rank that drops at most a
    share of its sum of squared singular values (Frobenius), of their sum (nuclear) or of the largest (spectral).
    PCA: the directions of a layer's outputs on data, dropped one by one, always the one of the least relative
    variance for what it saves. L-Rank: the least sum of squared dropped singular values plus lambda times the size.

    Sources: Zhang et al. 2015, arXiv:1505.06798, sec. 3.2 (PCA; there the product of the layers' kept variances is made
    largest, one direction at a time, which is what dropping the least relative loss a unit of size does);
    Idelbayev and Carreira-Perpinan 2020, doi:10.1109/CVPR42600.2020.00807 (L-Rank; lambda is found for the budget
    on the convex hull, where alternating it with training is left out).
    """
    spectral = network.table("spectral")
    one = _single_slices(spectral)
    energies: dict[str, ChoiceTable] = {
        "SVD energy, Frobenius": network.table("frobenius"),
        "SVD energy, nuclear": network.table("nuclear"),
        "SVD energy, spectral": spectral,
    }
    ladders = {name: Ladder(table, size, options=one) for name, table in energies.items()}
    lost = {
        option_key(layer.name, 0, 1): _dropped_squares(network.weights[layer.name], layer) for layer in network.layers
    }
    ladders["L-Rank"] = Ladder(_one_slice_table(network, lost), size, aggregate="sum")

    def by_ladder(ladder: Ladder) -> Callable[[float], Choices | None]:
        def allocate(budget: float) -> Choices | None:
            if budget < ladder.smallest:
                return None
            return ladder.table.choices(ladder.allocate(budget, spend=False))

        return allocate

    return {
        "uniform SVD": lambda budget: _uniform(spectral, size, budget),
        **{name: by_ladder(ladders[name]) for name in energies},
        "PCA": lambda budget: _pca(network, spectral, size, budget),
        "L-Rank": by_ladder(ladders["L-Rank"]),
    }


def _single_slices(table: ChoiceTable) -> list[list[int]]:
    return [[o for o, (scheme, k) in enumerate(pairs) if scheme == 0 and k == 1] for pairs in table.options]


def _one_slice_table(network: DecomposableNetwork, errors: Mapping[str, np.ndarray]) -> ChoiceTable:
    return ChoiceTable([_OneSlice.of(layer) for layer in network.layers], errors, network.whole)


class _OneSlice(Layer):
    """A layer that is not sliced."""

    @classmethod
    def of(cls, layer: Layer) -> _OneSlice:
        return cls(**{f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)})

    @property
    def slices(self) -> tuple[int, ...]:
        return (1,)


def _dropped_squares(weight: np.ndarray, layer: Layer) -> np.ndarray:
    """Root of the sum of squared singular values dropped at each rank: absolute, as L-Rank weighs layers."""
    squares = (singular_values(weight, layer, 0, 1) ** 2).sum(axis=0)
    return np.sqrt(np.append(np.cumsum(squares[::-1])[::-1], 0.0))


def _uniform(table: ChoiceTable, size: Size, budget: float) -> Choices | None:
    """The largest common share of every layer's size that fits."""
    one = _single_slices(table)
    best = None
    low, high = 0.0, 1.0
    for _ in range(40):
        share = (low + high) / 2 if best is not None or low > 0 else high
        x = table.whole_row()
        for i, options in enumerate(one):
            if options:
                rank = int(share * table.dense[size][i] / table.rank_size[size][i, options[0]])
                x[2 * i : 2 * i + 2] = options[0], max(1, rank)
        x = table.canonical(x[None])[0]
        if table.sizes(x[None], size)[0] <= budget:
            best, low = x, share
        else:
            high = share
            if best is None and low == 0.0:
                low = 1e-12
    return None if best is None else table.choices(best)


def _pca(network: DecomposableNetwork, table: ChoiceTable, size: Size, budget: float) -> Choices | None:
    one = _single_slices(table)
    ranks, variances, costs = {}, {}, {}
    for i, options in enumerate(one):
        if not options:
            continue
        layer = table.layers[i]
        errors = network.data_factors(layer.name, 1).errors
        variances[i] = np.maximum(errors[:-1] ** 2 - errors[1:] ** 2, 0.0)
        ranks[i] = len(variances[i])
        costs[i] = int(table.rank_size[size][i, options[0]])
    heap = [(_loss(variances[i], ranks[i]) / costs[i], i) for i in ranks]
    heapq.heapify(heap)
    x = table.whole_row()
    while table.sizes(x[None], size)[0] > budget:
        if not heap:
            return None
        _, i = heapq.heappop(heap)
        ranks[i] -= 1
        x[2 * i : 2 * i + 2] = one[i][0], ranks[i]
        if ranks[i] > 1:
            heapq.heappush(heap, (_loss(variances[i], ranks[i]) / costs[i], i))
    return table.choices(table.canonical(x[None])[0])


def _loss(variances: np.ndarray, rank: int) -> float:
    """Relative loss of kept variance when the last of `rank` directions goes."""
    kept = float(variances[:rank].sum())
    return float(variances[rank - 1]) / kept if kept > 0 else 0.0

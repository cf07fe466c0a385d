"""Initial populations of networks cut out of their parent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from operators.networks.genome import NetworkGenome, ParentNetwork, as_population


def l1_ranking(network: ParentNetwork) -> list[np.ndarray]:
    """Neurons of every hidden layer by falling L1 norm of their incoming weights, biases left out.

    The norms of a deeper layer are those of the whole network; `l1_pruned` takes them over the
    inputs that are left.
    """
    return [np.argsort(-np.abs(weight).sum(axis=1), kind="stable") for weight in network.weights[:-1]]


def l1_pruned(network: ParentNetwork, widths: Sequence[int]) -> NetworkGenome:
    """The network without its neurons of smallest L1 norm, layer after layer.

    Each hidden layer keeps the `widths[k]` rows of largest L1 norm; the columns of pruned neurons
    are gone before the next layer's norms are taken. Ties keep the neuron of the smaller index.

    Source: Li et al. 2017, arXiv:1608.08710, on neurons instead of filters.
    """
    ids: list[np.ndarray] = []
    for k, width in enumerate(_checked(network, widths)):
        weight = network.weights[k] if k == 0 else network.weights[k][:, ids[-1]]
        norms = np.abs(weight).sum(axis=1)
        ids.append(np.sort(np.argsort(-norms, kind="stable")[:width]))
    return network.genome(ids)


def equal_widths(network: ParentNetwork, rates: Sequence[float] | np.ndarray) -> list[tuple[int, ...]]:
    """Widths per hidden layer when each loses the fraction `rate` of its neurons, rounded down to lose."""
    return [tuple(max(1, width - int(rate * width)) for width in network.widths) for rate in rates]


@dataclass(frozen=True)
class L1Sampling:
    """L1-pruned networks with the same pruning rate in all layers, rates spread evenly.

    The rates of n genomes are `low + i (high - low) / n`, i = 0..n-1: the published initial
    population, without randomness.

    Args:
        network: The network that is pruned.
        low: Smallest pruning rate, included.
        high: Largest pruning rate, not reached.
    """

    network: ParentNetwork
    low: float = 0.1
    high: float = 0.8

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 1) genomes; `rng` is not used."""
        rates = self.low + (self.high - self.low) * np.arange(n) / n
        return as_population(l1_pruned(self.network, widths) for widths in equal_widths(self.network, rates))


@dataclass(frozen=True)
class RandomSubsetSampling:
    """Random neurons, with widths per layer drawn independently and log-uniformly.

    Args:
        network: The network that neurons are drawn from.
        smallest: Smallest width, as a fraction of the layer's.
        largest: Largest width, as a fraction of the layer's.
    """

    network: ParentNetwork
    smallest: float = 0.04
    largest: float = 1.0

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 1) genomes."""
        return as_population(
            self.network.genome(
                [
                    rng.choice(total, size=width, replace=False)
                    for total, width in zip(self.network.widths, widths, strict=True)
                ]
            )
            for widths in spread_widths(self.network, n, rng, smallest=self.smallest, largest=self.largest)
        )


@dataclass(frozen=True)
class RankedSampling:
    """The first neurons of given rankings, with widths per layer drawn independently.

    Args:
        network: The network that neurons are taken from.
        rankings: One permutation of the neurons per hidden layer, most important first.
        smallest: Smallest width, as a fraction of the layer's.
        largest: Largest width, as a fraction of the layer's.
    """

    network: ParentNetwork
    rankings: Sequence[np.ndarray]
    smallest: float = 0.04
    largest: float = 1.0

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 1) genomes."""
        return as_population(
            self.network.genome([rank[:width] for rank, width in zip(self.rankings, widths, strict=True)])
            for widths in spread_widths(self.network, n, rng, smallest=self.smallest, largest=self.largest)
        )


@dataclass(frozen=True)
class MixtureSampling:
    """Genomes from several samplings, in turn.

    Args:
        parts: Samplings `(n, rng) -> (n, 1)`; the earlier ones get one more when n does not divide.
    """

    parts: Sequence[Callable[[int, np.random.Generator], np.ndarray]]

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 1) genomes."""
        counts = [len(range(i, n, len(self.parts))) for i in range(len(self.parts))]
        return np.concatenate([part(count, rng) for part, count in zip(self.parts, counts, strict=True) if count])


def spread_widths(
    network: ParentNetwork, n: int, rng: np.random.Generator, *, smallest: float = 0.04, largest: float = 1.0
) -> list[tuple[int, ...]]:
    """Width tuples, log-uniform in each layer and stratified: a Latin hypercube over the layers.

    Args:
        network: Gives the full widths.
        n: Number of tuples.
        rng: Generator for the strata's order and the place inside a stratum.
        smallest: Smallest width, as a fraction of the layer's, in (0, 1].
        largest: Largest width, as a fraction of the layer's, in (0, 1].

    Returns:
        n tuples with one width in 1..full per hidden layer.
    """
    if not 0.0 < smallest <= largest <= 1.0:
        raise ValueError(f"Need 0 < smallest <= largest <= 1, got {smallest} and {largest}.")
    columns = []
    for total in network.widths:
        u = (rng.permutation(n) + rng.random(n)) / max(n, 1)
        fraction = smallest * (largest / smallest) ** u
        columns.append(np.clip(np.rint(fraction * total), 1, total).astype(int))
    return [tuple(int(w) for w in row) for row in zip(*columns, strict=True)]


def _checked(network: ParentNetwork, widths: Sequence[int]) -> Sequence[int]:
    full = network.widths
    if len(widths) != len(full) or any(not 1 <= w <= f for w, f in zip(widths, full, strict=True)):
        raise ValueError(f"widths must be one number per hidden layer between 1 and {full}, got {tuple(widths)}.")
    return widths

"""Aligned crossover: children combine neurons by what they descend from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.networks.genome import NetworkGenome, ParentNetwork, as_population, descend


@dataclass(frozen=True)
class AlignedCrossover:
    """Children inherit neurons by identity, so a neuron never lands where another one was expected.

    All genomes descend from one network, so a neuron is known by the parent's neuron that it
    descends from. Per hidden layer, a child keeps the neurons that both parents have and fills up
    to its target width with neurons that only one of them has, each as likely as the other. The
    target width is uniform between the two parents' widths, stretched on both sides by `beyond`
    of the number of neurons in which they differ; every width between intersection and union can
    so arise. With probability `whole_layer` the two children instead take the parents' layers
    unchanged, in either order, which recombines layers that are good as they are.

    Explicit weights are aligned in the same way: a connection comes from the child's first parent
    when that has both its ends, else from the second, else from the network itself.

    Args:
        network: The network that all genomes descend from.
        beyond: Stretch of the range of target widths, as a fraction of the neurons that differ.
        whole_layer: Probability, per hidden layer, that layers are passed on whole.
        smallest: Children are not narrower than this fraction of the network's layers, unless their parents are.
    """

    network: ParentNetwork
    beyond: float = 0.1
    whole_layer: float = 0.25
    smallest: float = 0.0

    def __call__(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cross n pairs.

        Args:
            A: (n, 1) object array of genomes, the first parents.
            B: (n, 1) object array of genomes, the second parents.
            rng: Generator for all draws.

        Returns:
            Two (n, 1) object arrays of children.
        """
        pairs = [self._cross(a, b, rng) for a, b in zip(A[:, 0], B[:, 0], strict=True)]
        return as_population(c for c, _ in pairs), as_population(d for _, d in pairs)

    def _cross(
        self, a: NetworkGenome, b: NetworkGenome, rng: np.random.Generator
    ) -> tuple[NetworkGenome, NetworkGenome]:
        if a is b:
            return a, b
        ids_c, ids_d = [], []
        for left, right, least in zip(a.ids, b.ids, self.network.least_widths(self.smallest), strict=True):
            if rng.random() < self.whole_layer:
                first, second = (left, right) if rng.random() < 0.5 else (right, left)
            else:
                first, second = self._combine(left, right, least, rng), self._combine(left, right, least, rng)
            ids_c.append(first)
            ids_d.append(second)
        return descend(self.network, ids_c, a, b), descend(self.network, ids_d, b, a)

    def _combine(self, left: np.ndarray, right: np.ndarray, least: int, rng: np.random.Generator) -> np.ndarray:
        shared = np.intersect1d(left, right, assume_unique=True)
        single = np.setxor1d(left, right, assume_unique=True)
        stretch = self.beyond * single.size
        narrower = min(left.size, right.size)
        low = max(shared.size, min(least, narrower), round(narrower - stretch))
        high = min(shared.size + single.size, round(max(left.size, right.size) + stretch))
        width = int(rng.integers(low, high, endpoint=True))
        drawn = rng.choice(single, size=width - shared.size, replace=False)
        return np.sort(np.concatenate([shared, drawn]))

"""Block crossover: the top-left corners of two networks' weight matrices change places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.networks.genome import NetworkGenome, ParentNetwork, as_population


@dataclass(frozen=True)
class BlockCrossover:
    """Exchange the top-left c x c block of every linear layer, and the first c biases.

    Each linear layer draws its own cutoff c, uniform in 1..m, m being the smallest of both parents'
    numbers of inputs and outputs. A child keeps the shape and the neuron ids of one parent, so no
    new width ever arises; what its rows then hold may descend from other neurons. That is the
    published operator, kept for comparison.

    Args:
        network: The network that all genomes descend from.
    """

    network: ParentNetwork

    def __call__(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cross n pairs.

        Args:
            A: (n, 1) object array of genomes, the first parents.
            B: (n, 1) object array of genomes, the second parents.
            rng: Generator that the cutoffs are drawn from.

        Returns:
            Two (n, 1) object arrays: children shaped like A's and like B's genomes.
        """
        pairs = [self._cross(a, b, rng) for a, b in zip(A[:, 0], B[:, 0], strict=True)]
        return as_population(c for c, _ in pairs), as_population(d for _, d in pairs)

    def _cross(
        self, a: NetworkGenome, b: NetworkGenome, rng: np.random.Generator
    ) -> tuple[NetworkGenome, NetworkGenome]:
        if a is b:
            return a, b
        children: tuple[list, list, list, list] = ([], [], [], [])
        for k in range(len(a.weights)):
            c = int(rng.integers(1, min(*a.shape(k, self.network), *b.shape(k, self.network)), endpoint=True))
            for (own, other), made in zip(((a, b), (b, a)), (children[:2], children[2:]), strict=True):
                made[0].append(self._exchanged(own, other, k, c))
                made[1].append(self._exchanged_bias(own, other, k, c))
        weights_c, biases_c, weights_d, biases_d = (tuple(made) for made in children)
        return NetworkGenome(a.ids, weights_c, biases_c), NetworkGenome(b.ids, weights_d, biases_d)

    def _exchanged(self, own: NetworkGenome, other: NetworkGenome, k: int, c: int) -> np.ndarray:
        """The explicit corner of own's layer k after its first c rows and columns became other's."""
        if k:
            corner = own.corner(k, self.network, *own.shape(k, self.network))
            theirs = other.layer_weight(k, self.network)
        else:
            # Most of the first layer's inputs lie beyond every cutoff: only its corner is ever made explicit.
            corner = self._grown(own, c)
            theirs = self._grown(other, c)
        corner[:c, :c] = theirs[:c, :c]
        return corner

    def _grown(self, genome: NetworkGenome, c: int) -> np.ndarray:
        """A copy of the first layer's explicit corner, at least c x c."""
        weight = genome.weights[0]
        n_rows, n_columns = (0, 0) if weight is None else weight.shape
        return genome.corner(0, self.network, max(n_rows, c), max(n_columns, c))

    def _exchanged_bias(self, own: NetworkGenome, other: NetworkGenome, k: int, c: int) -> np.ndarray:
        bias = own.layer_bias(k, self.network).copy()
        bias[:c] = other.layer_bias(k, self.network)[:c]
        return bias

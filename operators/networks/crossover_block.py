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
            (weight_a, bias_a), (weight_b, bias_b) = a.layer(k, self.network), b.layer(k, self.network)
            c = int(rng.integers(1, min(*weight_a.shape, *weight_b.shape), endpoint=True))
            weight_c, weight_d, bias_c, bias_d = weight_a.copy(), weight_b.copy(), bias_a.copy(), bias_b.copy()
            weight_c[:c, :c], weight_d[:c, :c] = weight_b[:c, :c], weight_a[:c, :c]
            bias_c[:c], bias_d[:c] = bias_b[:c], bias_a[:c]
            for made, array in zip(children, (weight_c, bias_c, weight_d, bias_d), strict=True):
                made.append(array)
        weights_c, biases_c, weights_d, biases_d = (tuple(made) for made in children)
        return NetworkGenome(a.ids, weights_c, biases_c), NetworkGenome(b.ids, weights_d, biases_d)

"""Mutations of networks: weight noise, and neurons removed, inserted, exchanged and merged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from operators.networks.genome import NetworkGenome, ParentNetwork, as_population, descend


@dataclass(frozen=True)
class WeightNoise:
    """Multiply every weight and bias of a network by its own factor from U(1 - spread, 1 + spread).

    Args:
        network: The network that all genomes descend from.
        probability: Probability that a network is mutated at all; the published value is 0.01.
        spread: Half the width of the factors' range; the published value is 0.1.
    """

    network: ParentNetwork
    probability: float = 0.01
    spread: float = 0.1

    def __call__(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutate (n, 1) genomes; those that are not drawn are returned as they are."""
        hit = rng.random(len(X)) < self.probability
        return as_population(
            self._mutate(genome, rng) if chosen else genome for genome, chosen in zip(X[:, 0], hit, strict=True)
        )

    def _mutate(self, genome: NetworkGenome, rng: np.random.Generator) -> NetworkGenome:
        weights, biases = genome.materialise(self.network)
        return NetworkGenome(
            genome.ids,
            tuple(w * self._factors(w.shape, rng) for w in weights),
            tuple(b * self._factors(b.shape, rng) for b in biases),
        )

    def _factors(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(1.0 - self.spread, 1.0 + self.spread, shape).astype(np.float32)


@dataclass(frozen=True)
class NeuronMutation:
    """Change which neurons a network has; every genome that goes in comes out changed if it can be.

    A move hits one hidden layer, or with probability `several` each of them with a half chance.
    It is drawn by the weights of `remove`, `insert`, `exchange` (as many removed as inserted) and
    `merge`, and hits k neurons with k log-uniform between 1 and `largest` of the parent network's
    layer: P(k) ~ 1/k, so that single neurons and a fifth of the layer are both common moves. Inserted neurons
    come with the parent network's connections. Merging takes a neuron and the one with the most
    similar incoming weights: incoming weights and bias are averaged, weighted by the norm of the
    outgoing weights, and outgoing weights are summed. No layer becomes narrower than `smallest`.

    Args:
        network: The network that all genomes descend from.
        remove: Weight of removing neurons.
        insert: Weight of putting back neurons of the parent network.
        exchange: Weight of removing some and inserting as many others.
        merge: Weight of merging neurons, which makes weights explicit.
        largest: Largest move, as a fraction of the layer's width.
        several: Probability that more than one layer may change at once.
        smallest: No layer loses neurons below this fraction of the network's layer, and none its last one.
    """

    network: ParentNetwork
    remove: float = 0.3
    insert: float = 0.2
    exchange: float = 0.5
    merge: float = 0.0
    largest: float = 0.2
    several: float = 0.3
    smallest: float = 0.0

    def __post_init__(self) -> None:
        weights = (self.remove, self.insert, self.exchange, self.merge)
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"remove, insert, exchange and merge must be >= 0 and not all 0, got {weights}.")

    def __call__(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutate every one of (n, 1) genomes."""
        return as_population(self._mutate(genome, rng) for genome in X[:, 0])

    def _mutate(self, genome: NetworkGenome, rng: np.random.Generator) -> NetworkGenome:
        n_hidden = len(genome.ids)
        layers = [int(rng.integers(n_hidden))]
        if rng.random() < self.several:
            layers = [k for k in range(n_hidden) if rng.random() < 0.5] or layers
        for k in layers:
            genome = self._move(genome, k, rng)
        return genome

    def _move(self, genome: NetworkGenome, k: int, rng: np.random.Generator) -> NetworkGenome:
        have, total = genome.ids[k], self.network.widths[k]
        outside = np.setdiff1d(np.arange(total, dtype=have.dtype), have, assume_unique=True)
        moves = ("remove", "insert", "exchange", "merge")
        spare = have.size - self.network.least_widths(self.smallest)[k]
        possible = np.array([spare > 0, outside.size > 0, outside.size > 0, spare > 0])
        weights = np.array([self.remove, self.insert, self.exchange, self.merge]) * possible
        if not weights.any():
            return genome
        move = moves[int(rng.choice(4, p=weights / weights.sum()))]
        # Steps scale with the genome's own width, except that growth may start from very little.
        step = self._step(have.size, rng)
        if move == "merge":
            for _ in range(min(step, spare)):
                genome = merge_neurons(genome, k, self.network, rng)
            return genome
        if move == "remove":
            n_out, n_in = min(step, spare), 0
        elif move == "insert":
            n_out, n_in = 0, min(step, outside.size)
        else:
            n_out = n_in = min(step, have.size, outside.size)
        kept = rng.choice(have, size=have.size - n_out, replace=False)
        inserted = rng.choice(outside, size=n_in, replace=False)
        ids = list(genome.ids)
        ids[k] = np.sort(np.concatenate([kept, inserted]))
        return descend(self.network, ids, genome)

    def _step(self, width: int, rng: np.random.Generator) -> int:
        """Log-uniform in 1..max(2, largest * width)."""
        top = max(2.0, self.largest * width)
        return int(math.exp(rng.uniform(0.0, math.log(top + 1.0))))


def merge_neurons(genome: NetworkGenome, k: int, network: ParentNetwork, rng: np.random.Generator) -> NetworkGenome:
    """Merge a random neuron of hidden layer k with the one whose incoming weights are most similar.

    With outgoing norms n_i and n_j, the merged neuron's incoming weights and bias are
    (n_i w_i + n_j w_j) / (n_i + n_j), its outgoing weights o_i + o_j, and its id is that of the
    neuron with the larger norm.

    Args:
        genome: The network; its hidden layer k has at least 2 neurons.
        k: Hidden layer, from 0.
        network: The network that the genome descends from.
        rng: Generator for the first neuron.

    Returns:
        A new genome with one neuron less and explicit weights around hidden layer k.
    """
    weights, biases = genome.materialise(network)
    incoming, bias, outgoing = weights[k].copy(), biases[k].copy(), weights[k + 1].copy()
    i = int(rng.integers(incoming.shape[0]))
    full = np.column_stack([incoming, bias])
    cosine = full @ full[i] / (np.linalg.norm(full, axis=1) * np.linalg.norm(full[i]) + 1e-12)
    cosine[i] = -np.inf
    j = int(np.argmax(cosine))
    norms = np.linalg.norm(outgoing, axis=0)
    if norms[j] > norms[i]:
        i, j = j, i
    share = norms[i] / (norms[i] + norms[j]) if norms[i] > 0 else 1.0
    incoming[i] = share * incoming[i] + (1.0 - share) * incoming[j]
    bias[i] = share * bias[i] + (1.0 - share) * bias[j]
    outgoing[:, i] += outgoing[:, j]

    ids, new_weights, new_biases = list(genome.ids), list(genome.weights), list(genome.biases)
    ids[k] = np.delete(ids[k], j)
    new_weights[k], new_biases[k] = np.delete(incoming, j, axis=0), np.delete(bias, j)
    new_weights[k + 1] = np.delete(outgoing, j, axis=1)
    return NetworkGenome(tuple(ids), tuple(new_weights), tuple(new_biases))

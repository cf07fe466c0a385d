"""How good pruned networks are on one split, by whichever way is cheapest for what is pruned and judged."""

from __future__ import annotations

import numpy as np

from problems.data.examples import Examples
from problems.networks.evaluation.staged import Pruned, StagedNetwork
from problems.networks.layers.prunable import Prunable
from problems.networks.storage.checkpoints import as_numpy
from problems.thresholds.chain import RemovalChain
from problems.thresholds.masking import ThresholdMasks
from problems.workloads.layerwise_quality import LayerwiseQuality
from problems.workloads.workload import Workload

LARGEST_CHAIN = 20_000
"""Most weights of a last layer whose masks are all counted by cumulative updates."""


class PrunedQuality:
    """What is measured of pruned networks, by numbers of removed weights.

    Where right classes are counted, that is done by cumulative updates if one threshold prunes the last layer alone,
    and else in stages that candidates share. Any other measure takes the whole network for each candidate.

    Args:
        workload: What is pruned and how it is judged.
        examples: On what.
        names: Pruned layers in the order in which the network runs them.
        layers: The same, as modules.
        pruned: Gives the tensors of a pruned layer.
        masks: The order in which weights are removed.
        mean: (inputs,) means that the bias of the only pruned layer takes over, or None where it does not.

    Attributes:
        is_chain: Whether cumulative updates are used.
        is_accuracy: Whether right classes are counted.
    """

    def __init__(
        self,
        workload: Workload,
        examples: Examples,
        names: list[str],
        layers: list[Prunable],
        pruned: Pruned,
        masks: ThresholdMasks,
        *,
        mean: np.ndarray | None,
    ) -> None:
        self._columns, self._n = masks.columns, len(examples)
        self._quality = LayerwiseQuality(workload, examples, dict(zip(names, layers, strict=True)), pruned)
        self._chain: RemovalChain | None = None
        staged = self._quality.staged
        if staged is not None and masks.n_groups == 1 and masks.sizes[0] <= LARGEST_CHAIN:
            self._chain = _chain(staged, layers[0], masks, mean)
        self.is_accuracy = staged is not None
        self.is_chain = self._chain is not None

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """(n,) float64 of what is minimised, for (n, n_groups) counts of removed weights."""
        if self._chain is not None:
            return 1.0 - self._chain.n_right(counts[:, 0]) / self._n
        return self._quality(self._by_layer(counts))

    def judged(self, counts: np.ndarray) -> list[dict[str, float]]:
        """Metrics by name, for (n, n_groups) counts of removed weights; the accuracy alone where that is counted."""
        if self._chain is not None:
            return [{"accuracy": float(n)} for n in self._chain.n_right(counts[:, 0]) / self._n]
        return self._quality.judged(self._by_layer(counts))

    def _by_layer(self, counts: np.ndarray) -> list[np.ndarray]:
        return [counts[:, columns] for columns in self._columns]


def _chain(
    network: StagedNetwork, layer: Prunable, masks: ThresholdMasks, mean: np.ndarray | None
) -> RemovalChain | None:
    """Cumulative updates of the last layer's logits; None where it is not the last, or not on vectors."""
    if not network.ends_in_linear:
        return None
    features, labels = network.features()
    if features.ndim != 2:
        return None
    weight, bias = as_numpy(layer.weight), layer.bias
    offset = None if bias is None else as_numpy(bias)
    return RemovalChain(features, labels, weight, offset, masks.order(0), mean=mean)

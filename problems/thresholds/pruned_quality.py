"""How good pruned networks are on one split, by whichever way is cheapest for what is pruned and judged."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from problems.data.examples import Examples
from problems.networks.evaluation.staged import Pruned, StagedNetwork
from problems.networks.layers.prunable import Prunable, replaced
from problems.networks.storage.checkpoints import as_numpy
from problems.thresholds.chain import RemovalChain
from problems.thresholds.masking import ThresholdMasks
from problems.workloads.network_problem import counts_right_classes
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
        self._workload, self._examples, self._names = workload, examples, names
        self._layers = dict(zip(names, layers, strict=True))
        self._pruned, self._columns = pruned, masks.columns
        self._network: StagedNetwork | None = None
        self._chain: RemovalChain | None = None
        self.is_accuracy = counts_right_classes(workload, examples)
        if self.is_accuracy:
            assert isinstance(examples.inputs, Tensor)
            self._network = StagedNetwork(workload.network, names, examples.inputs, examples.targets, pruned)
        if self._network is not None and masks.n_groups == 1 and masks.sizes[0] <= LARGEST_CHAIN:
            self._chain = _chain(self._network, layers[0], masks, mean)
        self.is_chain = self._chain is not None

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """(n,) float64 of what is minimised, for (n, n_groups) counts of removed weights."""
        if self._network is None:
            return np.array([self._workload.quality(values) for values in self.judged(counts)])
        return 1.0 - self._accuracies(counts)

    def judged(self, counts: np.ndarray) -> list[dict[str, float]]:
        """Metrics by name, for (n, n_groups) counts of removed weights; the accuracy alone where that is counted."""
        if self._network is not None:
            return [{"accuracy": float(value)} for value in self._accuracies(counts)]
        return [self._whole(row) for row in counts]

    def _accuracies(self, counts: np.ndarray) -> np.ndarray:
        if self._chain is not None:
            right = self._chain.n_right(counts[:, 0])
        else:
            assert self._network is not None
            right = self._network.n_right([counts[:, columns] for columns in self._columns])
        return right / len(self._examples)

    def _whole(self, counts: np.ndarray) -> dict[str, float]:
        tensors = {name: self._pruned(k, counts[self._columns[k]]) for k, name in enumerate(self._names)}
        with replaced(self._layers, tensors):
            return self._workload.judge(self._workload.network, self._examples)


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

"""How good versions of a network with other weights in some layers are, by whichever way is cheapest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from problems.data.examples import Examples
from problems.networks.evaluation.staged import Pruned, StagedNetwork
from problems.networks.layers.prunable import Prunable, replaced
from problems.workloads.losses import accuracy
from problems.workloads.workload import Workload


class LayerwiseQuality:
    """What is measured of a workload's network with other tensors in some layers.

    Where right classes are counted, candidates share stages of the network. Any other measure takes the whole network
    for each candidate.

    Args:
        workload: The network and how it is judged.
        examples: On what.
        layers: Layers whose tensors change, by name, in the order in which the network runs them.
        tensors: Gives the tensors of a layer, `(layer's number, choice) -> (weight, bias)`.

    Attributes:
        staged: The network in stages; None where it is run whole.
    """

    def __init__(self, workload: Workload, examples: Examples, layers: Mapping[str, Prunable], tensors: Pruned) -> None:
        self._workload, self._examples, self._layers, self._tensors = workload, examples, dict(layers), tensors
        self.staged: StagedNetwork | None = None
        if counts_right_classes(workload, examples):
            assert isinstance(examples.inputs, Tensor)
            network = workload.network
            self.staged = StagedNetwork(network, list(layers), examples.inputs, examples.targets, tensors)

    def __call__(self, choices: Sequence[np.ndarray]) -> np.ndarray:
        """(n,) float64 of what is minimised, for one (n, k) array of choices a layer."""
        if self.staged is not None:
            return 1.0 - self.n_right(choices) / len(self._examples)
        return np.array([self._workload.quality(values) for values in self.judged(choices)])

    def judged(self, choices: Sequence[np.ndarray]) -> list[dict[str, float]]:
        """Metrics by name for each candidate; the accuracy alone where right classes are counted."""
        if self.staged is not None:
            return [{"accuracy": float(n)} for n in self.n_right(choices) / len(self._examples)]
        return [self.whole(choices, row) for row in range(len(choices[0]))]

    def n_right(self, choices: Sequence[np.ndarray]) -> np.ndarray:
        """(n,) right answers, where these are counted."""
        assert self.staged is not None
        return self.staged.n_right(choices)

    @torch.no_grad()
    def whole(self, choices: Sequence[np.ndarray], row: int) -> dict[str, float]:
        """Loss and metrics by name of one candidate's network, run whole."""
        tensors = {name: self._tensors(k, choices[k][row]) for k, name in enumerate(self._layers)}
        with replaced(self._layers, tensors):
            return self._workload.judge(self._workload.network, self._examples)


def counts_right_classes(workload: Workload, examples: Examples) -> bool:
    """Whether a workload's first measure is the share of right classes, of one tensor of outputs for one of inputs."""
    is_counted = workload.metric is not None and workload.metric.function is accuracy and workload.pick is None
    is_plain = isinstance(examples.inputs, Tensor) and examples.targets.ndim == 1 and workload.gives_tensor
    return is_counted and is_plain and not (workload.changes_inputs or workload.changes_itself or workload.mixes_batch)

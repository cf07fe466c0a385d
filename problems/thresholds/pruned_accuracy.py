"""Accuracy of pruned networks on one split of images, by whichever way is cheapest for what is pruned."""

from __future__ import annotations

import numpy as np

from problems.networks.evaluation.staged import StagedNetwork
from problems.networks.layers.prunable import Prunable
from problems.thresholds.chain import RemovalChain
from problems.thresholds.masking import ThresholdMasks

LARGEST_CHAIN = 20_000
"""Most weights of a last layer whose masks are all counted by cumulative updates."""


class PrunedAccuracy:
    """Accuracy by numbers of removed weights: by cumulative updates where one threshold prunes the last layer alone.

    Args:
        network: The network, cut at the pruned layers, with its images.
        masks: The order in which weights are removed.
        n_images: Number of images that `network` holds.
        layer: The first pruned layer; the only one where there is a chain.
        mean: (inputs,) means that the bias takes over, or None where it does not.

    Attributes:
        is_chain: Whether cumulative updates are used.
    """

    def __init__(
        self,
        network: StagedNetwork,
        masks: ThresholdMasks,
        *,
        n_images: int,
        layer: Prunable,
        mean: np.ndarray | None,
    ) -> None:
        self._network = network
        self._columns = masks.columns
        self._n_images = n_images
        self._chain: RemovalChain | None = None
        if masks.n_groups == 1 and network.ends_in_linear and masks.sizes[0] <= LARGEST_CHAIN:
            features, labels = network.features()
            if features.ndim == 2:
                weight, bias = layer.weight.detach().numpy(), layer.bias
                offset = None if bias is None else bias.detach().numpy()
                self._chain = RemovalChain(features, labels, weight, offset, masks.order(0), mean=mean)
        self.is_chain = self._chain is not None

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """(n,) float64 accuracies of (n, n_groups) counts of removed weights."""
        if self._chain is not None:
            right = self._chain.n_right(counts[:, 0])
        else:
            right = self._network.n_right([counts[:, columns] for columns in self._columns])
        return right / self._n_images

"""A task of one's own: how many bits does each layer's weight need? 2 to 8, chosen by search."""

import copy
from typing import Annotated

import numpy as np
import torch

from opt import CompressionProblem, Objective, Range, minimise
from problems.data.data import load_dataset
from problems.networks.training.training import evaluate
from problems.workloads.parents import trained_parent


class BitWidths(CompressionProblem):
    """Bits of each layer's weights, rounded to a symmetric grid.

    Args:
        data: Data set to train and search on.
        hidden: Width of the two hidden layers.
    """

    objectives = (
        Objective("error", minimise, unit="fraction", worst=1.0),
        Objective("size", minimise, unit="bits per weight", worst=8.0),
    )

    def __init__(self, *, data: str = "digits", hidden: Annotated[int, Range(1, 10_000)] = 32) -> None:
        self.dataset = load_dataset(data)
        self.parent, _ = trained_parent(self.dataset, widths=(hidden, hidden), batch_size=32, progress=False)
        self.counts = np.array([layer.weight.numel() for layer in self.parent.linear_layers])
        super().__init__(n_var=3, representation="integer", xl=2, xu=8)

    def decode(self, x):
        network = copy.deepcopy(self.parent)
        with torch.no_grad():
            for layer, bits in zip(network.linear_layers, x, strict=True):
                step = layer.weight.abs().max() / (2 ** (int(bits) - 1) - 1)
                layer.weight.copy_((layer.weight / step).round() * step)
        return network

    def evaluate(self, X):
        split = self.dataset.search
        errors = [1 - evaluate(self.decode(x), split.flat, split.labels)[1] for x in X]
        return np.column_stack([errors, X @ self.counts / self.counts.sum()])

    def test(self, x):
        split = self.dataset.test
        return {"accuracy": evaluate(self.decode(x), split.flat, split.labels)[1]}

    def describe(self, x):
        return {f"bits_{i + 1}": int(b) for i, b in enumerate(x)}

"""A small parent network, and a check that operators leave their inputs alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from operators.networks import ParentNetwork


@pytest.fixture
def network() -> ParentNetwork:
    """A 12-20-16-4 network with random weights."""
    rng = np.random.default_rng(3)
    sizes = (12, 20, 16, 4)
    return ParentNetwork(
        tuple(rng.normal(size=(n_out, n_in)).astype(np.float32) for n_in, n_out in itertools.pairwise(sizes)),
        tuple(rng.normal(size=n_out).astype(np.float32) for n_out in sizes[1:]),
    )


@pytest.fixture
def forward() -> Callable:
    """Logits of a genome: `(genome, network, inputs) -> (n, n_outputs)`."""

    def run(genome, network, inputs):
        weights, biases = genome.materialise(network)
        for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            inputs = inputs @ weight.T + bias
            if k < len(weights) - 1:
                inputs = np.maximum(inputs, 0)
        return inputs

    return run

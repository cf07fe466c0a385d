"""Computed weights become parameters in a copy, and the network that it was copied from goes on as before."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from problems.networks.layers.baking import bake

X = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))


def twice(kind):
    torch.manual_seed(0)
    return nn.Sequential(kind(nn.Linear(6, 6)), nn.ReLU(), kind(nn.Linear(6, 4)))


@pytest.mark.parametrize(
    "kind",
    [parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal, nn.utils.spectral_norm],
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_baking_keeps_answers_and_leaves_the_original_alone(kind):
    network = twice(kind)
    with torch.no_grad():
        network(X)  # the older spectral norm begins to iterate
        network.eval()
        expected, names = network(X), set(network.state_dict())
    baked = copy.deepcopy(network)
    assert bake(baked) == ["0.weight", "2.weight"]
    assert [name for name, _ in baked.named_parameters()] == [name for name, _ in baked.state_dict().items()]
    assert sorted(baked.state_dict()) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    torch.testing.assert_close(baked(X).detach(), expected)
    assert torch.equal(network(X).detach(), expected) and set(network.state_dict()) == names
    copy.deepcopy(baked).load_state_dict(baked.state_dict())


def test_computed_buffers_stay_buffers():
    network = nn.BatchNorm1d(6)
    parametrize.register_parametrization(network, "running_mean", nn.Tanh())
    bake(network)
    assert "running_mean" in dict(network.named_buffers()) and type(network) is nn.BatchNorm1d

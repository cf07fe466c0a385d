"""Which layers can be made smaller, and other tensors in their place for a while."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from opt import UsageError
from problems.networks.layers.compressible import compressible_layers, shared_parameters
from problems.networks.layers.prunable import replaced


def test_tensors_are_shared_where_their_memory_is_and_not_where_they_only_touch():
    flat = torch.zeros(40)
    network = nn.ModuleList(nn.Linear(3, 3, bias=False) for _ in range(4))
    network[0].weight = nn.Parameter(flat[:9].view(3, 3))
    network[1].weight = nn.Parameter(flat[9:18].view(3, 3))
    network[2].weight = nn.Parameter(flat[17:26].view(3, 3))
    assert shared_parameters(network) == {id(network[1].weight), id(network[2].weight)}
    network.register_buffer("view", flat[2:3])
    assert id(network[0].weight) in shared_parameters(network)


def test_what_does_not_run_is_left_out_and_said():
    network = nn.Sequential(nn.Linear(3, 3))
    network.register_module("spare", nn.Linear(3, 3))
    network.forward = lambda x: network[0](x)
    compressible = compressible_layers(network, torch.zeros(2, 3))
    assert list(compressible.layers) == ["0"] and compressible.left_out == {"spare": "does not run"}
    assert compressible.share == 9 / 24


def test_nothing_to_make_smaller_is_refused_with_its_reasons():
    network = nn.Sequential(nn.GRU(3, 3), nn.ConvTranspose1d(3, 3, 1))
    with pytest.raises(UsageError, match=r"smaller: 0 \(a recurrent cell\); 1 \(a transposed convolution\)$"):
        compressible_layers(network).check()


def test_replaced_tensors_are_put_back_whatever_happens_and_under_any_name():
    layer = nn.Linear(3, 3)
    network = nn.Sequential(layer, nn.ReLU(), layer)
    before = {name: (id(p), p.detach().clone()) for name, p in network.named_parameters(remove_duplicate=False)}
    x = torch.ones(1, 3)
    with pytest.raises(ZeroDivisionError), replaced({"0": layer}, {"0": (torch.zeros(3, 3), torch.ones(3))}):
        assert torch.equal(network(x), torch.ones(1, 3))
        raise ZeroDivisionError
    for name, p in network.named_parameters(remove_duplicate=False):
        assert id(p) == before[name][0] and torch.equal(p, before[name][1])

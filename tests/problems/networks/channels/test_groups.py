"""Which channels go together: by hand for each kind of network, and as Torch-Pruning's graph finds it where it can."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch_pruning
from channel_networks import CASES
from torch import nn

from opt.console.errors import UsageError
from problems.data.examples import call
from problems.networks.channels.cuttable import Cuttable
from problems.networks.channels.cutting import cut, kept_entries
from problems.networks.channels.trial import Run

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {
    "dense_net": {"stem": 6, "layers.0": 4, "layers.1": 4, "layers.2": 4},
    "shuffle_net": {"0": 3, "1.branch.0": 6, "2.branch.0": 6},
    "channel_shuffle_module": {"3": 4},
    "inverted_residual": {"stem": 6, "block.0": 18},
    "u_net": {"down1": 4, "down2": 6, "down3": 8, "up2": 6, "join2": 6, "up1": 4, "join1": 4},
    "gated_by_chunk": {"stem": 5, "both": 6},
    "swiglu_of_sequences": {"first": 6, "second": 8},
    "conv_next": {"0": 6, "1.up": 18, "2.up": 18},
    "squeeze_and_excite": {"stem": 8, "squeeze": 3},
    "res_next": {"stem": 8, "block.0": 3, "block.3": 3},
    "vision_transformer": {"patches": 16, "blocks.0.attention.query": 4, "blocks.0.linear_1": 32},
    "packed_vision_transformer": {"patches": 16, "blocks.0.attention": 4, "blocks.0.linear_1": 32},
    "class_token": {"patches": 12, "qkv": 3},
    "attention_with_everything": {"first": 12, "attention": 4, "attention.out_proj": 12},
    "attention_by_einsum": {"q": 4},
    "convolutions_and_gru": {"convs.0": 8, "convs.3": 6},
    "long_short_term_memory": {"first": 6, "middle": 6},
    "autoencoder": {"0": 6, "3": 5, "5": 6, "7": 4},
    "generator": {"first": 5},
    "mixer": {"patches": 6, "places1": 10, "channels1": 9},
    "norms_of_every_kind": {"0": 4, "3": 2, "6": 6, "9": 7, "12": 5, "15": 6, "17": 6, "19": 4},
    "transposed_of_every_kind": {"0": 4, "2": 6, "8": 5},
    "depthwise_with_multipliers": {"0": 2, "4": 2},
    "volumes": {"0": 3, "3": 2},
    "pixels_and_channels": {"0": 3, "2": 4, "5": 4},
    "residual_of_embeddings": {"up": 12, "down": 8},
    "repeated_block": {"first": 8, "up": 6},
}
"""Places by root: with norms or convolutions in groups one of each group, with attention its heads."""


def channels_of(name: str) -> tuple[nn.Module, Run, Cuttable]:
    build, inputs = CASES[name]
    torch.manual_seed(0)
    network, run = build().eval(), Run(inputs())
    return network, run, Cuttable(network, run)


@pytest.mark.parametrize("name", SIZES)
def test_groups_are_whole_and_as_fine_as_they_can_be(name):
    _, _, channels = channels_of(name)
    assert {group.root: group.size for group in channels.groups} == SIZES[name]


@pytest.mark.parametrize("name", ["dense_net", "inverted_residual", "mobile_net", "u_net", "squeeze_and_excite"])
def test_torch_prunings_graph_finds_the_same_where_it_can(name):
    network, run, channels = channels_of(name)
    other = copy.deepcopy(network).requires_grad_(True)
    graph = torch_pruning.DependencyGraph().build_dependency(other, example_inputs=run.inputs)
    names = {module: key for key, module in other.named_modules()}
    for group in channels.groups:
        root = other.get_submodule(group.root)
        pruned = [0, group.size - 1]
        axis = 1 if getattr(root, "transposed", False) else 0
        rows = group.places[f"{group.root}.weight"][axis]
        gone = np.flatnonzero(np.isin(rows, pruned)).tolist()
        found = graph.get_pruning_group(root, graph.get_pruner_of_module(root).prune_out_channels, gone)
        theirs = {}
        for dependency, places in found:
            if (key := names.get(dependency.target.module)) is not None and key:
                is_out = graph.is_out_channel_pruning_fn(dependency.handler)
                theirs[key, is_out] = sorted({*theirs.get((key, is_out), []), *places})
        mask = ~np.isin(np.arange(group.size), pruned)
        kept = kept_entries([group], [mask])
        for (key, is_out), places in theirs.items():
            module = other.get_submodule(key)
            if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.ConvTranspose2d)):
                transposed = getattr(module, "transposed", False)
                axis = int(is_out == transposed) if not isinstance(module, nn.BatchNorm2d) else 0
                axis = 0 if getattr(module, "groups", 1) > 1 else axis
                whole = module.weight.shape[axis]
                assert sorted(set(range(whole)) - set(kept[f"{key}.weight"][axis].tolist())) == places, key


def test_what_is_left_out_is_said_with_its_share():
    network = nn.Sequential(nn.Linear(4, 6), nn.Softmax(-1), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    channels = Cuttable(network.eval(), Run(torch.randn(2, 4)))
    assert [group.root for group in channels.groups] == ["2"]
    assert channels.reasons().startswith(
        "4 (23.9% of the parameters: its channels are the network's answers); 0 (26.5%"
    )
    assert "answers otherwise than masked" in channels.reasons()


def test_network_whose_width_is_written_into_its_forward_keeps_it():
    class Fixed(nn.Sequential):
        def forward(self, x):
            return self[1](torch.relu(self[0](x)) + torch.ones(6))

    with pytest.raises(UsageError, match=r"0 .*it meets values of a fixed width"):
        Cuttable(Fixed(nn.Linear(4, 6), nn.Linear(6, 3)).eval(), Run(torch.randn(2, 4)))


def test_attributes_follow_the_tensors():
    network, run, channels = channels_of("norms_of_every_kind")
    masks = [np.arange(group.size) > 0 for group in channels.groups]
    smaller = cut(network, kept_entries(channels.groups, masks))
    assert (smaller[0].out_channels, smaller[1].num_channels, smaller[1].num_groups) == (9, 9, 3)
    assert smaller[2].num_parameters == 9 and (smaller[3].in_channels, smaller[3].out_channels) == (9, 4)
    assert (smaller[4].num_channels, smaller[4].num_groups) == (4, 4)
    assert smaller[7].num_features == 5 and smaller[10].normalized_shape == (6, 8, 8)
    assert (smaller[13].num_groups, smaller[13].num_channels) == (4, 4)
    assert smaller[16].num_features == 5 and smaller[18].num_features == 5 and smaller[20].num_channels == 3
    assert smaller[23][2].in_features == 3 and network[0].out_channels == 12
    call(smaller, run.inputs)


def test_attention_loses_heads():
    network, run, channels = channels_of("encoder_layers")
    masks = [np.arange(group.size) % 4 != 1 for group in channels.groups]
    smaller = cut(network, kept_entries(channels.groups, masks))
    attention = smaller.encoder.layers[1].self_attn
    assert (attention.num_heads, attention.heads, attention.embed_dim) == (3, [0, 2, 3], 6)
    assert attention.in_proj_weight.shape == (18, 6) and attention.out_proj.weight.shape == (6, 6)
    assert smaller.encoder.layers[0].linear1.out_features == 12
    assert call(smaller, run.inputs).shape == (2, 4)

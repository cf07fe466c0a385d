"""Decomposed networks as torch layers: outputs, parameters, multiply-adds, files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from opt.console.errors import UsageError
from problems.lowrank.choices import Choice
from problems.lowrank.composed import to_composed, to_pairs
from problems.lowrank.decomposable import decomposable_layers
from problems.lowrank.materialise import (
    choice_of_shape,
    choices_of,
    empty_pair,
    load_decomposed,
    n_parameters,
    projected_weight,
    taken_together,
)
from problems.networks.storage.checkpoints import save_network

KINDS = (nn.Conv1d, nn.Conv2d, nn.Linear)


def every_choice(layer):
    for scheme in layer.schemes:
        for k in layer.slices:
            full = layer.full_rank(scheme, k)
            for j in sorted({1, (full + 1) // 2, full}):
                yield Choice(scheme, k, j)


def counted_macs(model, images):
    """Multiply-adds for one image, counted where layers run."""
    total = []

    def see(module, arguments, output):
        per_position = module.weight[0].numel()
        total.append(output[0].numel() * per_position)

    handles = [m.register_forward_hook(see) for m in model.modules() if isinstance(m, KINDS)]
    model(images[:1])
    for handle in handles:
        handle.remove()
    return sum(total)


@pytest.mark.parametrize("name", ["stem", "wide", "round", "grouped", "hidden", "head"])
def test_outputs_equal_those_of_the_projected_weights(network, images, name):
    layer, checked = network.by_name[name], 0
    for choice in every_choice(layer):
        decomposition = network.compress({name: choice})
        with torch.no_grad():
            pair = decomposition.materialise()(images)
            dense = decomposition.dense(images)
        assert float((pair - dense).abs().max()) <= 1e-5 * max(1.0, float(dense.abs().max()))
        weight = decomposition.dense.get_submodule(name).weight.numpy()
        by_factors = projected_weight(layer, choice, network.factors(name, choice, on_data=False))
        np.testing.assert_allclose(weight, by_factors.reshape(weight.shape), atol=1e-6)
        if choice.j == layer.full_rank(choice.scheme, choice.k):
            np.testing.assert_allclose(weight, network.weights[name], atol=1e-5)
        checked += 1
    assert checked >= 4


def test_sizes_are_those_of_the_torch_layers(network, images):
    table = network.table("spectral", (0, 1, 2, 3))
    rng = np.random.default_rng(0)
    assert network.whole.macs == counted_macs(network.model, images)
    for _ in range(40):
        options = [int(rng.integers(len(o))) for o in table.options]
        x = np.array(list(itertools.chain.from_iterable(
            (o, int(rng.integers(1, table.top[i, o] + 1))) for i, o in enumerate(options)
        )))  # fmt: skip
        model = network.compress(table.choices(x)).materialise()
        assert table.sizes(x[None], "parameters")[0] == n_parameters(model)
        assert table.sizes(x[None], "macs")[0] == counted_macs(model, images)
        assert table.sizes(x[None], "bytes")[0] == 4 * n_parameters(model)
        assert {n: c for n, c in choices_of(model, network.model).items() if n in network.by_name} == {
            name: table.choices(x).get(name) for name in network.by_name
        }


def test_only_ordinary_layers_are_built(network):
    choices = {layer.name: Choice(0, layer.slices[-1], 1) for layer in network.layers}
    model = network.compress(choices).materialise()
    leaves = {type(m).__module__.split(".")[0] for m in model.modules() if not list(m.children())}
    assert leaves == {"torch"}


def test_mean_of_what_is_lost_is_in_the_bias(network, images):
    """Factors on data leave no mean error behind, for layers that have a bias."""
    name, choice = "wide", Choice(0, 2, 1)
    seen = {}
    for model, key in ((network.model, "whole"), (network.compress({name: choice}, on_data=True).dense, "low")):
        handle = model.get_submodule(name).register_forward_hook(
            lambda m, a, y, key=key: seen.__setitem__(key, y.mean(dim=(0, 2, 3)))
        )
        model(images)
        handle.remove()
    assert float((seen["whole"] - seen["low"]).abs().max()) < 1e-4


def test_file_is_loaded_onto_the_original(network, images, tmp_path):
    choices = {
        "stem": Choice(3, 1, 2), "wide": Choice(1, 4, 2), "round": Choice(2, 3, 1), "grouped": Choice(0, 2, 2),
        "hidden": Choice(0, 4, 2), "head": None,
    }  # fmt: skip
    model = network.compress(choices, on_data=True, compensation="refit").materialise()
    save_network(model, tmp_path / "net.safetensors")
    loaded = load_decomposed(network.model, tmp_path / "net.safetensors")
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    assert {n: c for n, c in choices_of(loaded, network.model).items() if n in choices} == choices
    state = model.state_dict()
    from safetensors.numpy import save as save_arrays

    # as a run writes its solutions: arrays without axes get one
    arrays = {k: np.ascontiguousarray(v.numpy()) for k, v in state.items()}
    (tmp_path / "solution.safetensors").write_bytes(save_arrays(arrays))
    with torch.no_grad():
        assert torch.equal(load_decomposed(network.model, tmp_path / "solution.safetensors")(images), model(images))
    state["wide.encoder.weight"] = torch.zeros(3, 5, 2, 2)
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "wrong.safetensors")
    with pytest.raises(UsageError, match=r"wide\.encoder\.weight has shape \(3, 5, 2, 2\)"):
        load_decomposed(network.model, tmp_path / "wrong.safetensors")


def test_composed_form_computes_and_differentiates_as_the_pair(network, images):
    choices = {
        "stem": Choice(0, 2, 3), "wide": Choice(2, 2, 3), "round": Choice(3, 4, 1), "grouped": Choice(1, 2, 3),
        "hidden": Choice(0, 2, 5), "head": Choice(0, 1, 4),
    }  # fmt: skip
    pairs = network.compress(choices).materialise()
    fast = to_composed(pairs, network.model)
    slow = pairs.requires_grad_(True)
    names = {n for n, _ in slow.named_parameters()}
    assert {n for n, _ in fast.named_parameters()} == names
    for model in (fast, slow):
        model(images).square().sum().backward()
    for name, parameter in slow.named_parameters():
        other = dict(fast.named_parameters())[name].grad
        scale = float(parameter.grad.abs().max()) + 1e-6
        assert float((parameter.grad - other).abs().max()) < 1e-4 * scale, name
    back = to_pairs(fast, network.model)
    whole = taken_together(back, network.model)
    with torch.no_grad():
        torch.testing.assert_close(back(images), slow(images), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(whole(images), slow(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("module", "choice", "kernels"),
    [
        (nn.Conv3d(2, 6, 3), Choice(3, 1, 4), ((1, 1, 1), (3, 3, 3))),
        (nn.Conv3d(2, 6, 3), Choice(0, 2, 4), ((3, 3, 3), (1, 1, 1))),
        (nn.Conv1d(4, 6, 5), Choice(3, 2, 3), ((1,), (5,))),
    ],
)
def test_kernels_of_one_and_three_axes(module, choice, kernels):
    pair = empty_pair(module, choice)
    encoder, decoder = pair.get_submodule("encoder"), pair.get_submodule("decoder")
    assert (encoder.kernel_size, decoder.kernel_size) == kernels
    assert choice_of_shape(tuple(encoder.weight.shape), module) == choice


@pytest.mark.parametrize("inplace", [True, False])
def test_batch_norm_behind_an_activation_is_not_the_layers_own(inplace):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=inplace), nn.BatchNorm2d(4), nn.Flatten()).eval()
    (layer,), *_ = decomposable_layers(model, torch.rand((2, 1, 6, 6)))
    assert layer.norm is None
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=inplace), nn.Flatten()).eval()
    (layer,), *_ = decomposable_layers(model, torch.rand((2, 1, 6, 6)))
    assert layer.norm == "1"

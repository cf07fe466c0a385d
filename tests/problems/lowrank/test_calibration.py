"""What calibration images give back, and the rivals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from problems.lowrank.calibration import refitted, run_calibrated
from problems.lowrank.choices import Choice
from problems.lowrank.moments import input_moments, patches
from problems.lowrank.rivals.filters import (
    channel_sensitivities,
    filter_thresholding,
    magnitude_pruning,
    provable_filter_pruning,
    without_filters,
)
from problems.lowrank.rivals.pruned_network import layer_errors, live_weights, pruned_sizes
from problems.lowrank.rivals.rivals import decomposition_allocators, rival_curves


def test_patches_are_what_the_weights_meet(mixed, images):
    seen = {}
    names = ("stem", "wide", "round", "grouped", "hidden")
    handles = [
        mixed.get_submodule(n).register_forward_hook(lambda m, a, y, n=n: seen.__setitem__(n, (a[0], y))) for n in names
    ]
    mixed(images)
    for handle in handles:
        handle.remove()
    for name in names:
        module, (x, y) = mixed.get_submodule(name), seen[name]
        groups = getattr(module, "groups", 1)
        columns = patches(module, groups, x)
        rows = module.weight.reshape(groups, len(module.weight) // groups, -1) @ columns
        got = rows.reshape(len(module.weight), len(x), -1).transpose(0, 1)
        if module.bias is not None:
            got = got + module.bias[:, None]
        torch.testing.assert_close(got.reshape(y.shape), y, rtol=1e-4, atol=1e-4)


def test_moments_are_those_of_all_patches_where_none_are_left_out(network, mixed, images):
    moments = input_moments(mixed, network.layers, images)
    x = functional.unfold(images, 3, padding=1).transpose(0, 1).flatten(1).double()
    np.testing.assert_allclose(moments["stem"].mean[0], x.mean(dim=1), atol=1e-6)
    np.testing.assert_allclose(moments["stem"].second[0], (x @ x.T / x.shape[1]).numpy(), atol=1e-5)


def test_refit_solves_least_squares():
    rng = torch.Generator().manual_seed(0)
    z, w = torch.randn((5, 4000), generator=rng), torch.randn((3, 5), generator=rng)
    y = (w @ z).T + torch.tensor([1.0, -2.0, 0.5])
    solved, shift = refitted(z, y, torch.zeros(3, 5), centred=True)
    torch.testing.assert_close(solved, w, rtol=0, atol=0.01)
    torch.testing.assert_close(shift, torch.tensor([1.0, -2.0, 0.5]), rtol=0, atol=0.01)
    # an input that says nothing keeps its old weight
    kept, _ = refitted(torch.vstack([z, torch.zeros(1, 4000)]), y, torch.full((3, 6), 7.0), centred=True)
    torch.testing.assert_close(kept[:, 5], torch.full((3,), 7.0))


def lost(network, model, images):
    with torch.no_grad():
        return float((model(images) - network.model(images)).square().mean())


@pytest.mark.parametrize("on_data", [False, True])
def test_compensation_brings_outputs_nearer(network, images, on_data):
    choices = {layer.name: Choice(0, layer.slices[1], 1) for layer in network.layers[:4]}
    none, norms, refit = (
        network.compress(choices, on_data=on_data, compensation=c) for c in ("none", "batch-norm", "refit")
    )
    fresh = torch.rand((64, 2, 12, 10), generator=torch.Generator().manual_seed(9))
    # factors on data have the mean of what is lost folded in already
    worse = norms if on_data else none
    assert lost(network, refit.dense, fresh) < 0.8 * lost(network, worse.dense, fresh)
    assert not torch.equal(norms.dense.norm.running_mean, none.dense.norm.running_mean)
    with torch.no_grad():
        torch.testing.assert_close(refit.materialise()(images), refit.dense(images), rtol=1e-4, atol=1e-4)


def test_calibration_leaves_the_original_alone(network, images):
    before = {k: v.clone() for k, v in network.model.state_dict().items()}
    network.compress({"stem": Choice(0, 1, 1)}, on_data=True, compensation="refit")
    assert all(torch.equal(v, before[k]) for k, v in network.model.state_dict().items())
    assert not network.model.training


def test_statistics_are_those_of_the_images(mixed, images):
    import copy

    model = copy.deepcopy(mixed)
    run_calibrated(model, images)
    outputs = model.stem(images)
    torch.testing.assert_close(model.norm.running_mean, outputs.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert model.norm.momentum == 0.1 and not model.training


# -- rivals ---------------------------------------------------------------------------------------


def test_rivals_stay_within_their_budgets(network):
    total = network.whole.parameters
    curves = rival_curves(network, np.array([0.4, 0.7]) * total)
    names = {"uniform SVD", "PCA", "L-Rank", "FT", "PFP", "magnitude"}
    names |= {f"SVD energy, {e}" for e in ("Frobenius", "nuclear", "spectral")}
    assert set(curves) == names
    for name, rivals in curves.items():
        assert rivals, name
        # a budget below a method's smallest network gives none: those that are there belong to the largest budgets
        for rival, budget in zip(rivals, (0.4, 0.7)[-len(rivals) :], strict=True):
            assert rival.sizes["parameters"] <= budget * total
            assert rival.sizes["macs"] < network.whole.macs
    assert all(len(rivals) == 2 for name, rivals in curves.items() if name not in ("FT", "PFP"))


def test_allocations_of_one_energy_have_one_threshold(network):
    budget = 0.6 * network.whole.parameters
    choices = decomposition_allocators(network)["SVD energy, Frobenius"](budget)
    table = network.table("frobenius")
    x = table.row(choices)
    worst = table.errors(x[None]).max()
    for i, layer in enumerate(table.layers):
        choice = choices[layer.name]
        if choice is None:
            continue
        assert choice.k == 1
        if choice.j > 1:
            fewer = x.copy()
            fewer[2 * i + 1] -= 1
            assert table.errors(fewer[None])[0, i] > worst, "one rank less would lose more than the threshold"


def test_uniform_svd_keeps_one_share(network):
    choices = decomposition_allocators(network)["uniform SVD"](0.5 * network.whole.parameters)
    shares = [
        c.j * layer.rank_parameters(0, 1) / layer.parameters
        for layer in network.layers
        if (c := choices[layer.name]) is not None
    ]
    assert len(shares) >= 4 and max(shares) < 0.6


def test_removed_filters_take_what_reads_them_along(network):
    gone = np.zeros(8, dtype=bool)
    gone[:3] = True
    model = without_filters(network, {"stem": gone})
    live = live_weights(network, model)
    whole = live_weights(network, network.model)
    assert whole == {layer.name: layer.parameters for layer in network.layers}
    assert live["stem"] == 5 * 2 * 9
    # what reads the removed channels is gone, but for filters that are never active: nothing can be told of those
    assert whole["wide"] - 12 * 3 * 15 - 3 * 12 * 9 <= live["wide"] < whole["wide"] - 8 * 3 * 15
    sizes = pruned_sizes(network, model, is_structured=True)
    gone_weights = sum(whole.values()) - sum(live.values())
    assert network.whole.parameters - sizes["parameters"] == gone_weights >= 3 * 2 * 9 + 8 * 3 * 15
    assert layer_errors(network, model)["head"] == 0 < layer_errors(network, model)["stem"]


def test_filters_go_by_norm_and_weights_by_magnitude(network):
    budget = 0.6 * network.whole.parameters
    model = filter_thresholding(network, budget)
    norms = np.linalg.norm(network.weights["round"].reshape(12, -1), axis=1)
    is_gone = (model.round.weight.numpy().reshape(12, -1) == 0).all(axis=1)
    assert 0 < is_gone.sum() < 12 and norms[is_gone].max() < norms[~is_gone].min()
    pruned = magnitude_pruning(network, budget)
    zero = np.concatenate([pruned.get_submodule(n).weight.numpy().ravel() == 0 for n in network.by_name])
    size = np.concatenate([np.abs(network.weights[n]).ravel() for n in network.by_name])
    assert size[zero].max() <= size[~zero].min()
    assert pruned_sizes(network, pruned, is_structured=False)["parameters"] <= budget


def test_sensitivities_are_largest_shares(network):
    sensitivity = channel_sensitivities(network)
    assert "stem" not in sensitivity and "grouped" not in sensitivity
    for values in sensitivity.values():
        assert (values >= 0).all() and (values <= 1).all() and values.max() > 0
    model = provable_filter_pruning(network, 0.7 * network.whole.parameters)
    kept = (model.round.weight.numpy() != 0).any(axis=(0, 2, 3))
    assert sensitivity["round"][kept].min() >= sensitivity["round"][~kept].max(initial=0.0)


@pytest.mark.parametrize("name", ["stem", "wide", "hidden"])
def test_mean_of_what_is_lost_is_folded_into_bias_or_batch_norm(network, images, name):
    """With it the layer's error on the calibration images is that of the table, about the mean."""
    layer, table = network.by_name[name], network.table("data")
    k = layer.slices[-1] if name == "wide" else 1
    choice = Choice(0, k, 2)
    made = network.compress({name: choice}, on_data=True).dense
    end = layer.norm or name
    seen = {}

    def outputs(model):
        handle = model.get_submodule(end).register_forward_hook(lambda m, a, out: seen.update(out=out))
        with torch.no_grad():
            model(images)
        handle.remove()
        return seen["out"].movedim(1, -1).flatten(0, -2).double()

    whole, reduced = outputs(network.model), outputs(made)
    if layer.norm:  # before its scales
        scale = network.model.get_submodule(end).weight / network.model.get_submodule(end).running_var.sqrt()
        whole, reduced = whole / scale, reduced / scale
    if layer.has_bias or layer.norm:
        torch.testing.assert_close(reduced.mean(dim=0), whole.mean(dim=0), rtol=1e-4, atol=1e-4)
        spread = (whole - whole.mean(dim=0)).square().sum()
    else:
        spread = whole.square().sum()
    found = float(((whole - reduced).square().sum() / spread).sqrt())
    assert found == pytest.approx(float(table.errors(table.row({name: choice})[None])[0, _at(network, name)]), rel=0.02)


def _at(network, name):
    return [layer.name for layer in network.layers].index(name)

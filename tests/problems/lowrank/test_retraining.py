"""Retraining of compressed networks: what was pruned stays so, what was given stays as it was."""

from __future__ import annotations

import numpy as np
import torch

from problems.data.data import load_dataset
from problems.lowrank.choices import Choice
from problems.lowrank.composed import to_composed
from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.lowrank.retraining.retraining import Retraining
from problems.lowrank.rivals.filters import filter_thresholding
from problems.networks.training.schedule import Schedule
from problems.networks.training.training import evaluate
from problems.workloads.reference_networks import build_network


def compressible():
    dataset = load_dataset("digits")
    model = build_network("lenet5", dataset, seed=3).eval()
    network = DecomposableNetwork(model, dataset.train.images[:64])
    retraining = Retraining(model, dataset.train, Schedule(epochs=3, lr=0.05, batch_size=32), 1.0, seed=0)
    return dataset, network, retraining


def test_pruned_weights_stay_zero_while_the_rest_is_trained():
    dataset, network, retraining = compressible()
    pruned = filter_thresholding(network, 0.5 * network.whole.parameters)
    before = {name: p.clone() for name, p in pruned.named_parameters()}
    model = retraining.pruned(pruned)
    n_gone = 0
    for name, parameter in model.named_parameters():
        is_gone = (before[name] == 0) & (dict(network.model.named_parameters())[name] != 0)
        assert (parameter[is_gone] == 0).all()
        assert not torch.equal(parameter, before[name])
        n_gone += int(is_gone.sum())
    assert n_gone > 1000
    for name, parameter in pruned.named_parameters():
        torch.testing.assert_close(parameter, before[name], rtol=0, atol=0)
    search = dataset.search
    assert evaluate(model, search.images, search.labels)[1] > evaluate(pruned, search.images, search.labels)[1] + 0.2


def test_decomposition_is_trained_in_a_form_that_materialises():
    dataset, network, retraining = compressible()
    decomposition = network.compress({"fc1": Choice(0, 4, 6), "conv2": Choice(0, 1, 5)})
    weight = decomposition.dense.fc1.weight.clone()
    trained = retraining.decomposed(decomposition)
    torch.testing.assert_close(decomposition.dense.fc1.weight, weight, rtol=0, atol=0)
    layers = trained.materialise()
    images = dataset.search.images[:50]
    with torch.no_grad():
        torch.testing.assert_close(layers(images), trained.dense(images), rtol=1e-4, atol=1e-4)
    assert layers.fc1.encoder.weight.shape == (24, 4 if layers.fc1.encoder.groups == 4 else 1, *weight.shape[2:])
    labels = dataset.search.labels
    before = evaluate(decomposition.dense, dataset.search.images, labels)[1]
    assert evaluate(layers, dataset.search.images, labels)[1] > before + 0.2


def test_start_at_the_end_trains_nothing():
    _, network, retraining = compressible()
    still = Retraining(retraining.original, retraining.data, retraining.schedule, 3.0, seed=0)
    decomposition = network.compress({"fc2": Choice(0, 1, 6)})
    # factors are balanced anew, which costs the last digit on some processors
    np.testing.assert_allclose(
        still.decomposed(decomposition).materialise().fc2.encoder.weight,
        decomposition.materialise().fc2.encoder.weight,
        rtol=1e-6,
        atol=1e-7,
    )


def test_factors_are_balanced_before_they_are_trained(network, images):
    choices = {"wide": Choice(0, 4, 2), "round": Choice(1, 2, 3), "grouped": Choice(0, 2, 3), "hidden": Choice(0, 4, 3)}
    decomposition = network.compress(choices, on_data=False, compensation="refit")
    pairs = decomposition.materialise()
    model = to_composed(pairs, network.model)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), pairs(images), rtol=1e-4, atol=1e-4)
    for name, choice in choices.items():
        layer, pair = network.by_name[name], model.get_submodule(name)
        n = choice.k * choice.j
        rows = pair.encoder.weight.flatten(1).norm(dim=1)
        decoder = pair.decoder.weight.reshape(layer.groups, layer.n_out // layer.groups, n, -1)
        columns = decoder.norm(dim=(1, 3)).flatten()
        torch.testing.assert_close(rows, columns)
        assert (rows > 0).all() and len(rows) == layer.groups * n


def test_training_that_would_diverge_is_held():
    dataset, network, _ = compressible()
    decomposition = network.compress({"fc1": Choice(0, 1, 2), "fc2": Choice(0, 1, 2)})
    steep = Schedule(epochs=1, lr=0.5, batch_size=32)
    model = Retraining(network.model, dataset.train, steep, 0.0, seed=0).decomposed(decomposition).dense
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())

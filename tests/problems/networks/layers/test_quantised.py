"""Int8 weights: rounding, training that sees it, weights put back; and the networks that are trained so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from problems.data.data import load_dataset
from problems.networks.architectures.mobilenet import MobileNetV2
from problems.networks.architectures.valid_lenet5 import ValidLeNet5
from problems.networks.evaluation.classification import classification
from problems.networks.layers.prunable import prunable_layers
from problems.networks.layers.quantised import (
    FakeQuantised,
    Int8Weight,
    fake_quantised,
    int8_weights,
    put_back,
    train_quantised,
)
from problems.workloads.parents import trained_valid_lenet5


def random_weight(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(7, 3), (6, 1, 5, 5), (4, 2, 3)])
def test_int8_weight_is_the_nearest_on_its_channels_grid(shape):
    weight = random_weight(*shape)
    int8 = Int8Weight.of(weight)
    assert int8.codes.dtype == np.int8 and int8.codes.shape == shape
    flat = np.abs(int8.codes.reshape(shape[0], -1).astype(int))
    assert (flat.max(axis=1) == 127).all()
    scale = np.abs(weight.numpy()).reshape(shape[0], -1).max(axis=1) / 127
    np.testing.assert_allclose(int8.scale.ravel(), scale, rtol=1e-6)
    error = np.abs(int8.weight().numpy() - weight.numpy()).reshape(shape[0], -1)
    assert (error.max(axis=1) <= scale / 2 * 1.0001).all()


def test_rounding_a_second_time_changes_no_code():
    for seed in range(20):
        first = Int8Weight.of(random_weight(8, 3, 3, 3, seed=seed))
        second = Int8Weight.of(first.weight())
        np.testing.assert_array_equal(first.codes, second.codes)
        np.testing.assert_allclose(first.scale, second.scale, rtol=3e-7)


def test_channel_of_zeros_stays_zero():
    weight = random_weight(3, 4)
    weight[1] = 0
    int8 = Int8Weight.of(weight)
    assert (int8.codes[1] == 0).all() and np.isfinite(int8.scale).all()
    assert (int8.weight()[1] == 0).all()


def test_codes_of_another_shape_or_type_are_refused():
    int8 = Int8Weight.of(random_weight(3, 4))
    for codes in (np.zeros((4, 3), dtype=np.int8), np.zeros((3, 4), dtype=np.int64)):
        with pytest.raises(ValueError, match="codes must be int8 of shape"):
            int8.weight(codes)


def test_fake_quantisation_rounds_forward_and_passes_the_gradient_straight_through():
    weight = random_weight(5, 6).requires_grad_()
    rounded = FakeQuantised()(weight)
    torch.testing.assert_close(rounded, Int8Weight.of(weight).weight())
    (rounded * torch.arange(30.0).view(5, 6)).sum().backward()
    torch.testing.assert_close(weight.grad, torch.arange(30.0).view(5, 6))


def test_fake_quantised_leaves_plain_weights_on_the_grid():
    model = ValidLeNet5((1, 28, 28), 10)
    names = sorted(model.state_dict())
    images = random_weight(4, 1, 28, 28)
    with fake_quantised(model):
        inside = model(images)
    assert sorted(model.state_dict()) == names
    torch.testing.assert_close(model(images), inside)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    put_back(model, int8_weights(model), {})
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=3e-7, atol=0)


def test_training_sees_the_rounded_weights():
    """Trained with rounding, the int8 network is better than one that is rounded behind its training."""
    digits = load_dataset("digits")
    losses = []
    for is_aware in (True, False):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in model.parameters():
                p.uniform_(-0.2, 0.2, generator=generator)
        # 1-bit weights, sign times scale, make the effect plain
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("problems.networks.layers.quantised.LARGEST", 1)
            if is_aware:
                train_quantised(model, digits.train, seed=0, epochs=10, batch_size=20, validation=0.0, progress=False)
            else:
                from problems.networks.training.training import train

                train(model, digits.train, seed=0, epochs=10, batch_size=20, validation=0.0, progress=False)
            put_back(model, int8_weights(model), {})
        losses.append(classification(model, digits.search.images, digits.search.labels).loss)
    assert losses[0] < 0.7 * losses[1]


def test_weights_put_back_change_only_what_they_name():
    model = ValidLeNet5((1, 28, 28), 10)
    put_back(model, int8_weights(model), {})
    weights = int8_weights(model)
    codes = weights["conv2"].codes.copy()
    codes[3, 2, 1, 1] = -128  # a circuit may give what no trained weight has
    before = {k: v.clone() for k, v in model.state_dict().items()}
    put_back(model, weights, {"conv2": codes})
    for name, tensor in model.state_dict().items():
        changed = (tensor != before[name]).nonzero().tolist()
        assert changed == ([[3, 2, 1, 1]] if name == "conv2.weight" else [])
    assert model.conv2.weight[3, 2, 1, 1] == -128 * torch.from_numpy(weights["conv2"].scale)[3, 0, 0, 0]


def test_lenet5_has_the_published_shapes():
    layers = prunable_layers(ValidLeNet5((1, 28, 28), 10))
    assert {name: tuple(layer.weight.shape) for name, layer in layers.items()} == {
        "conv1": (6, 1, 5, 5),
        "conv2": (16, 6, 5, 5),
        "fc1": (120, 256),
        "fc2": (84, 120),
        "fc3": (10, 84),
    }


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 32, 32)])
def test_networks_take_images_of_any_size(shape):
    images = torch.zeros(2, *shape)
    assert ValidLeNet5(shape, 7)(images).shape == (2, 7)
    assert MobileNetV2(shape, 7, width=0.1)(images).shape == (2, 7)


def test_mobilenet_has_52_convolutions_and_the_published_size():
    model = MobileNetV2((3, 32, 32), 1000)
    layers = prunable_layers(model)
    assert sum(isinstance(layer, nn.Conv2d) for layer in layers.values()) == 52
    assert list(layers)[-1] == "classifier"
    # 3,504,872 parameters of the published network for three channels and 1000 classes
    assert sum(p.numel() for p in model.parameters()) == 3_504_872
    features = model.features(torch.zeros(1, 3, 32, 32))
    assert features.shape == (1, 1280, 4, 4)


def test_initial_weights_follow_the_seed_alone():
    state = torch.random.get_rng_state()
    for build in (ValidLeNet5, MobileNetV2):
        first, again, other = (build((1, 8, 8), 10, seed=seed) for seed in (1, 1, 2))
        tensors = [next(iter(m.parameters())) for m in (first, again, other)]
        assert torch.equal(tensors[0], tensors[1]) and not torch.equal(tensors[0], tensors[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_trained_lenet5_is_cached_with_its_codes(tmp_path):
    digits, options = load_dataset("digits"), {"epochs": 1, "cache_dir": tmp_path, "progress": False}
    model, info = trained_valid_lenet5(digits, **options)
    again, info_again = trained_valid_lenet5(digits, **options)
    assert not info["from_cache"] and info_again["from_cache"]
    for name, int8 in int8_weights(model).items():
        np.testing.assert_array_equal(int8.codes, int8_weights(again)[name].codes)
        torch.testing.assert_close(int8.weight(), prunable_layers(again)[name].weight.detach())


def test_classification_counts_by_hand():
    logits = torch.tensor([[3.0, 2, 1, 0, -1, -2], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]])
    labels = torch.tensor([0, 0, 3])
    found = classification(nn.Identity(), logits, labels, batch_size=2)
    assert found.accuracy == pytest.approx(1 / 3) and found.top5 == pytest.approx(2 / 3)
    assert found.loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)))

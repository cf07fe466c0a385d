"""Scores of weights against the inputs that each weight meets, gathered one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from problems.thresholds.scores import input_statistics, weight_scores

N = 23


class Small(nn.Module):
    """A convolution with groups, stride and padding, one with a dilation, a linear layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 6, 3, padding=1, stride=2, groups=2)
        self.second = nn.Conv2d(6, 4, (2, 1), dilation=2)
        self.head = nn.Linear(4 * 2 * 4, 5)

    def forward(self, x):
        soft = nn.functional.softplus
        return self.head(soft(self.second(soft(self.first(x)))).flatten(1))


NAMES = ["first", "second", "head"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Small().eval()


@pytest.fixture(scope="module")
def images():
    # far from zero, so that mean square and variance are far from each other
    return torch.rand(N, 4, 8, 8, generator=torch.Generator().manual_seed(1)) + 0.7


def inputs_of_weights(model, images):
    """For each layer (out, in, ...) lists of the values that each weight is multiplied with, over all images."""
    inputs = {}
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda module, arguments, name=name: inputs.setdefault(name, arguments[0])
        )
        for name in NAMES
    ]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    values = {"head": np.repeat(inputs["head"].numpy().T[None], 5, axis=0)}
    for name in ("first", "second"):
        layer = model.get_submodule(name)
        x = nn.functional.pad(inputs[name], (*[layer.padding[1]] * 2, *[layer.padding[0]] * 2)).numpy()
        height, width = model.get_submodule(name)(inputs[name]).shape[2:]
        out, n_in = layer.weight.shape[:2]
        met = np.empty((*layer.weight.shape, N * height * width))
        for o in range(out):
            group = o // (out // layer.groups)
            for c in range(n_in):
                for i in range(layer.kernel_size[0]):
                    for j in range(layer.kernel_size[1]):
                        rows = i * layer.dilation[0] + layer.stride[0] * np.arange(height)
                        columns = j * layer.dilation[1] + layer.stride[1] * np.arange(width)
                        met[o, c, i, j] = x[:, group * n_in + c][:, rows][:, :, columns].ravel()
        values[name] = met
    return values


@pytest.mark.parametrize("batch_size", [2000, 7])
def test_statistics_are_those_of_the_inputs_that_each_weight_meets(model, images, batch_size):
    values = inputs_of_weights(model, images)
    for name, statistics in zip(NAMES, input_statistics(model, NAMES, images, batch_size=batch_size), strict=True):
        met = values[name].astype(np.float64)
        np.testing.assert_allclose(statistics.mean, met.mean(axis=-1), rtol=1e-6)
        np.testing.assert_allclose(statistics.square, (met**2).mean(axis=-1), rtol=1e-6)
        np.testing.assert_allclose(statistics.std, met.std(axis=-1), rtol=1e-4)
        assert statistics.positions == met.shape[-1] // N
        assert (statistics.rms > 1.05 * statistics.std).mean() > 0.5, "the two scores must differ to be told apart"


def test_squared_scores_are_what_each_removal_costs(model, images):
    """rms: the mean squared change of an output without the weight; std: the same once the bias takes over its mean."""
    values = inputs_of_weights(model, images)
    for name, statistics in zip(NAMES, input_statistics(model, NAMES, images), strict=True):
        weight = model.get_submodule(name).weight.detach().numpy()
        parts = weight[..., None] * values[name].astype(np.float64)
        costs = {"rms": (parts**2).mean(axis=-1), "std": parts.var(axis=-1), "magnitude": weight.astype(float) ** 2}
        for kind, cost in costs.items():
            scores = weight_scores(kind, weight, statistics)
            assert scores.dtype == np.float64 and scores.shape == weight.shape
            np.testing.assert_allclose(scores**2, cost, rtol=1e-3, atol=1e-12, err_msg=f"{kind} of {name}")


def test_statistics_are_given_in_the_order_of_the_names(model, images):
    shapes = [statistics.mean.shape for statistics in input_statistics(model, ["head", "first"], images)]
    assert shapes == [tuple(model.head.weight.shape), tuple(model.first.weight.shape)]


def test_constant_input_has_no_deviation_even_where_rounding_makes_its_variance_negative(model):
    (head,) = input_statistics(model, ["head"], torch.full((3, 4, 8, 8), 0.1))
    assert np.isfinite(head.std).all() and (head.std < 1e-4).all()

"""The published network, and that it is trained once and kept."""

from __future__ import annotations

import pytest
import torch

from problems.data.data import load_dataset
from problems.networks.architectures.snowfall import Snowfall
from problems.workloads.parents import trained_snowfall


def n_parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_snowfall_is_the_published_network_on_28_pixels():
    model = Snowfall((1, 28, 28), 10)
    assert n_parameters(model) == 1708 and model.dense.weight.shape == (10, 150)
    assert model(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize(("shape", "n_features"), [((1, 8, 8), 24), ((3, 32, 32), 216), ((1, 4, 9), 12)])
def test_snowfall_takes_other_sizes(shape, n_features):
    model = Snowfall(shape, 4)
    assert model.dense.in_features == n_features and model(torch.zeros(2, *shape)).shape == (2, 4)


def test_snowfall_refuses_images_that_vanish():
    with pytest.raises(ValueError, match="at least 4 x 4"):
        Snowfall((1, 3, 8), 10)


def test_initial_weights_follow_the_seed_alone():
    state = torch.random.get_rng_state()
    first, again, other = (Snowfall((1, 8, 8), 10, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.dense.weight, again.dense.weight) and not torch.equal(
        first.dense.weight, other.dense.weight
    )


def test_trained_snowfall_is_cached_by_everything_that_made_it(tmp_path):
    digits, options = load_dataset("digits"), {"epochs": 1, "cache_dir": tmp_path, "progress": False}
    model, info = trained_snowfall(digits, **options)
    again, info_again = trained_snowfall(digits, **options)
    assert not info["from_cache"] and info_again["from_cache"] and info["accuracy"] == info_again["accuracy"]
    assert not again.training and torch.equal(model.dense.weight, again.dense.weight)
    for change in ({"seed": 1}, {"epochs": 2}, {"lr": 0.01}):
        assert trained_snowfall(digits, **{**options, **change})[1]["key"] != info["key"]

"""A workload's network is trained by its recipe and loss, and what the training draws follows the seed alone."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from opt.console.errors import UsageError
from problems.workloads.further_training import needed_recipe, train_by_recipe
from problems.workloads.workload import Recipe, Workload

RNG = np.random.default_rng(0)
X = RNG.normal(size=(61, 5)).astype(np.float32)
NUMBERS = (X @ RNG.normal(size=(5, 2))).astype(np.float32)


class Noisy(nn.Module):
    """Draws from every global generator while it is trained."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.drop, self.last = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 2)

    def forward(self, x):
        if self.training:
            x = x + 0.01 * random.random() + 0.01 * float(np.random.rand())  # noqa: NPY002
        return self.last(self.drop(self.norm(self.first(x)).relu()))


def workload(**options):
    torch.manual_seed(0)
    return Workload(options.pop("network", None) or Noisy(), (X, NUMBERS), **options)


def trained(work, recipe, **options):
    network = copy.deepcopy(work.network)
    losses = train_by_recipe(work, network, recipe=recipe, seed=options.pop("seed", 0), **options)
    return network.state_dict(), losses


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_the_seed_fixes_everything_that_is_drawn(optimiser):
    work, recipe = workload(), Recipe(epochs=6, batch_size=10, lr=0.01, optimiser=optimiser)
    first, losses = trained(work, recipe)
    torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
    before = torch.random.get_rng_state()
    assert same(first, trained(work, recipe)[0])
    assert torch.equal(before, torch.random.get_rng_state())
    assert not same(first, trained(work, recipe, seed=1)[0])
    assert losses[-1] < losses[0] and len(losses) == 6


def test_a_last_batch_of_one_is_no_error():
    work = workload(n_search=10, n_test=10)
    assert len(work.train) == 41
    trained(work, Recipe(epochs=1, batch_size=10))


def test_frozen_parameters_are_trained_and_frozen_again():
    work = workload()
    network = copy.deepcopy(work.network).requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    train_by_recipe(work, network, recipe=Recipe(epochs=1), seed=0)
    assert not same(before, network.state_dict())
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters()) and not network.training


def test_an_own_function_trains_in_place_of_the_loop():
    def shift(network, examples, epochs, seed):
        with torch.no_grad():
            network.last.bias += epochs + seed + float(torch.rand(()))

    work = workload(recipe=Recipe(epochs=4, train=shift))
    states = [trained(work, work.recipe, seed=2)[0]["last.bias"] for _ in range(2)]
    moved = states[0] - work.network.last.bias
    assert torch.equal(states[0], states[1]) and 6 <= float(moved[0]) <= 7


@pytest.mark.parametrize(
    ("options", "recipe", "told"),
    [
        ({"loss": lambda outputs, targets: outputs.detach().mean()}, Recipe(), "cannot be trained on"),
        ({}, Recipe(lr=1e30, optimiser="sgd"), "the training's loss became"),
        ({}, Recipe(train=lambda network, examples, epochs, seed: 1 / 0), "fails: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_trained_is_told(options, recipe, told):
    work = workload(**options)
    with pytest.raises(UsageError, match=told):
        trained(work, recipe)


def test_a_workload_without_recipe_is_told_what_to_give():
    with pytest.raises(UsageError, match=r"retrain trains networks.*Workload\(recipe=\.\.\.\)"):
        needed_recipe(workload(), "retrain")


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"batch_size": 0}, {"lr": 0.0}, {"optimiser": "adan"}, {"momentum": -1.0}]
)
def test_recipes_out_of_range_are_told(options):
    with pytest.raises((UsageError, ValueError), match="recipe's"):
        Recipe(**options)

"""Networks by name: each built for the data that fits it, trained by its own recipe, kept; others refused."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from opt import UsageError
from problems.data.data import load_dataset
from problems.data.sets.example_set import load_examples
from problems.networks.architectures.named_networks import NETWORKS, build_network, named_network
from problems.networks.training.schedule import Schedule
from problems.workloads.parents import trained_parent, trained_snowfall
from problems.workloads.trained_networks import epochs_of, trained

OWN = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, hidden=5):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))

    def forward(self, x):
        return {"logits": self.layers(x)}

def needy(width):
    return Small(width)

def frozen():
    return Small().requires_grad_(False)

def narrow():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

def other():
    return nn.Linear(7, 10)

def number():
    return 3

ready = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture(scope="module")
def digits():
    return load_examples("digits")


@pytest.fixture(scope="module")
def brackets():
    return load_examples("brackets")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPT_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", [*NETWORKS, "mlp-64-64", "mlp-7", "mlp-300-100-50"])
def test_each_is_built_by_its_seed_and_answers(name, digits, brackets):
    data = brackets if name == "text-transformer" else digits
    state = torch.random.get_rng_state()
    first, again, other = (build_network(name, data, seed=seed).eval() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    inputs = data.test.subset(slice(0, 3)).inputs
    assert first(inputs).shape == (3, data.n_outputs)
    assert torch.equal(first(inputs), again(inputs)) and not torch.equal(first(inputs), other(inputs))
    assert named_network(name).about and epochs_of(named_network(name).training, data) >= 1


def test_widths_of_a_fully_connected_network_are_its_name(digits):
    assert build_network("mlp-30-20-10", digits, seed=0).widths == (64, 30, 20, 10, 10)


def test_networks_of_today_are_the_same(digits, cache):
    old = load_dataset("digits")
    parent, _ = trained_parent(old, widths=(6, 5), seed=3, epochs=2, batch_size=11, progress=False)
    assert len(list(cache.rglob("*.safetensors"))) == 1
    again = trained("mlp-6-5", digits, seed=3, epochs=2, progress=False)
    assert len(list(cache.rglob("*.safetensors"))) == 1  # found, not trained
    assert torch.equal(parent.output.weight, again.output.weight)
    trained_snowfall(old, seed=1, epochs=1, batch_size=11, progress=False)
    trained("snowfall", digits, seed=1, epochs=1, progress=False)
    assert len(list(cache.rglob("*.safetensors"))) == 2


@pytest.mark.parametrize("name", ["vit-tiny", "lenet-300-100", "resnet-20", "mobilenet-v2"])
def test_each_is_trained_for_the_epochs_asked_and_kept(name, cache):
    few = load_examples("digits", n_search=1300)
    first = trained(name, few, seed=0, epochs=1, progress=False)
    (file,) = cache.rglob("*.safetensors")
    again = trained(name, few, seed=0, epochs=1, progress=False)
    states = first.state_dict().values(), again.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    assert list(cache.rglob("*.safetensors")) == [file]


def test_tokens_and_numbers_are_learned(cache, tmp_path, brackets):
    few = load_examples("brackets", n_search=2000)
    model = trained("text-transformer", few, seed=0, epochs=3, progress=False)
    accuracy = (model(brackets.test.inputs).argmax(1) == brackets.test.targets).float().mean()
    assert accuracy > 0.4
    X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    np.savez(tmp_path / "a.npz", X=X, y=np.stack([X[:, 0] * 2 + X[:, 1], X[:, 2]], 1))
    table = load_examples(str(tmp_path / "a.npz"))
    model = trained("mlp-64", table, seed=0, epochs=30, progress=False)
    assert (model(table.test.inputs) - table.test.targets).square().mean() < 0.3 * table.test.targets.var()


def test_a_checkpoint_takes_the_place_of_training(digits, tmp_path):
    source = build_network("resnet-20", digits, seed=5)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "w.pt")
    model = trained("resnet-20", digits, seed=0, checkpoint=str(tmp_path / "w.pt"))
    assert torch.equal(model.fc.weight, source.fc.weight) and not model.training


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("resnet-21", "digits", "did you mean 'resnet-"),
        ("resnet20", "digits", "is now called resnet-20"),
        ("lenet5", "digits", "is now called lenet-5-valid or lenet-5-padded"),
        ("mlp", "digits", "mlp of any widths"),
        ("mlp-0", "digits", "must be from 1 to 10000"),
        ("snowfall", "brackets", r"snowfall takes images \(channels, height, width\), and brackets has tokens"),
        ("mlp-8", "brackets", "mlp-8 takes numbers, and brackets has tokens"),
        ("text-transformer", "digits", r"takes tokens \(length,\), and digits has images"),
    ],
)
def test_what_does_not_fit_is_one_line(name, data, told):
    with pytest.raises(UsageError, match=told) as error:
        build_network(name, load_examples(data), seed=0)
    assert "\n" not in str(error.value)


def test_options_are_for_the_networks_that_have_them(digits):
    assert build_network("conv-2", digits, seed=0, width=0.1, bias=None).conv1.out_channels == 6
    with pytest.raises(UsageError, match=r"resnet-20 has no option width"):
        build_network("resnet-20", digits, seed=0, width=0.1)
    with pytest.raises(UsageError, match=r"mobilenet-v2 has no option bias; it has width"):
        build_network("mobilenet-v2", digits, seed=0, bias=True)


def test_a_user_s_function_class_or_module(digits, tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(OWN)
    assert build_network(f"{tmp_path}/my_networks.py:Small", digits, seed=0).layers[1].out_features == 5
    assert isinstance(build_network(f"{tmp_path}/my_networks.py:ready", digits, seed=0), nn.Sequential)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = trained("my_networks:Small", digits, seed=0, epochs=12, progress=False)
    answers = model(digits.test.inputs)["logits"].argmax(1)
    assert (answers == digits.test.targets).float().mean() > 0.5


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (":needy", r"needs arguments \(width\)"),
        (":frozen", "has no parameter to train"),
        (":narrow", r"must give logits of shape \(n, 10 or more\), got \(2, 3\)"),
        (":other", "does not take the examples of digits .* RuntimeError"),
        (":number", "must return a torch.nn.Module, got int"),
        (":smal", "did you mean"),
    ],
)
def test_a_user_s_network_that_does_not_fit_is_told_before_training(target, told, digits, tmp_path):
    (tmp_path / "my_networks.py").write_text(OWN)
    with pytest.raises(UsageError, match=told) as error:
        trained(f"{tmp_path}/my_networks.py{target}", digits, seed=0, progress=False)
    assert "\n" not in str(error.value)


def stand_in(monkeypatch, name):
    """A module of that name which builds what the library would."""
    package = types.ModuleType(name)

    def build(network, num_classes, in_chans=3, **options):
        return nn.Sequential(
            nn.Conv2d(in_chans, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
        )

    if name == "timm":
        package.create_model, package.list_models = build, lambda: ["resnet18", "vit_tiny"]
    else:
        package.models = types.ModuleType("torchvision.models")
        package.models.get_model, package.models.list_models = build, lambda: ["resnet18"]
        monkeypatch.setitem(sys.modules, "torchvision.models", package.models)
    monkeypatch.setitem(sys.modules, name, package)


def test_networks_of_other_libraries(digits, monkeypatch):
    stand_in(monkeypatch, "timm")
    model = build_network("timm:resnet18", digits, seed=0)
    assert model(digits.test.inputs[:2]).shape == (2, 10)
    with pytest.raises(UsageError, match="timm has no network 'resnet19'; did you mean 'resnet18'"):
        build_network("timm:resnet19", digits, seed=0)
    stand_in(monkeypatch, "torchvision")
    with pytest.raises(UsageError, match="does not take the examples of digits"):
        trained("torchvision:resnet18", digits, seed=0)


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_a_library_that_is_missing_is_named(name, digits, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=f"need the package {name}, which is not installed: pip install {name}"):
        build_network(f"{name}:resnet18", digits, seed=0)


def test_every_recipe_says_its_epochs():
    for known in NETWORKS.values():
        assert isinstance(known.training, Schedule) or known.training.few_epochs >= known.training.epochs

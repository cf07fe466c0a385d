"""Filters in the mask search: what is judged is the cut network, and it is what a run saves."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

import opt
from operators.masks import MaskGenome, as_population
from opt.console.errors import UsageError
from problems.masks import MASK_BITS, Masks
from problems.networks.channels.loading import load_cut

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"level": "filters", "final_epochs": 1, "n_images": 100, "references": "none"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def odd_network():
    """Sigmoids, norms over groups of channels and a gate: zeros in rows are not what a cut leaves."""

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(2, 8)
            self.both, self.head = nn.Conv2d(8, 12, 3, stride=2), nn.Linear(6, 10)

        def forward(self, x):
            x = torch.sigmoid(self.norm(self.one(x)))
            return self.head(nn.functional.glu(self.both(x), dim=1).mean((2, 3)))

    torch.manual_seed(3)
    return Gated()


@pytest.fixture
def own(monkeypatch):
    """The odd network under an importable name."""
    module = types.ModuleType("gated_net")
    module.build = odd_network
    monkeypatch.setitem(sys.modules, "gated_net", module)
    return "gated_net:build"


def judged(problem, network) -> float:
    answers = problem.workload.outputs(network, problem._shown)
    return problem.measure.value(answers.T.contiguous().numpy(), problem._shown.targets)


@pytest.mark.parametrize("options", [{}, {"train_steps": 2}, {"sparsity": None, "size": "macs"}])
def test_the_cut_network_is_judged(own, options):
    problem = Masks(network=own, **{"sparsity": 0.5, **SMALL, **options})
    assert problem.space.labels == ["one", "both"] and problem.space.sizes == (4, 6)
    X = problem.operators().sampling(4, np.random.default_rng(0))
    F = problem.evaluate(X)
    for x, f in zip(X, F, strict=True):
        network = problem.decode(x)
        assert f[0] == pytest.approx(judged(problem, network), rel=1e-4, abs=1e-5)
        assert sum(p.numel() for p in network.parameters()) == problem.describe(x)["parameters"]
        assert network.norm.num_channels == 2 * int(problem.layout.split(x[0].mask())[0].sum())
    if not problem.judging.train_steps:
        assert np.isfinite(problem.slope(X[0, 0])).all()


@pytest.mark.parametrize("model", ["own", "strided-cnn"])
def test_a_run_saves_the_cut_network(model, own, tmp_path, no_plots):
    asked = {"network": own} if model == "own" else {"network": model, "width": 0.1}
    problem = Masks(**{**asked, "sparsity": 0.5, **SMALL})
    run = opt.minimize(problem, "random", n_eval=6, seed=1, out=tmp_path)
    row = run.front.iloc[0]
    file = run.path / "solutions" / f"{row['id']}.safetensors"
    whole = (
        odd_network()
        if model == "own"
        else Masks(network=model, width=0.1, network_seed=5, sparsity=0.5, **SMALL).model
    )
    network = load_cut(whole, file)
    assert judged(problem, network) == pytest.approx(row["loss"], rel=1e-4)
    assert sum(p.numel() for p in network.parameters()) == row["parameters"]
    with safe_open(file, framework="np") as opened:
        assert opened.metadata()["id"] == row["id"]
        bits = opened.get_tensor(MASK_BITS)
    genome = MaskGenome.from_mask(np.unpackbits(bits, count=problem.layout.n).astype(bool))
    assert problem.evaluate(as_population([genome]))[0, 0] == row["loss"]


def test_layers_are_chosen_by_patterns_and_a_network_without_channels_is_refused(own, monkeypatch):
    assert Masks(network=own, layers="both", sparsity=0.5, **SMALL).space.labels == ["both"]
    sys.modules["gated_net"].build = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(UsageError, match=r"no channels .* 1 \(100.0% of the parameters: .* answers"):
        Masks(network=own, sparsity=0.5, **SMALL)

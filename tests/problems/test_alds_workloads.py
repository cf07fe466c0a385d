"""ALDS on workloads of the user's: regression, a loss of one's own, recipes, several inputs, transformers."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn

import opt
from opt import UsageError
from problems.alds import ALDS
from problems.data.bracket_texts import N_CLASSES, N_WORDS, bracket_texts
from problems.masks import Masks
from problems.networks.architectures.transformer import ATTENTIONS, TextTransformer, VisionTransformer
from problems.networks.training.training import one_thread
from problems.threshold import Threshold
from problems.workloads.recipe import Recipe
from problems.workloads.workload import Workload


@pytest.fixture(autouse=True)
def threads_and_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPT_CACHE_DIR", str(tmp_path / "cache"))
    with one_thread():
        yield


def table(n=120):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n, 12, generator=generator)
    return X, X[:, :2] @ torch.tensor([[1.0, -1.0], [0.5, 2.0]])


def perceptron(seed=0, activation=nn.ReLU):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16), activation(), nn.Linear(16, 16), activation(), nn.Linear(16, 2))


def regression(**options):
    return Workload(perceptron(), data=table(), n_search=30, n_test=20, **options)


def test_regression_is_searched_by_its_own_metric_and_tested_by_all():
    work = regression()
    problem = ALDS(workload=work, goal="accuracy", size="both", compensation="refit", rival_budgets=2)
    assert [o.name for o in problem.objectives] == ["rmse", "parameters", "macs"]
    problem.verify(np.random.default_rng(0))
    for x in problem.extremes():
        decoded = problem.decode(x)
        F = problem.evaluate(x[None])[0]
        assert F[0] == pytest.approx(work.judge(decoded, work.search)["rmse"], rel=1e-5)
        assert problem.test(x) == pytest.approx(work.judge(decoded, work.test), rel=1e-5)
    names = {reference.name for reference in problem.references()}
    assert {"uncompressed network", "PCA", "FT", "magnitude"} <= names


def test_the_loss_is_the_workloads_own():
    def biased(outputs, targets):
        return (outputs - targets).abs().mean(dim=1) + 1

    work = regression(loss=biased, metrics=[])
    problem = ALDS(workload=work, goal="loss", rivals=False)
    assert problem.objectives[0].name == "loss" and problem.objectives[0].unit == ""
    whole = problem.extremes()[:1]
    assert problem.evaluate(whole)[0, 0] == pytest.approx(work.judge(work.network, work.search)["loss"])
    assert ALDS(workload=work, goal="both", rivals=False).objectives[0].name == "loss"


def test_retraining_is_by_the_recipe_and_refused_without_one():
    with pytest.raises(UsageError, match=r"--problem\.retrain trains networks, and the workload has no recipe"):
        ALDS(workload=regression(), goal="loss", retrain=1, rivals=False)
    work = regression(recipe=Recipe(epochs=3, lr=0.01, batch_size=10))
    with pytest.raises(UsageError, match="whole epochs"):
        ALDS(workload=work, goal="loss", retrain=0.5, rivals=False)
    options = {"workload": work, "goal": "loss", "rival_budgets": 2}
    plain, retrained = ALDS(**options), ALDS(**options, retrain=3)
    retrained.verify(np.random.default_rng(0))
    x = plain.extremes()[1:2]
    before, after = (work.judge(p.decode(x[0]), work.train)["loss"] for p in (plain, retrained))
    assert after < before
    after = retrained.evaluate(x)[0, 0]
    retrained._recent.clear()
    assert retrained.evaluate(x)[0, 0] == after, "the same training gives the same network"
    rivals = {r.name: r.F for r in retrained.references()}
    assert rivals["magnitude"][0, 0] != {r.name: r.F for r in plain.references()}["magnitude"][0, 0]


def test_kept_errors_on_data_follow_the_networks_code(tmp_path):
    relu, sigmoid = (Workload(perceptron(0, a), data=table(), n_search=30, n_test=20) for a in (nn.ReLU, nn.Sigmoid))
    errors = [ALDS(workload=w, measure="data", rivals=False).lowrank.errors("data") for w in (relu, sigmoid, relu)]
    key = "2|scheme=0|k=1"
    assert not np.allclose(errors[0][key], errors[1][key]) and np.array_equal(errors[0][key], errors[2][key])


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.again = nn.Linear(12, 16), nn.Linear(16, 16)
        self.other, self.out = nn.Linear(16, 16), nn.Linear(16, 2)
        self.other.weight = self.again.weight
        self.volume = nn.Conv3d(1, 8, 3, padding=1)
        self.squeeze = nn.Conv3d(8, 8, 3, padding=1)

    def forward(self, x, volume):
        x = torch.relu(self.first(input=x))
        x = torch.relu(self.other(torch.relu(self.again(x))))
        volume = self.squeeze(torch.relu(self.squeeze(torch.relu(self.volume(volume)))))
        return {"logits": self.out(x) + volume.mean(dim=(1, 2, 3, 4))[:, None]}


def test_several_inputs_shared_weights_and_volumes():
    torch.manual_seed(0)
    X, y = table(60)
    volumes = torch.randn(60, 1, 4, 4, 4)
    work = Workload(TwoInputs(), data=({"x": X, "volume": volumes}, y), n_search=20, n_test=10)
    problem = ALDS(workload=work, goal="accuracy", measure="data", compensation="refit", size="both", rival_budgets=2)
    notes = " | ".join(problem.verify(np.random.default_rng(0)))
    assert not problem.is_whole and "again, other (its weight is shared)" in notes
    assert {layer.name for layer in problem.lowrank.layers} == {"first", "volume", "squeeze", "out"}
    squeeze = problem.lowrank.by_name["squeeze"]
    assert squeeze.runs == 2 and squeeze.macs == 2 * 64 * squeeze.parameters
    problem.references()


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("kind", ["images", "tokens"])
def test_transformers_of_both_kinds_of_attention_are_pruned_masked_and_decomposed(kind, attention):
    if kind == "tokens":
        tokens, depth = (torch.from_numpy(array) for array in bracket_texts(160, length=12))
        work = Workload(
            TextTransformer(N_WORDS, 12, N_CLASSES, width=16, n_blocks=1, attention=attention),
            data=(tokens, depth),
            n_search=40,
            n_test=40,
        )
    else:
        images = torch.rand(160, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        network = VisionTransformer((1, 8, 8), 4, width=16, n_blocks=1, attention=attention)
        work = Workload(network, data=(images, (images.mean((1, 2, 3)) * 400).long() % 4), n_search=40, n_test=40)
    pruned = Threshold(workload=work, layers="*")
    pruned.verify(np.random.default_rng(0))
    projections = {"linear": ("query", "key", "value", "out"), "packed": ("q", "k", "v", "out_proj")}[attention]
    names = {f"blocks.0.attention.{name}" for name in projections}
    assert names <= set(pruned.names) and not pruned.is_whole
    masked = Masks(workload=work, level="weights", sparsity=0.5, loss="cross-entropy", references="none")
    masked.verify(np.random.default_rng(0))
    assert names <= set(masked.space.names) and not masked.is_whole
    problem = ALDS(workload=work, goal="both", measure="data", compensation="refit", rivals=False)
    problem.verify(np.random.default_rng(0))
    assert names <= set(problem.lowrank.by_name) and not problem.is_whole


def test_proof_of_a_bound_is_quick(tmp_path, no_plots):
    problem = ALDS(n_search=200, rivals=False)
    start = time.process_time()
    notes = problem.verify(np.random.default_rng(0))
    assert time.process_time() - start < 2.0
    assert notes[0].startswith("whole, on the search split: loss ") and notes[1].startswith("weights that can be")
    run = opt.minimize(problem, "alds-exact", out=tmp_path)
    assert run.manifest["verified"] == list(notes)


def test_a_wrong_table_is_found():
    problem = ALDS(workload=regression(), rivals=False)
    problem.table._error *= 0.5
    assert "bound" in str(problem._disagreements(problem.extremes())[0])
    problem = ALDS(workload=regression(), size="macs", rivals=False)
    problem.table._size["macs"][:, :, 1] += 1000
    assert "macs" in str(problem._disagreements(problem.extremes())[0])


def test_another_device_gives_the_same_values():
    here = ALDS(n_search=100, n_test=50, goal="accuracy", rivals=False)
    there = ALDS(n_search=100, n_test=50, goal="accuracy", rivals=False, device="cpu:0")
    X = here.extremes()
    assert np.array_equal(here.evaluate(X), there.evaluate(X)) and here.test(X[1]) == there.test(X[1])

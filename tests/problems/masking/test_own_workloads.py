"""Masks of a user's own workload: its loss, metrics, slopes, recipe, criteria, and what is refused."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import opt
from operators.masks import MaskGenome, as_population
from opt import UsageError
from problems.masks import Masks
from problems.workloads.recipe import Recipe
from problems.workloads.workload import Workload

ROOT = Path(__file__).parents[3]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
SMALL = {"references": "none", "slope_images": 0}
ROWS = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
NUMBERS = ROWS[:, :2].sum(1) + 0.1 * ROWS[:, 2]
CLASSES = (ROWS[:, 0] > 0).long() + (ROWS[:, 1] > 0).long()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPT_CACHE_DIR", str(tmp_path / "cache"))


def mlp(n_out=3, act=nn.Tanh):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), act(), nn.Linear(12, n_out))


def regression(**options):
    return Workload(mlp(1), (ROWS, NUMBERS), **options)


def classes(**options):
    return Workload(mlp(), (ROWS, CLASSES), **options)


class TwoInputs(nn.Module):
    """Several labels of a row and a word, in a dict."""

    def __init__(self):
        super().__init__()
        self.words, self.rows, self.out = nn.Embedding(10, 4), nn.Linear(6, 8), nn.Linear(12, 3)

    def forward(self, row, word):
        both = torch.cat([torch.tanh(self.rows(input=row)), self.words(word)], dim=1)
        return {"logits": self.out(both), "hidden": both}


def several_labels(**options):
    torch.manual_seed(1)
    words = torch.randint(0, 10, (200,), generator=torch.Generator().manual_seed(1))
    labels = (ROWS[:, :3] > 0).float()
    return Workload(
        TwoInputs(), ({"row": ROWS, "word": words}, labels), loss="binary-cross-entropy", metrics="macro_f1", **options
    )


class Tagger(nn.Module):
    """A class for each of ten tokens."""

    def __init__(self):
        super().__init__()
        self.words, self.one, self.two = nn.Embedding(10, 8), nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.two(torch.relu(self.one(self.words(x)))).transpose(1, 2)


def tokens(**options):
    torch.manual_seed(2)
    words = torch.randint(0, 10, (150, 10), generator=torch.Generator().manual_seed(2))
    return Workload(Tagger(), (words, words % 4), **options)


def hinge(outputs, targets):
    """A loss of the user's own."""
    return torch.relu(1 - outputs[:, 0] * (2 * (targets > 0) - 1))


def own_loss(**options):
    return Workload(mlp(1), (ROWS, NUMBERS), loss=hinge, metrics=(), **options)


WORKLOADS = {f.__name__: f for f in (regression, classes, several_labels, tokens, own_loss)}


def sample(problem, n=3, seed=0):
    return problem.operators().sampling(n, np.random.default_rng(seed))


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_mask_is_worth_the_workloads_own_loss_of_the_decoded_network(name):
    problem = Masks(workload=WORKLOADS[name](), sparsity=0.4, **SMALL)
    notes = problem.verify(np.random.default_rng(0))
    assert not problem.is_whole and "of the parameters" in notes[1]
    assert [o.name for o in problem.objectives] == ["loss"]
    for x, f in zip(X := sample(problem), problem.evaluate(X), strict=True):
        work = problem.workload
        assert f[0] == pytest.approx(work.judge(problem.decode(x), work.search)["loss"], rel=1e-5)
        assert problem.test(x) == pytest.approx(work.judge(problem.decode(x), work.test))
        row = problem.describe(x)
        assert row["weights_kept"] == problem.n_kept and row["parameters"] > row["weights_kept"]


@pytest.mark.parametrize(("name", "objective"), [("regression", "rmse"), ("several_labels", "macro_f1_loss")])
def test_the_error_is_that_of_the_first_metric(name, objective):
    problem = Masks(workload=WORKLOADS[name](), sparsity=0.4, loss="error", **SMALL)
    problem.verify(np.random.default_rng(0))
    assert [o.name for o in problem.objectives] == [objective] and not problem.is_whole
    for x, f in zip(X := sample(problem), problem.evaluate(X), strict=True):
        judged = problem.workload.judge(problem.decode(x), problem.workload.search)
        assert f[0] == pytest.approx(problem.workload.quality(judged), rel=1e-5)


@pytest.mark.parametrize("name", WORKLOADS)
def test_slopes_are_those_of_the_workloads_loss(name):
    problem = Masks(workload=WORKLOADS[name](), sparsity=0.4, **SMALL)
    (x,) = sample(problem, 1)
    slope, work = problem.slope(x[0]), problem.workload
    assert slope.shape == (problem.layout.n,) and "guided" in problem.operators().moves
    layer, places = problem.space.names[-1], problem.layout.split(np.arange(problem.layout.n))[-1]
    place = places[int(np.abs(slope[places]).argmax())]
    at = np.unravel_index(place - places[0], tuple(work.network.get_submodule(layer).weight.shape))

    def loss(gate):
        network = problem.decode(x).double()
        weight = network.get_submodule(layer).weight
        with torch.no_grad():
            weight[at] = gate * work.network.get_submodule(layer).weight[at].double()
        double = work.search.map(lambda t: t.double() if t.is_floating_point() else t)
        return work.judge(network, double)["loss"]

    now = float(x[0].mask()[place])
    expected = (loss(now + 1e-4) - loss(now - 1e-4)) / 2e-4
    assert slope[place] == pytest.approx(expected, rel=1e-2)


def test_losses_of_classes_are_for_classes():
    for loss in ("scaled", "cross-entropy"):
        problem = Masks(workload=classes(), loss=loss, sparsity=0.4, **SMALL)
        problem.verify(np.random.default_rng(0))
        assert not problem.is_whole
        for of_other in (regression, tokens, several_labels):
            with pytest.raises(UsageError, match=rf"loss {loss} is of one class an example.*leave out") as told:
                Masks(workload=of_other(), loss=loss, **SMALL)
            assert "\n" not in str(told.value)


def rounded(outputs, targets):
    """A loss without a slope."""
    return np.abs(np.rint(outputs.numpy()) - targets.numpy()[:, None]).mean()


def test_guided_moves_are_left_out_where_the_loss_has_no_slope():
    problem = Masks(workload=Workload(mlp(1), (ROWS, NUMBERS), loss=rounded, metrics="rmse"), **SMALL)
    assert "guided" not in problem.operators().moves
    assert any("guided moves are left out" in note for note in problem.verify(np.random.default_rng(0)))
    assert not problem.is_whole


# -- training and criteria --------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"epochs": 1}, {"train_steps": 5}, {"final_epochs": 2}, {"lottery_epochs": 1}, {"start": "lth"}]
)
def test_options_that_train_need_a_recipe(options):
    with pytest.raises(UsageError, match="the workload has no recipe") as told:
        Masks(workload=regression(), **SMALL, **options)
    assert "\n" not in str(told.value)
    Masks(workload=regression(recipe=Recipe(epochs=1, lr=0.01)), **SMALL, **options)


def test_trainings_are_by_the_recipe_and_the_loss():
    work = regression(recipe=Recipe(lr=0.01, batch_size=20))
    given, trained = (Masks(workload=work, epochs=epochs, sparsity=0.2, **SMALL) for epochs in (0, 15))
    ones = as_population([MaskGenome.from_mask(np.ones(given.layout.n, dtype=bool))])
    assert trained.evaluate(ones)[0, 0] < 0.3 * given.evaluate(ones)[0, 0]
    briefly = Masks(workload=work, train_steps=40, sparsity=0.5, **SMALL)
    X = sample(briefly)
    F = briefly.evaluate(X)
    assert (Masks(workload=work, sparsity=0.5, **SMALL).evaluate(X) > F).all()
    briefly.verify(np.random.default_rng(0))
    assert not briefly.is_whole
    again = Masks(workload=work, train_steps=40, sparsity=0.5, **SMALL)
    np.testing.assert_array_equal(again.evaluate(X[::-1])[::-1], F)
    masks = briefly.space.tensors(X[0, 0].mask())
    state = briefly.decode(X[0]).state_dict()
    assert not any(state[name].numpy()[~mask].any() for name, mask in masks.items())


def test_steps_cannot_be_counted_in_a_training_function():
    work = regression(recipe=Recipe(train=lambda network, examples, epochs, seed: None))
    with pytest.raises(UsageError, match="train_steps counts steps"):
        Masks(workload=work, train_steps=3, **SMALL)


@pytest.mark.parametrize("name", WORKLOADS)
def test_references_are_masks_of_the_criteria_that_say_something(name):
    problem = Masks(workload=WORKLOADS[name](), sparsity=0.5)
    assert {reference.name for reference in problem.references()} >= {"random", "magnitude", "snip", "grasp", "synflow"}
    assert any("magsign is left out: it compares" in note for note in problem.about())
    with pytest.raises(UsageError, match=r"criterion magsign compares weights .*final_epochs"):
        Masks(workload=WORKLOADS[name](), start="magsign", **SMALL)
    with pytest.raises(UsageError, match="lth trains networks"):
        Masks(workload=WORKLOADS[name](), references="random,lth")


def test_magnitude_is_that_of_the_given_weights_and_every_criterion_has_its_mask_with_a_recipe():
    problem = Masks(workload=regression(), sparsity=0.5, **SMALL)
    weights = np.concatenate([np.abs(w).ravel() for w in problem.criteria.weights()])
    mask = problem.criteria.mask("magnitude", problem.n_kept)
    assert weights[mask].min() >= weights[~mask].max()
    work = regression(recipe=Recipe(lr=0.01, batch_size=50))
    problem = Masks(workload=work, sparsity=0.5, references="all", final_epochs=2, lottery_epochs=1)
    known = {reference.name: reference.X[0, 0] for reference in problem.references()}
    assert {"lth", "movement", "large_final_same_sign", "synflow"} <= set(known)
    assert all(genome.n_kept == problem.n_kept for genome in known.values())


# -- kept things, states ----------------------------------------------------------------------


class Chosen(nn.Module):
    """Equal tensors under two forwards."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(6, 12), nn.Linear(12, 1)
        self.scale = nn.Parameter(torch.ones(12))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return self.two(self.scale * torch.relu(self.one(x))) + 0 * self.seen


class Other(Chosen):
    def forward(self, x):
        return self.two(self.scale * torch.sigmoid(self.one(x)))


def test_kept_trainings_and_masks_go_by_the_code():
    recipe = Recipe(lr=0.01, batch_size=20)
    problems = [
        Masks(workload=Workload(kind(), (ROWS, NUMBERS), recipe=recipe), epochs=3, sparsity=0.5, **SMALL)
        for kind in (Chosen, Other)
    ]
    assert not torch.equal(problems[0].state["one.weight"], problems[1].state["one.weight"])
    masks = [problem.criteria.mask("synflow", problem.n_kept) for problem in problems]
    assert (masks[0] != masks[1]).any()


def test_bare_parameters_and_buffers_follow_the_trained_state():
    work = Workload(Chosen(), (ROWS, NUMBERS), recipe=Recipe(lr=0.05, batch_size=20))
    problem = Masks(workload=work, epochs=5, sparsity=0.3, **SMALL)
    assert not torch.equal(problem.state["scale"], torch.ones(12)) and problem.state["seen"] > 0
    problem.verify(np.random.default_rng(0))
    assert not problem.is_whole
    (x,) = sample(problem, 1)
    decoded = problem.decode(x)
    assert torch.equal(decoded.scale, problem.state["scale"]) and decoded.seen == problem.state["seen"]


class Normed(nn.Module):
    """Batch norms: one usual, one without statistics, one that does not run, one that runs twice."""

    def __init__(self, *, twice=False, tracks=True):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.out = nn.Linear(6, 12), nn.Linear(12, 12), nn.Linear(12, 3)
        self.norm, self.unused = nn.BatchNorm1d(12, track_running_stats=tracks), nn.BatchNorm1d(7)
        self.twice = twice

    def forward(self, x):
        x = torch.relu(self.norm(self.one(x)))
        x = self.two(x)
        return self.out(torch.relu(self.norm(x) if self.twice else x))


@pytest.mark.parametrize("options", [{}, {"tracks": False}, {"twice": True}])
def test_batch_norms_of_every_kind_are_judged_truly(options):
    problem = Masks(workload=Workload(Normed(**options), (ROWS, CLASSES)), sparsity=0.5, **SMALL)
    notes = problem.verify(np.random.default_rng(0))
    assert problem.is_whole == bool(options.get("twice")), notes
    for x, f in zip(X := sample(problem), problem.evaluate(X), strict=True):
        work = problem.workload
        network = problem.decode(x)
        assert not network.training
        assert f[0] == pytest.approx(work.judge(network, work.search)["loss"], rel=1e-4)
        assert "unused.running_mean" in problem.tensors(x)
    assert np.isfinite(problem.slope(X[0, 0])).all()


def test_the_users_network_stays_as_it_is():
    network = Normed()
    before = copy.deepcopy(network.state_dict())
    problem = Masks(workload=Workload(network, (ROWS, CLASSES), recipe=Recipe()), epochs=1, sparsity=0.5, **SMALL)
    problem.evaluate(sample(problem))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_device_other_than_the_processor_is_refused():
    with pytest.raises(UsageError, match=r"on the processor; leave out --problem\.device"):
        Masks(workload=regression(), device="meta")


# -- runs -------------------------------------------------------------------------------------

FILE = """
import torch
from torch import nn
from problems.workloads.workload import Workload

X = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))

def build():
    return Workload(nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1)), (X, X[:, 0] - X[:, 1]))
"""


def test_a_run_of_a_file_ends_with_its_metrics_and_goes_on(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(FILE)

    def solve(*words):
        command = [sys.executable, "-m", "opt.solve", *map(str, words)]
        return subprocess.run(command, cwd=ROOT, env=os.environ | ONE_THREAD, capture_output=True, text=True)

    small = ("--algo.pop_size", "10", "--n-gen", "4", "--quiet", "--out", tmp_path / "runs")
    mine = ("--problem.workload", f"{file}:build", "--problem.sparsity", "null")
    answer = solve("problems/masks.py", "--algo", "nsga2", *mine, *small)
    assert answer.returncode == 0, answer.stderr
    run = opt.load_run(next((tmp_path / "runs").iterdir()))
    assert {"loss", "kept", "test_loss", "test_rmse", "weights_kept"} <= set(run.front.columns)
    assert {"random", "magnitude"} <= set((run.path / "references.csv").read_text().replace("\n", ",").split(","))
    assert "of the parameters" in run.manifest["verified"][1]
    again = solve("--resume", run.path, "--trust")
    assert again.returncode == 0 and "nothing was changed" in again.stdout, again.stderr

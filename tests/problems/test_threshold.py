"""Threshold search: masks, scores, evaluation against the slow path, exact front, files, published setting."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from pymoo.problems.multi.zdt import ZDT1
from torch import nn

from opt import load_run, minimize
from opt.console.errors import UsageError
from opt.fronts.archive import hypervolume, nondominated
from opt.runs.front_files import EXACT_FRONT
from problems.data.data import load_dataset
from problems.figures import threshold as figures
from problems.networks.layers.prunable import run_layer
from problems.networks.storage.checkpoints import save_network
from problems.networks.training.training import evaluate
from problems.threshold import UNPRUNED, Threshold
from problems.thresholds.fitness import published_fitness

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, one_thread):
    """Snowfall, trained for a moment on the digits."""
    from problems.workloads.parents import trained_snowfall

    folder = tmp_path_factory.mktemp("snowfall")
    model, _ = trained_snowfall(load_dataset("digits"), epochs=6, batch_size=16, cache_dir=folder, progress=False)
    save_network(model, folder / "snowfall.safetensors")
    return str(folder / "snowfall.safetensors")


class Residual(nn.Module):
    """Convolutions with groups, strides and dilation, a skip, a batch norm, and layers without biases."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.block = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2, padding_mode="circular")
        self.down = nn.Conv2d(4, 6, 2, stride=2)
        self.hidden = nn.Linear(96, 12, bias=False)
        self.head = nn.Linear(12, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = x + torch.relu(self.block(x))
        x = torch.relu(self.down(x)).flatten(1)
        return self.head(torch.relu(self.hidden(x)))


class Branching(Residual):
    """A forward that no tracer follows."""

    def forward(self, x):
        if float(x.sum()) < 0:
            return self.head(self.hidden(x.flatten(1)))
        return super().forward(x)


def residual():
    return Residual()


def branching():
    return Branching()


def not_a_network():
    return 3


def failing():
    raise RuntimeError("no such thing")


def own(name, **options):
    return Threshold(network=f"{__name__}:{name}", epochs=1, **options)


@pytest.fixture(scope="module", autouse=True)
def importable():
    """The functions above by the name under which pytest has this module."""
    assert __name__ in sys.modules


def one_by_one(problem, X):
    search = problem.workload.search.split
    return np.array([1 - evaluate(problem.decode(x), search.images, search.labels)[1] for x in X])


def population(problem, n=24, seed=0):
    operators, rng = problem.operators(), np.random.default_rng(seed)
    X = operators.sampling(n, rng)
    C, D = operators.crossover(X[: n // 2], X[n // 2 : 2 * (n // 2)], rng)
    X = np.vstack([X, C, operators.mutation(D, rng), problem.xl, problem.xu])
    X.setflags(write=False)
    return X


SNOWFALL = {
    "one layer": {},
    "rms": {"score": "rms"},
    "std": {"score": "std"},
    "thresholds": {"scale": "threshold", "initial": "log", "crossover": "mean", "mutation": "log"},
    "sbx": {"crossover": "sbx", "initial": "uniform", "size": "macs"},
    "classes": {"scope": "channel"},
    "three layers": {"layers": "*", "size": "both"},
    "three layers, channels, std": {"layers": "*", "scope": "channel", "score": "std", "size": "both"},
    "nested": {"layers": "*", "initial": "nested"},
    "convolutions": {"layers": "conv*", "score": "rms"},
    "first layer": {"layers": "conv_1"},
}


@pytest.mark.parametrize("name", SNOWFALL)
def test_evaluate_as_a_batch_equals_network_by_network(checkpoint, name):
    problem = Threshold(checkpoint=checkpoint, **SNOWFALL[name])
    X = population(problem)
    F = problem.evaluate(X)
    assert F.shape == (len(X), problem.n_obj) and F.dtype == np.float64
    np.testing.assert_allclose(F[:, 0], one_by_one(problem, X), atol=1e-12)
    np.testing.assert_array_equal(problem.evaluate(X[5:7]), F[5:7])
    assert ((F >= 0) & (F <= 1)).all()
    # nothing removed is the network itself; everything removed keeps nothing
    assert F[-2, 0] == 1 - problem.base_accuracy and (F[-2, 1:] == 1).all() and (F[-1, 1:] == 0).all()


@pytest.mark.parametrize("model", ["residual", "branching"])
@pytest.mark.parametrize("score", ["magnitude", "std"])
def test_evaluate_takes_any_network(model, score):
    problem = own(model, layers="*", score=score)
    assert problem.names == ["stem", "block", "down", "hidden", "head"]
    X = population(problem, n=10)
    # the sums of float32 run in another order: a near tie may turn
    np.testing.assert_allclose(problem.evaluate(X)[:, 0], one_by_one(problem, X), atol=1.01 / 287)


def test_evaluate_of_networks_with_no_weights_left_is_what_argmax_says(checkpoint):
    """All logits are biases: a tie goes to the first class, never to the label."""
    problem = own("residual", layers="hidden,head", scope="channel")
    problem.model.head.bias.data.zero_()
    X = np.ones((1, problem.n_var))
    assert Threshold.evaluate(problem, X)[0, 0] == one_by_one(problem, X)[0] > 0.8


@pytest.mark.parametrize("score", ["magnitude", "rms", "std"])
def test_pareto_front_is_the_front_of_all_masks(checkpoint, score):
    problem = Threshold(checkpoint=checkpoint, score=score)
    counts = np.arange(241)[:, None]
    F = problem.evaluate(problem.candidates(counts))
    front = problem.pareto_front()
    every = F[nondominated(F)]
    np.testing.assert_array_equal(front[np.lexsort(front.T)], every[np.lexsort(every.T)])
    np.testing.assert_allclose(F[::40, 0], one_by_one(problem, problem.candidates(counts[::40])), atol=1e-12)


def test_pareto_front_of_a_layer_that_is_not_the_last(checkpoint):
    problem = Threshold(checkpoint=checkpoint, layers="conv_1")
    front = problem.pareto_front()
    assert 1 < len(front) <= 28
    np.testing.assert_allclose(front[:, 0], one_by_one(problem, problem.candidates(problem.exact_counts())), atol=1e-12)


def test_pareto_front_is_not_known_for_several_thresholds(checkpoint):
    assert Threshold(checkpoint=checkpoint, layers="*").pareto_front() is None


def test_counts_treat_equal_scores_as_one_threshold(checkpoint):
    problem = Threshold(checkpoint=checkpoint)
    masks = type(problem.masks)([np.array([[0.0, 2.0, 1.0], [0.0, 1.0, 0.0]])])
    assert masks.chain(0).tolist() == [0, 3, 5, 6]
    shares = masks.shares(np.arange(7)[:, None])
    assert masks.counts_of_shares(shares)[:, 0].tolist() == [0, 3, 3, 3, 5, 5, 6]
    assert masks.counts_at(np.array([[-1.0], [0.0], [0.5], [1.0], [2.0]]))[:, 0].tolist() == [0, 3, 3, 5, 6]
    assert masks.thresholds(np.array([[0], [3], [5], [6]]))[:, 0].tolist() == [0.0, 0.0, 1.0, 2.0]


@pytest.mark.parametrize("scale", ["share", "threshold"])
def test_thresholds_between_two_scores_are_one_mask_and_evaluated_once(checkpoint, scale, tmp_path):
    problem = Threshold(checkpoint=checkpoint, scale=scale)
    counts = np.array([[0], [17], [240]])
    X = problem.candidates(counts)
    np.testing.assert_array_equal(problem.counts(X), counts)
    nudged = np.clip(X + 1e-9, problem.xl, problem.xu)
    assert [problem.fingerprint(x) for x in X] == [problem.fingerprint(x) for x in nudged]
    run = minimize(problem, "random", n_gen=4, seed=1, pop_size=200, out=tmp_path, keep=0)
    assert 100 < run.manifest["n_eval"] <= 241 and not list((run.path / "solutions").glob("*"))


def test_scores_are_what_a_removal_costs(checkpoint):
    """The std score squared is the mean squared change of the output, once the bias is corrected."""
    problem = Threshold(checkpoint=checkpoint, layers="*", score="std")
    images = problem.workload.train.split.images[:10_000]
    for k, name in enumerate(problem.names):
        seen = []
        layer = dict(problem.model.named_modules())[name]
        handle = layer.register_forward_pre_hook(lambda module, arguments, seen=seen: seen.append(arguments[0]))
        problem.model(images)
        handle.remove()
        counts = np.ones(1, dtype=np.int64)
        weight, bias = problem.pruned(k, counts)
        whole = layer(seen[0])
        change = (whole - run_layer(layer, seen[0], weight, bias)).double()
        cost = change.square().reshape(*change.shape[:2], -1).mean(dim=2)
        smallest = float(problem.masks.thresholds(np.eye(3, dtype=np.int64)[k][None])[0, k])
        assert float(cost.mean(dim=0).sum()) == pytest.approx(smallest**2, rel=1e-2, abs=1e-9)


def test_tensors_hold_the_pruned_network_and_its_masks(checkpoint):
    problem = Threshold(checkpoint=checkpoint, layers="*", score="std")
    x = np.array([0.2, 0.3, 0.6])
    tensors, model = problem.tensors(x), problem.decode(x)
    for name in ("conv_1", "conv_2", "dense"):
        mask = tensors[f"{name}.weight_mask"]
        assert mask.dtype == bool and (tensors[f"{name}.weight"][~mask] == 0).all()
        np.testing.assert_array_equal(tensors[f"{name}.weight"], model.get_submodule(name).weight.numpy())
    row = problem.describe(x)
    zeros = sum(int((~mask).sum()) for mask in problem.masks_of(x).values())
    assert row["zeros"] == zeros and row["weights_left"] == 27 + 162 + 240 - zeros
    assert row["dense_bytes"] == 4 * (27 + 3 + 162 + 6 + 240 + 10)
    values = 4 * (row["weights_left"] + 3 + 6 + 10)
    assert row["size_bytes"] == values + 4 + 21 + 30
    assert set(row) > {"threshold_dense", "kept_conv_1"}


def test_network_is_left_as_it_was(checkpoint):
    problem = Threshold(checkpoint=checkpoint, score="std")
    before = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    problem.evaluate(population(problem))
    problem.decode(np.array([0.5]))
    for name, tensor in problem.model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_references_stand_beside_the_front(checkpoint):
    names = {r.name: r for r in Threshold(checkpoint=checkpoint).references()}
    assert list(names)[:2] == [UNPRUNED, EXACT_FRONT]
    exact = names[EXACT_FRONT]
    assert len(exact.F) == len(exact.test) == len(exact.parameters) and "threshold" in exact.parameters[0]
    problem = Threshold(checkpoint=checkpoint)
    test = problem.workload.test.split
    for x, tested in zip(problem.candidates(problem.exact_counts()), exact.test, strict=True):
        assert tested["accuracy"] == pytest.approx(evaluate(problem.decode(x), test.images, test.labels)[1])
    several = Threshold(checkpoint=checkpoint, layers="*")
    unpruned, chain = several.references()
    assert unpruned.F.tolist() == [[1 - several.base_accuracy, 1.0]]
    assert chain.name.startswith("best chain") and nondominated(chain.F).all()


def test_nsga2_reaches_the_exact_front(checkpoint, tmp_path):
    problem = Threshold(checkpoint=checkpoint)
    exact = hypervolume(problem.pareto_front(), np.ones(2))
    run = minimize(problem, "nsga2", n_eval=120, seed=1, pop_size=40, out=tmp_path)
    assert 0.97 * exact < run.manifest["hypervolume"] <= exact
    references = run.references
    assert (references["reference"] == EXACT_FRONT).sum() == len(problem.pareto_front())
    assert references["test_accuracy"].notna().all()


@pytest.mark.parametrize("scale", ["share", "threshold"])
def test_budget_beyond_all_masks_ends_with_the_exact_front(checkpoint, scale, tmp_path):
    problem = Threshold(checkpoint=checkpoint, scale=scale)
    X = np.concatenate(list(problem.all_candidates()))
    assert len({problem.fingerprint(x) for x in X}) == len(X) == problem.n_distinct == 241
    run = minimize(problem, "ga", n_eval=5000, seed=1, pop_size=40, out=tmp_path, keep=0)
    assert run.manifest["stop_reason"] == "all 241 distinct candidates were evaluated, the front is exact"
    assert run.manifest["hypervolume"] == pytest.approx(hypervolume(problem.pareto_front(), np.ones(2)), rel=1e-12)
    assert Threshold(checkpoint=checkpoint, layers="*", scale=scale, scope="channel").n_distinct is None


def test_nested_search_begins_at_the_exact_front_of_the_last_layer(checkpoint):
    problem, alone = Threshold(checkpoint=checkpoint, layers="*", initial="nested"), Threshold(checkpoint=checkpoint)
    exact = alone.exact_counts()[:, 0]
    counts = problem.counts(problem.operators().sampling(3 * len(exact), np.random.default_rng(0)))
    seeds = counts[: len(exact)]
    assert (seeds[:, :2] == 0).all() and sorted(seeds[:, 2]) == sorted(exact)
    assert counts[len(exact) :, :2].any()


def test_published_fitness_is_the_scalar_that_problem_offers(checkpoint):
    problem = Threshold(checkpoint=checkpoint)
    base = problem.base_accuracy
    F = np.array([[1 - base, 1.0], [1 - base / 2, 0.5]])
    np.testing.assert_allclose(problem.scalarise(F), [-1.0, -0.5])
    assert published_fitness(0.8, 0.8, 0.25) == pytest.approx(1.375)


def test_published_setting_and_figures(checkpoint, tmp_path, monkeypatch):
    from opt.solve import main

    monkeypatch.setenv("OPT_CACHE_DIR", str(tmp_path / "cache"))
    config = "problems/configs/threshold-published.yaml"
    arguments = [
        "problems/threshold.py",
        "--config",
        config,
        "--problem.data",
        "digits",
        "--problem.epochs",
        "2",
        "--keep",
        "5",
    ]
    seeds = ["--runs", "2", "--problem.network_seed", "same-as-run"]
    assert main([*arguments, *seeds, "--n-gen", "5", "--quiet", "--out", str(tmp_path)]) == 0
    runs = [load_run(path) for path in sorted(tmp_path.glob("*/threshold-truncation-*"))]
    assert [run.manifest["seed"] for run in runs] == [1, 2]
    assert {run.manifest["problem"]["parameters"]["network_seed"] for run in runs} == {"same-as-run"}
    whole = [run.references.query("reference == @UNPRUNED")["error"].iloc[0] for run in runs]
    assert whole[0] != whole[1]
    assert all(run.manifest["n_eval"] <= 20 + 4 * 6 for run in runs)
    files = figures.write_plots(runs, tmp_path / "figures")
    assert [file.name for file in files] == ["pareto.png", "models.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_figures_refuse_runs_of_other_problems(tmp_path):
    run = minimize(ZDT1(n_var=3), "random", n_gen=1, pop_size=5, out=tmp_path)
    with pytest.raises(UsageError, match="give threshold runs"):
        figures.write_plots([run], tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "dens"}, "did you mean 'dense'"),
        ({"layers": "dense,", "epochs": 1}, "fits no layer"),
        ({"network": "no.such.package:network"}, "cannot import"),
        ({"network": "network"}, "network must be one of mlp-256-256"),
        ({"model": "some:network"}, "Threshold(): model is now network"),
        ({"network": f"{__name__}:residua"}, "did you mean 'residual'"),
        ({"network": f"{__name__}:not_a_network"}, "torch.nn.Module, got int"),
        ({"network": f"{__name__}:failing"}, "no such thing"),
        ({"checkpoint": "missing.safetensors"}, "no such file"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"network_seed": -1}, "at least 0"),
        ({"data": "digit"}, "did you mean 'digits'"),
    ],
)
def test_what_a_user_gets_wrong_is_told(options, message, checkpoint):
    with pytest.raises(UsageError) as caught:
        Threshold(**({"checkpoint": checkpoint} if not {"network", "epochs"} & set(options) else {}) | options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_checkpoint_of_another_network_is_refused(checkpoint):
    with pytest.raises(UsageError, match="does not hold the weights of"):
        own("residual", checkpoint=checkpoint)


def test_own_model_follows_its_seed_and_leaves_torchs_generator_alone():
    state = torch.random.get_rng_state()
    first, again, other = (own("residual", network_seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.model.head.weight, again.model.head.weight)
    assert not torch.equal(first.model.head.weight, other.model.head.weight)


VIEWED = """
from torch import nn

class Viewed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 3, 3), nn.Linear(108, 10)

    def forward(self, x):
        return self.last(self.conv(x).view(len(x), -1))
"""


def test_an_own_network_may_view_its_maps(tmp_path, monkeypatch):
    (tmp_path / "viewed.py").write_text(VIEWED)
    monkeypatch.syspath_prepend(str(tmp_path))
    problem = Threshold(network="viewed:Viewed", epochs=1)
    assert np.isfinite(problem.evaluate(problem.extremes())).all()

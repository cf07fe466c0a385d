"""ALDS as a problem: exact front, published heuristic, budget, accuracy, references, own networks, the pipeline."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import torch
from torch import nn

import opt
from opt.console.errors import UsageError
from opt.fronts.archive import nondominated
from opt.runs.front_files import EXACT_FRONT
from problems.alds import ALDS, UNCOMPRESSED
from problems.data.cifar import FOLDER as CIFAR_FOLDER
from problems.data.cifar import TEST_FILES, TRAIN_FILES
from problems.data.data import load_dataset
from problems.lowrank.algorithms.alds import read_budgets
from problems.lowrank.choices import Choice
from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.lowrank.materialise import load_decomposed, load_reference, n_parameters
from problems.lowrank.retraining import prune_retrain
from problems.lowrank.retraining.pipeline import keep_ratios, largest_reductions
from problems.lowrank.rivals.rivals import decomposed_rival, decomposition_allocators
from problems.networks.training.schedule import Schedule
from problems.networks.training.sgd import train_sgd
from problems.networks.training.training import evaluate
from problems.workloads.reference_networks import NETWORKS, build_network, trained_network


@pytest.fixture(scope="module", autouse=True)
def one_thread_and_cache(tmp_path_factory):
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def problem(one_thread_and_cache):
    return ALDS(n_search=200)


class Tiny(nn.Module):
    """One convolution and a linear layer on rows of features."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(384, 10)

    def forward(self, x):
        return self.head(self.mix(torch.relu(self.conv(x))).flatten(1))


def tiny():
    return Tiny()


def test_no_search_beats_the_exact_front(problem, tmp_path, no_plots):
    front = problem.pareto_front()
    front = front[np.argsort(-front[:, 0])]
    assert (np.diff(front[:, 0]) < 0).all() and (np.diff(front[:, 1]) > 0).all()
    assert len(nondominated(front)) == len(front)
    run = opt.minimize(problem, "nsga2", n_gen=8, pop_size=20, seed=1, out=tmp_path)
    F = run.front[["bound", "parameters"]].to_numpy()
    for f in F:
        best = front[front[:, 1] <= f[1] + 1e-12, 0].min()
        assert f[0] >= best - 1e-12
    assert run.manifest["igd_plus"] < 0.05


def test_published_heuristic_against_the_exact_optimum(problem, tmp_path, no_plots):
    options = {"budgets": "0.1:0.9:6"}
    published = opt.minimize(problem, "alds", n_gen=30, out=tmp_path, n_starts=5, **options)
    exact = opt.minimize(problem, "alds-exact", n_gen=30, out=tmp_path, **options)
    assert published.manifest["stop_reason"] == "the algorithm ended by itself"
    assert published.manifest["n_gen"] == 5 and exact.manifest["n_gen"] == 1 and exact.manifest["n_eval"] == 6
    for _, row in published.front.iterrows():
        at_all = problem.pareto_front()
        assert row["bound"] >= at_all[at_all[:, 1] <= row["parameters"] + 1e-12, 0].min() - 1e-12
    budgets = np.geomspace(0.1, 0.9, 6)
    for (_, row), budget in zip(exact.front.sort_values("parameters").iterrows(), budgets, strict=True):
        assert row["parameters"] <= budget


@pytest.mark.parametrize(
    ("text", "expected"), [("0.5,0.25", [0.5, 0.25]), ("0.1:0.4:3", [0.1, 0.2, 0.4]), ("1", [1.0])]
)
def test_budgets_are_read(text, expected):
    np.testing.assert_allclose(read_budgets(text), expected)


@pytest.mark.parametrize("text", ["", "0", "1.5", "a", "0.1:0.5", "0:1:3", "-1", "nan", "0.1:0.5:0"])
def test_budgets_out_of_range_are_refused(text):
    with pytest.raises(UsageError, match="budgets must be fractions"):
        read_budgets(text)


def test_budget_below_the_smallest_network_is_refused(problem, tmp_path):
    with pytest.raises(UsageError, match=r"--algo.budgets must be at least 0\.0\d+ of the parameters"):
        opt.minimize(problem, "alds", budgets="0.0001", out=tmp_path)
    with pytest.raises(UsageError, match="budget must be a fraction of the parameters from"):
        ALDS(n_search=200, budget=0.001)


def test_own_algorithms_are_for_this_problem_only(tmp_path):
    import sample_problems as samples

    with pytest.raises(UsageError, match="unknown algorithm 'alds'"):
        opt.minimize(samples.Steps(), "alds", out=tmp_path)


def test_budget_is_kept_by_every_candidate(tmp_path, no_plots):
    problem = ALDS(n_search=200, budget=0.3, rivals=False)
    operators, rng = problem.operators(), np.random.default_rng(0)
    wild = rng.integers(problem.xl, problem.xu + 1, size=(60, problem.n_var))
    wild.setflags(write=False)
    repaired = operators.repair(wild)
    _, G = problem.evaluate(repaired)
    assert (G <= 0).all() and (problem.evaluate(wild)[1] > 0).any()
    sizes = problem.table.sizes(repaired, "parameters")
    was_over = problem.evaluate(wild)[1][:, 0] > 0
    np.testing.assert_array_equal(repaired[~was_over], wild[~was_over])
    # most of the budget is used: what is left is less than a rank of the largest layer
    left = problem.budget - sizes[was_over]
    assert np.median(left) < problem.table.rank_size["parameters"].max() and (left >= 0).all()
    run = opt.minimize(problem, "nsga2", n_gen=3, pop_size=10, out=tmp_path)
    assert (run.front["n_parameters"] <= 0.3 * problem.table.total("parameters")).all()
    assert (problem.pareto_front()[:, 1] <= 0.3).all()


def test_accuracy_is_that_of_the_decoded_network():
    problem = ALDS(n_search=200, goal="both", measure="data", size="both", compensation="refit", rivals=False)
    assert [o.name for o in problem.objectives] == ["error", "bound", "parameters", "macs"]
    X = problem.operators().sampling(6, np.random.default_rng(0))
    F = problem.evaluate(X)
    search, test = problem.workload.search.split, problem.workload.test.split
    for x, f in zip(X, F, strict=True):
        model = problem.decode(x)
        assert f[0] == pytest.approx(1 - evaluate(model, search.images, search.labels)[1], abs=0.0051)
        assert problem.test(x)["accuracy"] == pytest.approx(evaluate(model, test.images, test.labels)[1], abs=0.003)
        assert f[2] == n_parameters(model) / problem.lowrank.whole.parameters
    assert problem.pareto_front() is None


def test_references_are_the_published_rivals(problem):
    known = {r.name: r for r in problem.references()}
    assert {UNCOMPRESSED, EXACT_FRONT, "uniform SVD", "PCA", "L-Rank", "SVD energy, spectral"} <= set(known)
    front = problem.pareto_front()
    for name, reference in known.items():
        if reference.F is None:
            continue
        for bound, size in reference.F:
            if name != "PCA":  # other factors than the table's
                assert bound >= front[front[:, 1] <= size + 1e-12, 0].min() - 1e-9, name
    accuracy = {r.name for r in ALDS(n_search=200, goal="accuracy", rival_budgets=2).references()}
    assert {"FT", "PFP", "magnitude", "least largest error"} <= accuracy


def test_whole_network_is_the_original(problem):
    x = problem.table.whole_row()
    F = problem.evaluate(x[None])
    assert F.tolist() == [[0.0, 1.0]]
    test = problem.workload.test.split
    assert problem.test(x)["accuracy"] == evaluate(problem.model, test.images, test.labels)[1]


@pytest.mark.parametrize("measure", ["spectral-sqrt", "residual", "frobenius", "nuclear"])
def test_every_measure_has_its_exact_front(measure):
    problem = ALDS(n_search=200, measure=measure, schemes="all", rivals=False)
    front = problem.pareto_front()
    X = problem.operators().sampling(40, np.random.default_rng(0))
    for bound, size in problem.evaluate(X):
        assert bound >= front[front[:, 1] <= size + 1e-12, 0].min() - 1e-12


def test_own_network_with_layers_on_sequences(tmp_path):
    problem = ALDS(network=f"{__name__}:tiny", n_search=200, epochs=1, layers="mix,head", rivals=False)
    assert problem.table.options[0] == [(0, 1)], "a layer on rows of features is not sliced"
    x = problem.ladder.allocate(problem.ladder.smallest)
    assert problem.decode(x)(problem.workload.test.inputs[:3]).shape == (3, 10)
    with pytest.raises(UsageError, match="layers pattern 'nose' fits no layer"):
        ALDS(network=f"{__name__}:tiny", n_search=200, epochs=1, layers="nose")


def test_bad_options_are_told():
    for options, message in (
        ({"measure": "data", "schemes": "all"}, "measure data knows the spatial scheme only"),
        ({"n_calibration": 1}, "n_calibration must be at least 2"),
        ({"n_test": 0}, "n_test must be at least 1"),
    ):
        with pytest.raises(UsageError, match=message):
            ALDS(**options)


# -- networks by name, training, pipeline ---------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [("lenet5", 81_194), ("resnet20", 272_474), ("vgg", 288_746)])
def test_networks_have_the_published_size(name, size):
    shape = (1, 28, 28) if name != "vgg" else (3, 32, 32)
    model = NETWORKS[name](shape, 10, mean=[0.5] * shape[0], std=[0.25] * shape[0], seed=1).eval()
    assert n_parameters(model) == size
    with torch.no_grad():
        assert model(torch.rand((2, *shape), generator=torch.Generator().manual_seed(0))).shape == (2, 10)


def test_all_networks_are_built_for_small_images():
    dataset = load_dataset("digits")
    for name in NETWORKS:
        assert build_network(name, dataset)(dataset.test.images[:2]).shape == (2, 10)
    with pytest.raises(UsageError, match="did you mean 'lenet5'"):
        build_network("lenet", dataset)


def test_training_is_wound_back_and_repeats():
    dataset = load_dataset("digits")
    schedule = Schedule(epochs=3, lr=0.1, batch_size=100, warm_up=1.0, decay="linear")
    assert schedule.lr_at(0.5) == pytest.approx(0.05) and schedule.lr_at(2.0) == pytest.approx(0.05)
    steps = Schedule(epochs=10, milestones=(4.0, 8.0))
    assert [steps.lr_at(e) for e in (0, 4, 9)] == pytest.approx([0.1, 0.01, 0.001])
    states = []
    for _ in range(2):
        model = build_network("lenet5", dataset, seed=1)
        numbers = []
        history = train_sgd(
            model, dataset.train, schedule, seed=3, start_epoch=1.5, augment=True, after_epoch=numbers.append
        )
        assert numbers == [2, 3] and len(history) == 2
        states.append(model.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    with pytest.raises(ValueError, match="start_epoch"):
        train_sgd(model, dataset.train, schedule, seed=0, start_epoch=3)


def test_spacings():
    assert keep_ratios("geometric", 0.8, 0.2, 3) == pytest.approx([0.8, 0.4, 0.2])
    assert keep_ratios("linear", 0.8, 0.2, 3) == pytest.approx([0.8, 0.5, 0.2])
    assert keep_ratios("harmonic", 0.8, 0.2, 3) == pytest.approx([0.8, 0.32, 0.2])
    assert keep_ratios("cubic", 1.0, 0.125, 3) == pytest.approx([1.0, 0.421875, 0.125])
    with pytest.raises(UsageError, match="must fall from first to last"):
        keep_ratios("linear", 0.2, 0.8, 3)


def test_largest_reductions_are_means_over_repetitions():
    rows = [
        {"keep_ratio": 0.5, "kept": 0.49, "accuracy": 0.90},
        {"keep_ratio": 0.5, "kept": 0.47, "accuracy": 0.91},
        {"keep_ratio": 0.2, "kept": 0.20, "accuracy": 0.88},
        {"keep_ratio": 0.2, "kept": 0.20, "accuracy": 0.90},
    ]
    found = largest_reductions(rows, base=0.91)
    assert found[0.0] is None and found[0.005] == pytest.approx(0.52) and found[0.02] == pytest.approx(0.8)


@pytest.mark.parametrize("mode", ["retrain", "cascade", "cascade-rewind"])
def test_pipeline_writes_networks_that_load_in_one_line(mode, tmp_path, capsys):
    arguments = ["--mode", mode, "--ratios", "0.5,0.2", "--method", "exact", "--out", str(tmp_path)]
    assert prune_retrain.main([*arguments, "--n-train", "400"]) == 0
    told = capsys.readouterr().out
    assert "largest reduction" in told and (tmp_path / "trade-off.png").stat().st_size > 10_000
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["keep_ratio"]) for r in rows] == [0.5, 0.2]
    test = load_dataset("digits").test
    for row in rows:
        model = load_reference(tmp_path / row["checkpoint"])
        assert n_parameters(model) == int(row["parameters"]) <= float(row["keep_ratio"]) * 81_194
        accuracy = evaluate(model, test.images, test.labels)[1]
        assert accuracy == pytest.approx(float(row["accuracy"]), abs=0.003)
        assert accuracy > float(row["accuracy_before"]) - 0.05


@pytest.mark.parametrize("mode", ["retrain", "cascade"])
def test_pipeline_goes_on_where_it_was_stopped(mode, tmp_path, capsys):
    arguments = ["--mode", mode, "--method", "exact,pca", "--n-train", "200", "--repetitions", "2"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert prune_retrain.main([*arguments, "--ratios", "0.5,0.2", "--out", str(whole)]) == 0
    assert prune_retrain.main([*arguments, "--ratios", "0.5", "--repetitions", "1", "--out", str(stopped)]) == 0
    capsys.readouterr()
    assert prune_retrain.main([*arguments, "--ratios", "0.5,0.2", "--out", str(stopped)]) == 0
    told = capsys.readouterr().out
    assert told.count("(made before)") == 2 and "exact: largest" in told and "pca: largest" in told
    for name in ("results.csv", *(p.name for p in whole.glob("*.safetensors"))):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
    # other settings are another network
    assert prune_retrain.main([*arguments, "--n-train", "150", "--ratios", "0.5", "--out", str(stopped)]) == 0
    assert "(made before)" not in capsys.readouterr().out
    # a damaged checkpoint is made again
    (whole / f"digits-lenet5-pca-{mode}-s0-keep0.5.safetensors").write_bytes(b"cut")
    assert prune_retrain.main([*arguments, "--ratios", "0.5,0.2", "--out", str(whole)]) == 0
    assert capsys.readouterr().out.count("(made before)") == 6


def test_cascade_after_other_sizes_is_another_network(tmp_path, capsys):
    arguments = ["--mode", "cascade", "--method", "exact", "--n-train", "200", "--out", str(tmp_path)]
    assert prune_retrain.main([*arguments, "--ratios", "0.8,0.5"]) == 0
    capsys.readouterr()
    assert prune_retrain.main([*arguments, "--ratios", "0.5,0.5"]) == 0
    told = capsys.readouterr().out
    assert "(made before)" not in told and told.count("kept 0.5") == 1
    # a file of another kind in its place is no reason to stop
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    assert prune_retrain.main([*arguments, "--ratios", "0.5", "--size", "macs", "--augment"]) == 0


def test_epochs_to_rewind_to_are_kept_for_any_start(tmp_path):
    arguments = ["--mode", "cascade-rewind", "--n-train", "100", "--ratios", "0.5", "--out", str(tmp_path)]
    assert prune_retrain.main([*arguments, "--start-epoch", "0"]) == 0
    (kept,) = (tmp_path / "epochs").iterdir()
    (kept / "epoch-4.safetensors").unlink()
    assert prune_retrain.main([*arguments, "--start-epoch", "4"]) == 0
    assert (kept / "epoch-4.safetensors").is_file()


def test_solution_of_a_run_loads_onto_the_original(problem, tmp_path, no_plots):
    run = opt.minimize(problem, "alds-exact", budgets="0.3", n_gen=2, out=tmp_path)
    (row,) = [r for _, r in run.front.iterrows()]
    model = load_decomposed(problem.model, run.path / "solutions" / f"{row['id']}.safetensors")
    test = problem.workload.test.split
    assert evaluate(model, test.images, test.labels)[1] == pytest.approx(row["test_accuracy"], abs=0.003)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--ratios", "2"), "--ratios must be shares"),
        (("--ratios", "nan"), "--ratios must be shares"),
        (("--ratios", ","), "--ratios must be shares"),
        (("--ratios", "0.001"), "keep more"),
        (("--start-epoch", "99"), "--start-epoch must lie between 0 and"),
        (("--start-epoch", "nan"), "--start-epoch must lie between 0 and"),
        (("--mode", "cascade-rewind", "--start-epoch", "4.5"), "whole number"),
        (("--seed", "-1"), "--seed must be at least 0"),
        (("--seed", "1" + "0" * 30), "--seed must be at most"),
        (("--seed", str(2**63 - 1), "--repetitions", "2"), "--seed must be at most"),
        (("--n-train", "0"), "--n-train must be at least 1"),
        (("--repetitions", "0"), "--repetitions must be at least 1"),
        (("--n-ratios", "1000000000"), "--n-ratios must be at most"),
        (("--first", "nan"), "--first must be above 0 and at most 1"),
        (("--last", "0"), "--last must be above 0 and at most 1"),
        (("--method", "alds,pce"), "got 'pce'; did you mean 'pca'"),
        (("--network", "lenet6"), "resnet20, vgg, got 'lenet6'; did you mean 'lenet5'"),
        (("--sede", "1"), "unknown option '--sede'; did you mean '--seed'"),
        (("--seed", "9" * 5000), "argument --seed: invalid int value"),
    ],
)
def test_bad_arguments_of_the_pipeline_are_told(arguments, part, tmp_path):
    with pytest.raises(UsageError) as caught:
        prune_retrain.main([*arguments, "--out", str(tmp_path)])
    assert part in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_trained_network_comes_from_the_cache_unless_asked_differently(tmp_path):
    dataset = load_dataset("digits")
    short = Schedule(epochs=1, batch_size=200, decay="linear")
    first = trained_network(dataset, "lenet5", schedule=short, cache_dir=tmp_path, progress=False)
    again = trained_network(dataset, "lenet5", schedule=short, cache_dir=tmp_path, progress=False)
    other = trained_network(dataset, "lenet5", seed=1, schedule=short, cache_dir=tmp_path, progress=False)
    assert not first[1]["from_cache"] and again[1]["from_cache"] and not other[1]["from_cache"]
    state = again[0].state_dict()
    assert all(torch.equal(v, state[k]) for k, v in first[0].state_dict().items())


def test_retraining_is_part_of_what_is_judged(problem, tmp_path, no_plots):
    options = {"n_search": 200, "n_test": 200, "goal": "accuracy", "rival_budgets": 2}
    retrained = ALDS(retrain=4, n_retrain=300, **options)
    x = retrained.ladder.allocate(0.15 * retrained.ladder.largest)
    plain = ALDS(rivals=False, **options)
    before, after = plain.evaluate(x[None])[0, 0], retrained.evaluate(x[None])[0, 0]
    assert after < before - 0.05
    # the same network again, without what is remembered
    retrained._recent.clear()
    assert retrained.evaluate(x[None])[0, 0] == after
    run = opt.minimize(retrained, "alds-exact", budgets="0.15", out=tmp_path, keep=1)
    row = run.front.iloc[0]
    loaded = load_decomposed(retrained.model, run.path / "solutions" / f"{row['id']}.safetensors")
    test = retrained.workload.test.split.subset(slice(0, 200))
    assert evaluate(loaded, test.images, test.labels)[1] == pytest.approx(row["test_accuracy"])
    # rivals are retrained alike: of each the smallest network gains
    rivals = {r.name: r.test[0]["loss"] for r in retrained.references() if r.test}
    untrained = {r.name: r.test[0]["loss"] for r in ALDS(**options).references() if r.test}
    assert rivals.keys() == untrained.keys() >= {"PCA", "L-Rank", "FT", "PFP", "magnitude"}
    assert all(rivals[name] < untrained[name] for name in rivals)


def test_retraining_that_cannot_be_is_refused():
    with pytest.raises(UsageError, match="retrain is for the goals accuracy, loss and both"):
        ALDS(retrain=1)
    with pytest.raises(UsageError, match="retrain must lie between 0 and the schedule's 16 epochs, got 17"):
        ALDS(retrain=17, goal="accuracy")


def test_exact_sum_of_errors_is_an_algorithm_too(problem, tmp_path, no_plots):
    by_sum = opt.minimize(problem, "alds-exact", budgets="0.3", aggregate="sum", out=tmp_path)
    largest = opt.minimize(problem, "alds-exact", budgets="0.3", out=tmp_path)
    assert by_sum.front.loc[0, "bound"] > largest.front.loc[0, "bound"]
    with pytest.raises(UsageError, match="aggregate must be max or sum, got 'mean'"):
        opt.minimize(problem, "alds-exact", aggregate="mean", out=tmp_path)


def test_only_the_best_start_is_evaluated_where_networks_are(tmp_path, no_plots):
    told = ALDS(n_search=200, rivals=False)
    measured = ALDS(n_search=200, rivals=False, goal="accuracy")
    options = {"budgets": "0.3,0.15", "n_starts": 6, "seed": 4, "out": tmp_path}
    run = opt.minimize(measured, "alds", n_gen=30, **options)
    assert run.manifest["n_gen"] == 1 and run.manifest["n_eval"] == 2
    best = opt.minimize(told, "alds", n_gen=30, **options).front.set_index("parameters")["bound"]
    for _, row in run.front.iterrows():
        assert row["bound"] == pytest.approx(best[best.index <= (0.3 if row["parameters"] > 0.15 else 0.15)].min())


@pytest.mark.parametrize(("method", "curve"), [("pca", "PCA"), ("l-rank", "L-Rank"), ("uniform", "uniform SVD")])
def test_rivals_are_algorithms_too(method, curve, tmp_path, no_plots):
    problem = ALDS(n_search=200, goal="accuracy", measure="data", rival_budgets=2)
    reference = {r.name: r for r in problem.references()}[curve]
    budgets = ",".join(f"{f + 1e-6:.9f}" for f in reference.F[:, 1])
    run = opt.minimize(problem, "alds-rival", method=method, budgets=budgets, out=tmp_path)
    assert run.manifest["n_eval"] == 2
    found = run.front.sort_values("parameters")[["error", "parameters"]].to_numpy()
    assert found[:, 1] == pytest.approx(np.sort(reference.F[:, 1]))
    if method == "pca":
        np.testing.assert_allclose(found, reference.F[np.argsort(reference.F[:, 1])])


def test_unknown_rival_is_refused(problem, tmp_path):
    with pytest.raises(UsageError, match=r"method must be one of uniform, .*, got 'pcb'"):
        opt.minimize(problem, "alds-rival", method="pcb", out=tmp_path)


def test_colour_images_of_cifar_files_are_compressed_too(tmp_path, no_plots):
    rng, folder = np.random.default_rng(0), tmp_path / "data" / CIFAR_FOLDER
    folder.mkdir(parents=True)
    for name in (*TRAIN_FILES, *TEST_FILES):
        labels = rng.integers(0, 10, (12, 1), dtype=np.uint8)
        # a class has a brightness of its own
        pixels = np.clip(25 * labels + rng.integers(0, 20, (12, 3072)), 0, 255).astype(np.uint8)
        (folder / name).write_bytes(np.hstack([labels, pixels]).tobytes())
    options = {"data": "cifar10", "data_dir": str(tmp_path / "data"), "network": "vgg-small", "n_search": 12}
    problem = ALDS(goal="accuracy", measure="data", compensation="refit", n_calibration=40, rivals=False, **options)
    assert problem.lowrank.layers[0].n_in == 3
    run = opt.minimize(problem, "alds-exact", budgets="0.5,0.2", aggregate="sum", out=tmp_path)
    assert run.manifest["n_eval"] == 2 and (run.front["parameters"] <= 0.5).all()
    row = run.front.iloc[0]
    loaded = load_decomposed(problem.model, run.path / "solutions" / f"{row['id']}.safetensors")
    images = problem.workload.test.inputs
    with torch.no_grad():
        assert loaded(images).shape == (12, 10)


class Odd(nn.Module):
    """Whatever a test wants between a convolution and a head."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6 * 64, 10)
        if kind == "tied":
            self.third = nn.Conv2d(6, 6, 3, padding=1)
            self.third.weight = self.second.weight
        if kind == "normed":
            torch.nn.utils.parametrizations.weight_norm(self.second)

    def forward(self, x):
        x = self.second(torch.relu(self.first(x)))
        if self.kind == "twice":
            x = self.second(torch.relu(x))
        if self.kind == "tied":
            x = self.third(torch.relu(x))
        return self.head(x.flatten(1))


@pytest.mark.parametrize(
    ("kind", "reason"), [("tied", "its weight is shared"), ("normed", "its weight is computed"), ("twice", "")]
)
def test_layers_that_cannot_be_replaced_are_left_out(kind, reason):
    images = torch.rand((4, 1, 8, 8))
    network = DecomposableNetwork(Odd(kind), images)
    assert network.compressible.left_out.get("second", "") == reason
    assert ("second" in network.by_name) == (not reason)
    if kind == "twice":
        assert network.whole.macs == 64 * (54 + 2 * 324) + 3840
        assert (
            network.by_name["second"].macs == 2 * 64 * 324 and network.by_name["second"].rank_macs(0, 1) == 2 * 64 * 60
        )
        made = network.compress({"second": Choice(0, 1, 2)}, on_data=True, compensation="refit")
        torch.testing.assert_close(made.materialise()(images), made.dense(images))


def test_the_smallest_budget_is_one_that_can_be_searched(tmp_path, no_plots):
    with pytest.raises(UsageError) as caught:
        ALDS(n_search=200, budget=0.001)
    least = re.search(r"from (0\.\d+)", str(caught.value)).group(1)
    problem = ALDS(n_search=200, budget=float(least), rivals=False)
    assert opt.minimize(problem, "nsga2", n_gen=2, pop_size=10, out=tmp_path).manifest["n_eval"] > 0
    # without budgets of its own the algorithm takes the problem's
    run = opt.minimize(ALDS(n_search=200, budget=0.3, rivals=False), "alds-exact", out=tmp_path)
    assert run.manifest["n_eval"] == 1 and 0.25 < run.front.loc[0, "parameters"] <= 0.3


def test_searches_of_few_layers_and_of_multiply_adds_begin(tmp_path, no_plots):
    few = ALDS(n_search=100, n_test=100, goal="accuracy", layers="conv*", rivals=False)
    assert opt.minimize(few, "nsga2", n_gen=2, pop_size=4, out=tmp_path).manifest["n_eval"] >= 4
    macs = ALDS(n_search=100, size="macs", rivals=False)
    for name in ("alds", "alds-exact"):
        assert opt.minimize(macs, name, out=tmp_path).manifest["n_eval"] >= 19


def test_references_of_a_small_budget_stay_within_it():
    problem = ALDS(n_search=100, n_test=100, goal="accuracy", budget=0.045, rival_budgets=3)
    for reference in problem.references():
        F = reference.F if reference.X is None else problem.evaluate(reference.X)[0]
        assert len(F) and (F[:, 1] <= 0.045).all(), reference.name


def test_the_uncompressed_network_is_not_compensated():
    problem = ALDS(
        n_search=200, goal="accuracy", compensation="refit", network="vgg-small", n_calibration=30, rivals=False
    )
    whole = problem.compressed(problem.table.whole_row()).dense
    for name, tensor in problem.model.state_dict().items():
        torch.testing.assert_close(whole.state_dict()[name], tensor, rtol=0, atol=0)


def test_errors_of_a_rival_are_measured_as_the_problem_measures():
    problem = ALDS(n_search=100, measure="data", rival_budgets=3)
    pca = next(r for r in problem.references() if r.name == "PCA")
    for f, row in zip(pca.F, pca.parameters, strict=True):
        best = problem.ladder.front()
        least = best[0][best[1] <= row["n_parameters"]].min()
        assert least - 1e-6 <= f[0] < 1
    # of its own factors the table's
    choices = decomposition_allocators(problem.lowrank)["PCA"](0.4 * problem.ladder.largest)
    made = decomposed_rival(problem.lowrank, choices, on_data=True)
    x = problem.table.row(choices)
    assert problem._bound(made) == pytest.approx(float(problem.table.errors(x[None]).max()), rel=1e-3)


class OneChannel(nn.Module):
    """A last convolution to a single map."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(1, 8, 3, padding=1)
        self.one = nn.Conv2d(8, 1, 3, padding=1)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.one(torch.relu(self.wide(x))).flatten(1))


def test_heuristic_leaves_layers_whole_that_only_other_schemes_make_smaller(tmp_path, no_plots):
    problem = ALDS(network=f"{__name__}:OneChannel", epochs=1, schemes="all", measure="frobenius", rivals=False)
    run = opt.minimize(problem, "alds", budgets="0.9", n_starts=3, out=tmp_path)
    assert (run.front["parameters"] <= 0.9).all()


def test_named_fully_connected_networks_are_decomposed():
    problem = ALDS(network="mlp-16-16", epochs=1, rivals=False)
    assert problem.table.n_layers == 3 and problem.verify(np.random.default_rng(0))

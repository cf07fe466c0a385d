"""Every problem: what a search, a saved run and pymoo itself rely on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sample_problems as samples
import torch
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.optimize import minimize as pymoo_minimize
from pymoo.problems import get_problem
from safetensors.numpy import load, save

import opt
from opt.algorithms import build_algorithm, find_algorithm
from opt.algorithms.interface.checked_operators import operators_of
from opt.problem.adapt import as_compression_problem
from opt.problem.loading import load_problem_class
from opt.search.evaluation import evaluate_batch

PROBLEM_FILES = sorted(p for p in (Path(__file__).parents[2] / "problems").glob("*.py") if not p.name.startswith("_"))

# Parameters that make a problem small; what is not named here is built with its defaults.
SMALLER: dict[str, dict[str, Any]] = {
    "ecomp": {"network": "mlp-16-16", "epochs": 2, "n_search": 200, "similarity_points": 60, "perplexity": 10.0},
    "threshold": {"epochs": 4},
    "masks": {"width": 0.1, "final_epochs": 2, "n_images": 150},
    "cgp": {"epochs": 2},
    "cgp_layers": {"epochs": 2, "generations": 300, "rows": 8, "cols": 8, "thresholds": "0,5,20"},
    "alds": {"n_search": 200, "rival_budgets": 2},
}

# Other settings of a problem file, where they take other ways through it.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ecomp-published": (
        "ecomp",
        {"refit": False, "crossover": "block", "mutation": "noise", "initial": "l1", "size": "width", "batch_size": 60},
    ),
    "alds-accuracy": (
        "alds",
        {"goal": "both", "measure": "data", "size": "both", "compensation": "refit", "n_calibration": 64},
    ),
    "alds-loss": ("alds", {"goal": "loss", "compensation": "batch-norm"}),
    "alds-budget": ("alds", {"budget": 0.3, "schemes": "all", "measure": "frobenius", "size": "macs"}),
    "threshold-layers": ("threshold", {"layers": "*", "score": "std", "size": "both"}),
    "threshold-channels": ("threshold", {"layers": "conv*", "scope": "channel", "score": "rms", "size": "macs"}),
    "masks-free": ("masks", {"sparsity": None, "size": "macs", "start": "magsign", "references": "magsign,snip"}),
    "masks-filters": (
        "masks",
        {
            "network": "strided-cnn",
            "level": "filters",
            "sparsity": 0.5,
            "loss": "error",
            "references": "magnitude,synflow",
        },
    ),
    "masks-layers": (
        "masks",
        {"network": "lenet-5-same", "references": "snip", "per_layer": True, "resample": 2, "momentum": 0.5},
    ),
    "cgp-bypass": (
        "cgp",
        {
            "task": "layer_bypass",
            "objectives": "error,energy,delay,gates",
            "error": "mae",
            "mutation": "active",
            "crossover": "uniform",
            "rows": 8,
            "cols": 6,
        },
    ),
    "cgp-several": (
        "cgp",
        {
            "task": "all_layers",
            "rows": 10,
            "cols": 10,
            "crossover": "one_point",
            "collapse": False,
            "functions": "add,sub,mux",
        },
    ),
    "cgp-no-input": ("cgp", {"task": "no_input", "rows": 20, "cols": 6, "costs": "published", "error": "mse"}),
    "threshold-published": ("threshold", {"scale": "threshold", "initial": "log", "crossover": "mean"}),
}

# Published as they are: a first population by rule, and a mutation that hits one network in a hundred or a
# crossover that draws nothing.
STEADY = ("ecomp-published", "threshold-published")

SAMPLES: dict[str, Callable[[], Any]] = {
    "real-1": samples.Bowl,
    "real-2": samples.Slope,
    "integer": samples.Steps,
    "binary": samples.Switches,
    "permutation": samples.Tour,
    "object": samples.Words,
    "constrained": samples.Fenced,
    "drifting": samples.Drifting,
    "plain-real": lambda: get_problem("zdt1", n_var=3),
    "plain-constrained": lambda: get_problem("bnh"),
    "plain-binary": lambda: get_problem("zdt5", m=3),
    "plain-mixed": samples.Parts,
}

N = 12


def build(name: str) -> opt.CompressionProblem:
    if name in SAMPLES:
        problem = SAMPLES[name]()
    else:
        stem, more = VARIANTS.get(name, (name, {}))
        (file,) = (f for f in PROBLEM_FILES if f.stem == stem)
        problem = load_problem_class(str(file))(**SMALLER.get(stem, {}), **more)
    return as_compression_problem(problem)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=[*SAMPLES, *VARIANTS, *(f.stem for f in PROBLEM_FILES)])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def problem(name, cache):
    built = build(name)
    built.begin_run(np.random.default_rng(0))
    built.begin_generation(1)
    return built


@pytest.fixture
def X(problem):
    return operators_of(problem).sampling(N, np.random.default_rng(1))


def prints(problem, X):
    return [problem.fingerprint(x) for x in X]


def check_candidates(problem, X, n):
    assert isinstance(X, np.ndarray) and X.shape == (n, problem.n_var)
    kind = problem.representation
    dtypes = {"real": np.float64, "integer": np.int64, "permutation": np.int64, "binary": np.bool_}
    assert X.dtype == dtypes.get(kind, object)
    if kind in ("real", "integer"):
        assert (problem.xl <= X).all() and (problem.xu >= X).all()
    if kind == "permutation":
        assert (np.sort(X, axis=1) == np.arange(problem.n_var)).all()


def frozen(X):
    """X, read-only, as operators and evaluate must be able to take it."""
    X = X.copy()
    X.flags.writeable = False
    return X


@torch.no_grad()
def plain_metrics(network, split):
    """Accuracies and mean cross-entropy of a network, by plain torch."""
    images = split.flat if isinstance(next(network.children()), torch.nn.Linear) else split.images
    logits = network(images)
    top = logits.topk(5, dim=1).indices == split.labels[:, None]
    return {
        "accuracy": float((logits.argmax(dim=1) == split.labels).double().mean()),
        "top5": float(top.any(dim=1).double().mean()),
        "loss": float(torch.nn.functional.cross_entropy(logits, split.labels)),
    }


def test_problem_files_are_found():
    assert PROBLEM_FILES


def test_shape_of_the_problem_is_stated(problem):
    assert problem.n_obj == len(problem.objectives) >= 1
    assert len({o.name for o in problem.objectives}) == problem.n_obj
    for objective in problem.objectives:
        assert objective.name.isidentifier(), "a column name"
        assert objective.weight >= 0 and objective.label.startswith(objective.name)
    assert problem.name()


def test_sampling_gives_valid_seeded_candidates(name, problem):
    sampling = operators_of(problem).sampling
    first, again, other = (sampling(N, np.random.default_rng(seed)) for seed in (1, 1, 2))
    check_candidates(problem, first, N)
    assert prints(problem, first) == prints(problem, again)
    assert name in STEADY or prints(problem, first) != prints(problem, other)
    check_candidates(problem, sampling(1, np.random.default_rng(0)), 1)


def test_crossover_gives_valid_seeded_candidates_and_leaves_parents_alone(name, problem, X):
    operators = operators_of(problem)
    if operators.crossover is None:
        pytest.skip("has no crossover")
    before = prints(problem, X)
    A, B = frozen(X[: N // 2]), frozen(X[N // 2 :])
    first, again, other = (operators.crossover(A, B, np.random.default_rng(seed)) for seed in (1, 1, 2))
    repair = operators.repair or (lambda Y: Y)
    for C in first:
        check_candidates(problem, repair(C), N // 2)
    assert [prints(problem, C) for C in first] == [prints(problem, C) for C in again]
    assert name in STEADY or [prints(problem, C) for C in first] != [prints(problem, C) for C in other]
    assert prints(problem, A) + prints(problem, B) == before
    check_candidates(problem, repair(operators.crossover(A[:1], B[:1], np.random.default_rng(0))[0]), 1)


def test_mutation_gives_valid_seeded_other_candidates_and_leaves_parents_alone(name, problem, X):
    operators = operators_of(problem)
    if operators.mutation is None:
        pytest.skip("has no mutation")
    before = prints(problem, X)
    kept = frozen(X)
    first, again, other = (operators.mutation(kept, np.random.default_rng(seed)) for seed in (1, 1, 2))
    repair = operators.repair or (lambda Y: Y)
    check_candidates(problem, repair(first), N)
    assert prints(problem, first) == prints(problem, again)
    assert name in STEADY or prints(problem, first) != prints(problem, other)
    assert prints(problem, X) == prints(problem, kept) == before
    moved = sum(a != b for a, b in zip(before, prints(problem, first), strict=True))
    assert name in STEADY or moved > N // 2, "a mutation that mostly changes nothing makes no search"
    check_candidates(problem, repair(operators.mutation(kept[:1], np.random.default_rng(0))), 1)


def test_moves_give_valid_seeded_candidates_and_leave_their_input_alone(name, problem, X):
    operators = operators_of(problem)
    if not operators.moves:
        pytest.skip("has no moves beside its mutation")
    before = prints(problem, X)
    kept = frozen(X)
    repair = operators.repair or (lambda Y: Y)
    for move in operators.moves.values():
        for step in (1e-6, 0.5, 1.0):
            sizes = [np.full(N, step)] if move.has_step else []
            first, again = (move.apply(kept, *sizes, np.random.default_rng(1)) for _ in range(2))
            check_candidates(problem, repair(first), N)
            assert prints(problem, first) == prints(problem, again)
            check_candidates(
                problem, repair(move.apply(kept[:1], *(s[:1] for s in sizes), np.random.default_rng(0))), 1
            )
    assert prints(problem, X) == prints(problem, kept) == before


def test_distance_is_symmetric_and_zero_for_the_same_candidate(problem, X):
    Y = operators_of(problem).sampling(N, np.random.default_rng(2))
    there, back = problem.distance(frozen(X), frozen(Y)), problem.distance(Y, X)
    assert there.shape == (N,) and there.dtype == np.float64
    np.testing.assert_array_equal(there, back)
    known = ~np.isnan(there)
    assert known.all() or not known.any()
    assert (there[known] >= 0).all() and (problem.distance(X, X.copy())[known] == 0).all()
    assert problem.distance(X[:1], Y[:1]).shape == (1,)


def test_repair_accepts_what_it_gives(problem, X):
    repair = operators_of(problem).repair
    if repair is None:
        pytest.skip("has no repair")
    once = repair(frozen(X))
    check_candidates(problem, once, N)
    assert prints(problem, repair(frozen(once))) == prints(problem, once)


def test_evaluate_is_finite_and_leaves_its_input_alone(problem, X):
    before = prints(problem, X)
    values = problem.evaluate(frozen(X))
    F, G = values if isinstance(values, tuple) else (values, None)
    assert F.shape == (N, problem.n_obj) and F.dtype == np.float64
    assert np.isfinite(F).all()
    assert (G is None) == (problem.n_ieq_constr == 0)
    if G is not None:
        assert G.shape == (N, problem.n_ieq_constr) and np.isfinite(G).all()
    assert prints(problem, X) == before


def test_batch_equals_row_by_row_in_any_order(problem, X):
    F, G, reasons = evaluate_batch(problem, X)
    assert not reasons
    order = np.random.default_rng(5).permutation(N)
    shuffled, _, _ = evaluate_batch(problem, X[order])
    np.testing.assert_allclose(shuffled, F[order], rtol=1e-5, atol=1e-7)
    for i in range(N):
        f, g, _ = evaluate_batch(problem, X[i : i + 1])
        np.testing.assert_allclose(f[0], F[i], rtol=1e-5, atol=1e-7)
        if G is not None:
            np.testing.assert_allclose(g[0], G[i], rtol=1e-5, atol=1e-7)


def test_evaluation_in_a_process_of_its_own_gives_the_same_values(problem, X):
    F, G, reasons = evaluate_batch(problem, X)
    apart = evaluate_batch(problem, X, seconds=60)
    assert apart[0].tobytes() == F.tobytes() and apart[2] == reasons
    assert (apart[1] is None) == (G is None) and (G is None or apart[1].tobytes() == G.tobytes())


def test_same_batch_gives_the_same_bits(problem, X):
    first, again = (evaluate_batch(problem, X)[0] for _ in range(2))
    assert first.tobytes() == again.tobytes()


def test_fingerprint_tells_candidates_apart(problem, X):
    again = operators_of(problem).sampling(N, np.random.default_rng(1))
    assert prints(problem, X) == prints(problem, again)
    assert all(isinstance(p, bytes) for p in prints(problem, X))
    many = operators_of(problem).sampling(60, np.random.default_rng(3))
    F = evaluate_batch(problem, many)[0]
    by_print: dict[bytes, np.ndarray] = {}
    for key, f in zip(prints(problem, many), F, strict=True):
        np.testing.assert_allclose(by_print.setdefault(key, f), f, rtol=1e-5, atol=1e-7)
    assert len(by_print) >= len(np.unique(F.round(6), axis=0)) > 1


def test_description_is_readable_and_of_one_form(problem, X):
    rows = [problem.describe(x) for x in X]
    assert all(set(row) == set(rows[0]) for row in rows)
    for row in rows:
        for key, value in row.items():
            assert isinstance(key, str) and not key.startswith("test_") and key != "id"
            assert value is None or isinstance(value, (bool, int, float, str))
    json.dumps(rows)


def test_decoded_solution_and_its_tensors_agree(problem, X):
    for x in X[:3]:
        decoded = problem.decode(x)
        tensors = problem.tensors(x)
        assert all(isinstance(k, str) and isinstance(v, np.ndarray) for k, v in tensors.items())
        loaded = load(save({k: np.ascontiguousarray(v) for k, v in tensors.items()}))
        assert all((loaded[k] == tensors[k]).all() for k in tensors)
        if hasattr(decoded, "state_dict"):
            assert not decoded.training
            state = {k: v.numpy() for k, v in decoded.state_dict().items()}
            assert set(state) <= set(tensors)  # beside them may stand masks and the like
            for key, value in state.items():
                np.testing.assert_array_equal(value, tensors[key])


def test_held_out_metrics_are_the_same_one_by_one(problem, X):
    together = problem.test_batch(X[:4])
    assert len(together) == 4
    for x, metrics in zip(X[:4], together, strict=True):
        single = problem.test(x)
        assert set(single) == set(metrics)
        for key, value in metrics.items():
            assert not key.startswith("test_") and np.isfinite(value)
            assert single[key] == pytest.approx(value, rel=1e-5)


def test_held_out_metrics_are_those_of_the_decoded_network_on_the_test_images(problem, X):
    dataset = getattr(getattr(problem, "workload", problem), "dataset", None)
    if dataset is None:
        pytest.skip("has no images")
    on_test, on_search = [], []
    for x, told in zip(X[:5], problem.test_batch(X[:5]), strict=True):
        network = problem.decode(x)
        on_test.append(plain_metrics(network, dataset.test))
        on_search.append(plain_metrics(network, dataset.search)["accuracy"])
        assert {"accuracy"} <= set(told) <= set(on_test[-1])
        # fast ways sum in another order, so that a near tie may turn
        for key, value in told.items():
            tolerance = {"rel": 1e-3} if key == "loss" else {"abs": 1.01 / len(dataset.test)}
            assert value == pytest.approx(on_test[-1][key], **tolerance), key
    differences = np.abs(np.array(on_search) - [metrics["accuracy"] for metrics in on_test])
    assert differences.max() > 2 / len(dataset.test), "otherwise nobody sees which of the two is measured"


def test_references_are_solutions_of_the_problem(problem):
    for reference in problem.references():
        assert reference.name
        n = len(reference.X if reference.X is not None else reference.F)
        if reference.X is not None:
            check_candidates(problem, reference.X, n)
            assert np.isfinite(evaluate_batch(problem, reference.X)[0]).all()
        else:
            assert np.asarray(reference.F).shape == (n, problem.n_obj) and np.isfinite(reference.F).all()
        for rows in (reference.test, reference.parameters):
            assert rows is None or len(rows) == n


def test_references_leave_evaluation_as_it_was(problem, X):
    before = evaluate_batch(problem, X)[0]
    problem.references()
    problem.test_batch(X[:2])
    problem.decode(X[0])
    assert evaluate_batch(problem, X)[0].tobytes() == before.tobytes()


def test_pymoo_itself_can_minimise_it(problem):
    algo = "nsga2" if problem.n_obj > 1 else "ga"
    algorithm = build_algorithm(find_algorithm(algo), problem, {"pop_size": 6})
    result = pymoo_minimize(problem, algorithm, ("n_gen", 3), seed=1)
    assert result.algorithm.evaluator.n_eval == 18
    if problem.representation == "real" and problem.n_obj > 1:
        result = pymoo_minimize(problem, NSGA2(pop_size=6), ("n_gen", 3), seed=1)
        assert result.algorithm.evaluator.n_eval == 18


def test_search_repeats_resumes_and_saves(name, tmp_path, no_plots):
    def search(**more):
        fresh = build(name)
        if more:
            return opt.minimize(fresh, **more)
        algo = "nsga2" if fresh.n_obj > 1 else "ga"
        return opt.minimize(fresh, algo, n_gen=3, pop_size=6, seed=2, out=tmp_path)

    whole, again = search(), search()
    journal = (whole.path / "journal.jsonl").read_bytes()
    assert (again.path / "journal.jsonl").read_bytes() == journal
    assert (again.path / "front.csv").read_bytes() == (whole.path / "front.csv").read_bytes()

    cut = tmp_path / "cut"
    shutil.copytree(whole.path, cut)
    (cut / "journal.jsonl").write_bytes(b"".join(journal.splitlines(keepends=True)[:3]))
    (cut / "manifest.json").write_text(json.dumps(whole.manifest | {"status": "interrupted"}))
    resumed = search(resume=cut)
    assert (resumed.path / "journal.jsonl").read_bytes() == journal
    assert (resumed.path / "front.csv").read_bytes() == (whole.path / "front.csv").read_bytes()

    front = whole.front
    names = [o.name for o in whole.objectives]
    assert front.columns.tolist()[: len(names) + 1] == ["id", *names]
    assert len(front) and np.isfinite(front[names].to_numpy()).all()

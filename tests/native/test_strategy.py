"""The search: it improves, it is what it says in law, it goes on from its state, it stops when told."""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest

from native.cgp import (
    MUTATIONS,
    CostTable,
    DataSet,
    FunctionSet,
    Grid,
    Strategy,
    active,
    evaluate,
    evolve,
    mutate,
    outputs,
    random_genomes,
)
from native.search.strategy import StrategySettings

INT8 = FunctionSet.int8()


def task(seed=0, n_in=9, n_out=16, n_samples=1):
    rng = np.random.default_rng(seed)
    return DataSet(rng.integers(-128, 128, (n_samples, n_in)), rng.integers(-128, 128, (n_samples, n_out)))


def regression(dtype="float32", n_samples=600):
    x = np.linspace(-1, 1, n_samples)[:, None]
    return DataSet(x, x**2 + x), FunctionSet.float("add", "sub", "mul", dtype=dtype)


def assert_score_is_true(strategy, data):
    best = strategy.best
    scores = evaluate(best.genes, best.grid, best.functions, data, strategy.problem.costs, strategy.problem.error)
    for name, value in best.score.items():
        assert value == scores[name][0], name
    assert strategy.counts.n_active == best.n_active


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize(
    "settings",
    [{}, {"n_offspring": 1}, {"is_drifting": False}, {"threshold": None}, {"n_parents": 3, "n_offspring": 6}],
    ids=str,
)
def test_scores_stay_true_and_never_get_worse(mutation, settings):
    data = [task(1), task(2)]
    grid, functions = Grid(9, 16, 8, 8, levels_back=4), FunctionSet.int8(multiplexer=True)
    strategy = Strategy(grid, functions, data, seed=3, mutation=mutation, rate=0.03, **settings)
    last = np.inf
    for _ in range(15):
        strategy.advance(60)
        assert_score_is_true(strategy, data)
        if last > 0:
            assert strategy.best.score["error"] <= last
        last = strategy.best.score["error"]
    assert last < 350_000
    assert strategy.counts.n_candidates == 15 * 60 * settings.get("n_offspring", 4)


@pytest.mark.parametrize("n_samples", [1, 3, 64, 65, 300])
def test_values_kept_and_values_recomputed_agree(n_samples):
    """Up to 64 samples values of all gates are kept and ripple downstream; beyond, blocks are computed anew."""
    data = task(4, 3, 2, n_samples)
    strategy = Strategy(Grid(3, 2, 4, 6), INT8, data, seed=1, rate=0.1, threshold=1e5)
    for _ in range(10):
        strategy.advance(40)
        assert_score_is_true(strategy, data)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("error", ["se", "mse", "ae", "mae"])
def test_symbolic_regression_finds_a_polynomial(dtype, error):
    data, functions = regression(dtype)
    grid = Grid(1, 1, 1, 40)
    best = evolve(
        grid, functions, data, seed=2, n_gen=6000, rate=0.05, error=error, threshold=1e-4, targets={"error": 1e-4}
    )
    assert best.score["error"] <= 1e-4
    np.testing.assert_allclose(best(data.inputs), data.outputs, atol=0.02)


def test_a_random_int8_task_reaches_error_zero():
    best = evolve(Grid(9, 16, 10, 10), INT8, task(0), seed=0, n_gen=100_000, rate=0.01, targets={"error": 0})
    assert best.score["error"] == 0
    np.testing.assert_array_equal(best(task(0).inputs), task(0).outputs)


@pytest.mark.parametrize("mutation", ["uniform", "point", "probabilistic", "single", "only-active"])
def test_late_redraws_of_inactive_genes_have_the_law_of_early_ones(mutation):
    """One child, always accepted, against `mutate`, which redraws at once: per gene, and on what becomes active."""
    grid, n = Grid(2, 1, 2, 4), 2500
    functions = FunctionSet.named("add", "inc", "zero")
    data = DataSet([[1, 2]], [[0]], weights=[0])
    parent = random_genomes(grid, functions, 40, np.random.default_rng(11))[7]
    rate = 0.25
    at_once = mutate(
        np.repeat(parent[None], n, axis=0), grid, functions, np.random.default_rng(1), mutation=mutation, rate=rate
    )
    late = np.empty_like(at_once)
    seeds = np.random.SeedSequence(2).spawn(n)
    for i, seed in enumerate(seeds):
        strategy = Strategy(
            grid, functions, data, seed=seed, n_offspring=1, mutation=mutation, rate=rate, threshold=None, start=parent
        )
        strategy.advance(1)
        late[i] = strategy.best.genes
    width = 4.5 * np.sqrt(0.5 / n)  # of a difference of two frequencies
    np.testing.assert_allclose((late != parent).mean(axis=0), (at_once != parent).mean(axis=0), atol=width)
    for value in range(3):
        np.testing.assert_allclose((late == value).mean(axis=0), (at_once == value).mean(axis=0), atol=width)
    was_active = active(parent, grid, functions)

    def woken_and_changed(children):
        counts = np.zeros(grid.n_gates)
        for child in children:
            woken = active(child, grid, functions) & ~was_active
            counts += woken & (child[:-1] != parent[:-1]).reshape(-1, 3).any(axis=1)
        return counts / len(children)

    np.testing.assert_allclose(woken_and_changed(late), woken_and_changed(at_once), atol=width)
    n_changed = [np.bincount((x != parent).sum(axis=1), minlength=30)[:30] / n for x in (late, at_once)]
    np.testing.assert_allclose(*n_changed, atol=width)


def test_energy_decides_once_the_error_is_at_the_threshold():
    data = task(6)
    start = evolve(
        Grid(9, 16, 8, 8), INT8, data, seed=1, n_gen=200_000, rate=0.02, threshold=None, targets={"error": 0}
    )
    assert start.score["error"] == 0
    strategy = Strategy(start.grid, INT8, data, seed=2, rate=0.02, start=start.genes)
    last = start.score["energy_pj"]
    for _ in range(20):
        strategy.advance(500)
        score = strategy.best.score
        assert score["error"] == 0
        assert score["energy_pj"] <= last
        last = score["energy_pj"]
    assert last < start.score["energy_pj"]
    assert strategy.counts.n_dearer > 0


def test_the_second_phase_is_lexicographic():
    """With every function free, energy and error tie: delay, then gates decide, and never rise."""
    functions = FunctionSet.named("inc", "dec", "add", "wire")
    zero = CostTable.default()
    free = CostTable("int8", np.zeros(30), zero.area, zero.delay)
    strategy = Strategy(Grid(1, 1, 1, 30), functions, DataSet([[0]], [[3]]), seed=4, rate=0.1, costs=free)
    strategy.advance(300)
    last = (np.inf, np.inf)
    for _ in range(30):
        strategy.advance(50)
        score = strategy.best.score
        assert score["error"] == 0
        assert (score["delay"], score["n_gates"]) <= last
        last = (score["delay"], score["n_gates"])
    assert last == (27.0, 3)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mutation": "single"},
        {"mutation": "probabilistic", "is_drifting": False},
        {"n_parents": 4, "n_offspring": 8},
        {"n_parents": 2, "n_offspring": 5, "is_plus": False},
        {"fitness": True},
    ],
    ids=str,
)
def test_restored_equals_uninterrupted(settings):
    data, grid = task(7), Grid(9, 16, 8, 8)
    settings = dict(settings)
    if settings.pop("fitness", None):
        settings["fitness"] = lambda X: np.abs(outputs(X, grid, INT8, data.inputs)[:, 0].astype(int) - 3).sum(axis=1)
    whole = Strategy(grid, INT8, data, seed=1, rate=0.03, **settings)
    whole.advance(200)
    state = {name: values.copy() for name, values in whole.state().items()}
    whole.advance(300)
    other = Strategy(grid, INT8, data, seed=99, rate=0.03, **settings)
    other.advance(17)
    other.restore(state)
    other.advance(300)
    assert other.best == whole.best
    assert other.counts == whole.counts
    for name, values in whole.state().items():
        np.testing.assert_array_equal(other.state()[name], values)


def test_chunks_make_no_difference_and_a_seed_decides():
    one, many, other = (Strategy(Grid(9, 16, 8, 8), INT8, task(8), seed=s, rate=0.03) for s in (5, 5, 6))
    one.advance(600)
    for _ in range(60):
        many.advance(10)
    other.advance(600)
    assert one.best == many.best
    assert one.best != other.best


def test_threads_do_not_disturb_each_other():
    alone = [evolve(Grid(9, 16, 8, 8), INT8, task(9), seed=s, n_gen=2000, rate=0.02) for s in range(4)]
    strategies = [Strategy(Grid(9, 16, 8, 8), INT8, task(9), seed=s, rate=0.02) for s in range(4)]
    threads = [threading.Thread(target=s.advance, args=(2000,)) for s in strategies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [s.best for s in strategies] == alone


def test_patience_and_targets_stop_the_search():
    data = task(10)
    strategy = Strategy(Grid(9, 16, 8, 8), INT8, data, seed=1, rate=0.03, patience=50)
    assert strategy.advance(10**7).stop == "patience"
    assert strategy.counts.n_gen_stalled == 50
    n_gen = strategy.counts.n_gen
    assert strategy.advance(10).n_gen == n_gen
    best = evolve(
        Grid(9, 16, 8, 8), INT8, data, seed=1, n_gen=10**7, rate=0.03, targets={"error": 30_000, "n_gates": 60}
    )
    assert best.counts.stop == "targets"
    assert best.score["error"] <= 30_000
    assert best.score["n_gates"] <= 60


def test_progress_is_shown_and_can_end_the_search():
    seen = []

    def watch(strategy):
        seen.append(strategy.counts.n_gen)
        return len(seen) == 3

    evolve(Grid(9, 16, 8, 8), INT8, task(11), seed=1, n_gen=1000, n_gen_chunk=100, on_progress=watch)
    assert seen == [100, 200, 300]


@pytest.mark.parametrize("settings", [{}, {"n_parents": 5, "n_offspring": 10}, {"is_plus": False}], ids=str)
def test_a_fitness_of_ones_own(settings):
    grid, functions = Grid(1, 1, 1, 20), FunctionSet.float(dtype="float64")
    x = np.linspace(-1, 1, 50)[:, None]

    def fitness(X):
        with np.errstate(all="ignore"):
            return np.abs(outputs(X, grid, functions, x)[:, :, 0] - (x**3 + x)[:, 0]).max(axis=1)

    first = Strategy(grid, functions, None, seed=1, fitness=fitness, rate=0.1, **settings)
    first.advance(0)
    before = first.best.score["error"]
    first.advance(1500)
    best = first.best
    assert best.score["error"] < min(before, 0.3)
    assert best.score["error"] == fitness(best.genes[None])[0]
    assert first.counts.n_gen == 1500


def test_a_fitness_that_raises_is_asked_about_the_same_genomes_again():
    grid, functions, seen = Grid(1, 1, 1, 20), FunctionSet.float(dtype="float64"), []

    def fitness(X):
        seen.append(X.copy())
        if len(seen) in (1, 5):
            raise RuntimeError("power cut")
        return X.sum(axis=1)

    calm = Strategy(grid, functions, None, seed=1, fitness=lambda X: X.sum(axis=1))
    hit = Strategy(grid, functions, None, seed=1, fitness=fitness)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="power cut"):
            hit.advance(50)
    hit.advance(50 - hit.counts.n_gen)
    calm.advance(50)
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[4], seen[5])
    assert hit.best == calm.best
    assert hit.counts == calm.counts


def test_recurrent_circuits_evolve():
    """A running sum needs memory: no circuit without recurrent connections can do it."""
    x = np.random.default_rng(0).integers(-3, 4, (60, 1))
    data = DataSet(x, np.cumsum(x)[:, None])
    best = evolve(
        Grid(1, 1, 1, 10, recurrent=0.2), FunctionSet.named("add", "sub", "wire"), data, seed=1, n_gen=3000, rate=0.1
    )
    assert best.score["error"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_offspring": 0}, "n_offspring"),
        ({"rate": 1.5}, "rate"),
        ({"mutation": "swap"}, "uniform, point"),
        ({"error": "rmse"}, "se, mse"),
        ({"patience": 0}, "patience"),
        ({"threshold": float("nan")}, "numbers"),
        ({"targets": {"gates": 1}}, "targets are"),
        ({"n_parents": 5, "is_plus": False}, "n_offspring >= n_parents"),
        ({"start": np.zeros((2, 208), np.int32)}, "1 genomes"),
        ({"costs": CostTable.unit("float32")}, "cost table is for float32"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Strategy(Grid(9, 16, 8, 8), INT8, task(), seed=1, **settings)


def test_a_search_needs_data_or_a_fitness():
    with pytest.raises(ValueError, match="needs data"):
        Strategy(Grid(9, 16, 8, 8), INT8, None, seed=1)


def test_wrong_states_are_named():
    strategy = Strategy(Grid(9, 16, 4, 4), INT8, task(), seed=1)
    state = strategy.state()
    for change, message in [
        ({"genes": state["genes"][:-1]}, "genes must be int32"),
        ({"scores": state["scores"].astype(np.float32)}, "scores must be float64"),
        ({"genes": np.zeros_like(state["genes"])}, "setting"),
        ({"words": np.zeros_like(state["words"])}, "setting"),
        ({"genes": np.full_like(state["genes"], 1000)}, "gene"),
    ]:
        with pytest.raises(ValueError, match=message):
            strategy.restore({**state, **change})
    with pytest.raises(ValueError, match="needs the array 'words'"):
        strategy.restore({"genes": state["genes"], "scores": state["scores"]})


def test_evolve_takes_every_setting_of_the_strategy_and_no_other():
    own = inspect.signature(Strategy).parameters.values()
    named = [parameter.name for parameter in own if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    assert named == ["seed", *StrategySettings.__annotations__]
    with pytest.raises(TypeError, match=r"n_offspring, n_parents.*'n_ofspring'"):
        evolve(Grid(9, 16, 5, 5), INT8, task(0), seed=1, n_gen=1, n_ofspring=3)

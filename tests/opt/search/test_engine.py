"""The loop: budgets, stops, senses, failures, objectives that change their meaning, memory."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
import sample_problems as samples

import opt
from opt import CompressionProblem, Objective, maximise
from opt.algorithms import find_algorithm
from opt.search.budget import Budget
from opt.search.engine import STALLED_GENERATIONS, Search
from opt.search.scalarise import Scalariser

pytestmark = pytest.mark.usefixtures("no_plots")


class Nowhere:
    """A recorder that keeps nothing."""

    records: list = []
    seconds: dict = {}

    def append(self, record):
        pass

    def history(self, row):
        pass


def minimize(problem, algo="nsga2", **given):
    spec = find_algorithm(algo)
    size = {"pop_size": 6} if "pop_size" in spec.parameters else {}
    return opt.minimize(problem, algo, **(size | given))


def test_generation_budget_is_exact(tmp_path):
    run = minimize(samples.Slope(), n_gen=4, out=tmp_path)
    assert (run.manifest["n_gen"], run.manifest["n_eval"]) == (4, 24)
    assert run.manifest["stop_reason"] == "4 generations done"


@pytest.mark.parametrize("n_eval", [1, 5, 6, 7, 24])
def test_evaluation_budget_is_exact(n_eval, tmp_path):
    run = minimize(samples.Slope(), n_eval=n_eval, out=tmp_path)
    assert run.manifest["n_eval"] == n_eval
    assert sum(r["new"] for r in run.journal()) == n_eval


def test_first_budget_that_is_reached_ends_the_search(tmp_path):
    assert minimize(samples.Slope(), n_gen=9, n_eval=10, out=tmp_path).manifest["n_eval"] == 10
    assert minimize(samples.Slope(), n_gen=1, n_eval=10, out=tmp_path).manifest["n_eval"] == 6


def test_time_budget_ends_the_search_soon_after(tmp_path):
    run = minimize(samples.Slope(nap=0.02), time=0.2, out=tmp_path)
    assert run.manifest["stop_reason"] == "0.2 seconds spent"
    assert 0.2 <= run.manifest["seconds"] < 1.0
    assert 2 <= run.manifest["n_gen"] <= 11


def test_patience_ends_a_search_without_gain(tmp_path):
    class Flat(samples.Slope):
        def evaluate(self, X):
            return np.ones((len(X), 2))

    run = minimize(Flat(), patience=3, out=tmp_path)
    assert run.manifest["stop_reason"] == "hypervolume did not grow for 3 generations"
    assert run.manifest["n_gen"] == 4


def test_search_that_finds_nothing_new_ends(tmp_path):
    class Tiny(CompressionProblem):
        objectives = (Objective("a"), Objective("b"))

        def __init__(self):
            super().__init__(n_var=1, representation="integer", xl=0, xu=2)

        n_distinct = None  # it does not say how few there are

        def evaluate(self, X):
            return np.column_stack([X[:, 0], -X[:, 0]]).astype(float)

    for algo in ("random", "deap-nsga2", "es", "de", "pso"):
        size = {"pop_size": 8} if algo != "es" else {}
        run = opt.minimize(Tiny(), algo, n_eval=50, out=tmp_path, **size)
        assert run.manifest["n_eval"] == 3
        assert run.manifest["stop_reason"] == f"no new candidate in {STALLED_GENERATIONS} generations"
        assert len(run.front) == 3


def test_maximised_objectives_are_shown_in_their_own_sense(tmp_path):
    run = minimize(samples.Slope(), n_gen=5, seed=2, out=tmp_path)
    F = np.concatenate([r["F"] for r in run.journal()])
    assert (F[:, 1] < 0).any()
    assert run.front["gain"].max() == pytest.approx(-F[:, 1].min())
    history = run.history
    first = np.array(run.journal()[0]["F"])
    row = history.iloc[0]
    assert row["best_gain"] == pytest.approx(-first[:, 1].min(), rel=1e-9)
    assert row["worst_gain"] == pytest.approx(-first[:, 1].max(), rel=1e-9)
    assert row["mean_gain"] == pytest.approx(-first[:, 1].mean(), rel=1e-9)
    assert row["best_cost"] == pytest.approx(first[:, 0].min(), rel=1e-9)
    assert row["worst_cost"] == pytest.approx(first[:, 0].max(), rel=1e-9)
    # `worst` of the cost is stated, that of the gain is taken from the first generation
    assert run.manifest["ref_point"][0] == 10.0
    references = run.references
    assert references["gain"].tolist()[-1] == 1.5 and references["test_accuracy"].tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize("algo", ["ga", "es", "sa", "de", "deap-ga", "sga"])
def test_weights_decide_what_a_single_objective_algorithm_finds(algo, tmp_path):
    class Trade(CompressionProblem):
        objectives = (Objective("low"), Objective("high", maximise))

        def __init__(self):
            super().__init__(n_var=2, xl=0.0, xu=1.0)

        def evaluate(self, X):
            return np.column_stack([X[:, 0], -X[:, 0] - 0.1 * X[:, 1]])

    means = []
    for weights in ((1, 0), (0, 1)):
        run = opt.minimize(Trade(), algo, n_eval=600, weights=weights, out=tmp_path)
        means.append(np.mean(run.journal()[-1]["F"], axis=0)[0])
    assert means[0] < 0.5 < means[1]


def test_asf_leads_to_the_reference_point(tmp_path):
    class Line(CompressionProblem):
        objectives = (Objective("a"), Objective("b"))

        def __init__(self):
            super().__init__(n_var=1, xl=0.0, xu=1.0)

        def evaluate(self, X):
            return np.column_stack([X[:, 0], 1 - X[:, 0]])

    for target in (0.2, 0.7):
        run = opt.minimize(
            Line(), "es", n_eval=500, scalarise="asf", ref=(target, 1 - target), out=tmp_path, mu=4, n_offsprings=10
        )
        assert np.mean(run.journal()[-1]["F"], axis=0)[0] == pytest.approx(target, abs=0.05)


def test_failures_are_counted_with_their_reasons_and_never_on_the_front(tmp_path):
    run = opt.minimize(samples.Flaky(), "random", n_eval=200, pop_size=50, out=tmp_path)
    m = run.manifest
    assert m["status"] == "finished" and m["n_eval"] == 200
    assert m["n_failed"] == sum(m["failures"].values()) > 10
    assert set(m["failures"]) == {
        "ArithmeticError: second variable above 0.9",
        "not finite: a = nan",
        "not finite: b = inf",
    }
    recorded = [r for record in run.journal() for r in record.get("failed", {}).values()]
    assert len(recorded) == m["n_failed"]
    assert np.isfinite(run.front[["a", "b"]].to_numpy()).all()
    assert np.isfinite(run.history.to_numpy()).all()


def test_fail_fast_stops_keeps_the_run_and_tells_where(tmp_path):
    with pytest.raises(opt.UsageError, match=r"failed: .*; the run is kept in "):
        opt.minimize(samples.Flaky(), "random", n_eval=200, pop_size=50, fail_fast=True, out=tmp_path)
    (path,) = tmp_path.iterdir()
    assert opt.load_run(path).status == "failed"
    assert len(opt.load_run(path).front) == 0


def test_problem_that_always_fails_ends_after_one_generation(tmp_path):
    with pytest.raises(opt.UsageError, match="every one of the first 6 candidates failed: RuntimeError"):
        minimize(samples.Broken(), n_gen=50, out=tmp_path)
    (path,) = tmp_path.iterdir()
    assert len(opt.load_run(path).journal()) == 1


def test_one_early_failure_does_not_end_a_run_of_single_candidates(tmp_path):
    class FirstFails(samples.Bowl):
        n_calls = 0

        def evaluate(self, X):
            self.n_calls += 1
            if self.n_calls == 1:
                raise RuntimeError("not yet")
            return super().evaluate(X)

    run = opt.minimize(FirstFails(), "sa", n_eval=30, n_chains=1, out=tmp_path)
    assert run.status == "finished" and run.manifest["n_failed"] == 1 and run.manifest["n_eval"] == 30


def test_infeasible_candidates_are_never_on_the_front(tmp_path):
    run = minimize(samples.Fenced(), n_gen=10, out=tmp_path)
    assert len(run.front) and (run.front["x0"] <= 3).all() and (run.front["x1"] >= 1).all()
    G = np.concatenate([r["G"] for r in run.journal()])
    assert (G > 0).any()


def test_no_feasible_candidate_is_an_empty_front(tmp_path):
    class Walled(samples.Fenced):
        def evaluate(self, X):
            F, G = super().evaluate(X)
            return F, G * 0 + 1.0

    run = minimize(Walled(), n_gen=3, out=tmp_path)
    assert run.status == "finished"
    assert run.front.columns.tolist() == ["id", "a", "b"] and len(run.front) == 0
    assert run.manifest["ref_point"] is None and run.manifest["hypervolume"] == 0.0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_enormous_values_do_not_end_a_run(tmp_path):
    class Enormous(samples.Slope):
        def evaluate(self, X):
            return np.where(X[:, :2] > 0.5, 1e308, -1e308)

    run = minimize(Enormous(), n_gen=3, out=tmp_path)
    assert run.status == "finished" and np.isfinite(run.manifest["hypervolume"])


class TestValuesThatChangeTheirMeaning:
    """`begin_generation` returns True: known values are forgotten, survivors are judged again."""

    class Turning(CompressionProblem):
        """What was best becomes worst in every generation."""

        objectives = (Objective("a"), Objective("b"))

        def __init__(self):
            super().__init__(n_var=1, representation="integer", xl=0, xu=100)
            self.generation = 0
            self.asked = []

        def begin_generation(self, n_gen):
            self.generation = n_gen
            return True

        def evaluate(self, X):
            self.asked.append((self.generation, X[:, 0].tolist()))
            sign = 1.0 if self.generation % 2 else -1.0
            return np.column_stack([sign * X[:, 0] + 1000 * self.generation, sign * X[:, 0] + 1000 * self.generation])

    @pytest.mark.parametrize("algo", ["nsga2", "deap-nsga2", "spea2", "sms-emoa", "nsga3"])
    def test_survivors_are_judged_by_the_new_meaning(self, algo, tmp_path):
        problem = self.Turning()
        run = opt.minimize(problem, algo, n_gen=6, pop_size=8, seed=1, out=tmp_path)
        for generation, record in enumerate(run.journal(), start=1):
            batches = [X for g, X in problem.asked if g == generation]
            assert len(batches) == (1 if generation == 1 else 2)
            if generation > 1:
                survivors = np.array(record["survivors_F"])
                assert (np.abs(survivors - 1000 * generation) <= 100).all()
                assert len(survivors) == len(batches[0])
        # the front holds values of the last meaning only
        assert (np.abs(run.front["a"] - 6000) <= 100).all()

    @pytest.mark.parametrize("algo", ["deap-mu+lambda", "es", "ga"])
    def test_elitist_algorithm_keeps_no_stale_value(self, algo, tmp_path):
        problem = self.Turning()
        size = {"ga": {"pop_size": 6}, "es": {"mu": 4, "n_offsprings": 8}}.get(algo, {"mu": 4, "lambda_": 8})
        run = opt.minimize(problem, algo, n_gen=7, seed=3, out=tmp_path, **size)
        n_survivors = [len(r.get("survivors_F", [])) for r in run.journal()]
        assert n_survivors[0] == 0 and all(n == n_survivors[1] > 0 for n in n_survivors[1:])
        # after an even generation, where large is good, the best of both sides survived
        by_generation = {g: [X for h, X in problem.asked if h == g] for g in range(1, 8)}
        for g in range(2, 7):
            pool = sorted({x for X in by_generation[g] for x in X}, reverse=g % 2 == 0)
            assert pool[0] in by_generation[g + 1][0]

    def test_generational_ga_judges_no_parents(self, tmp_path):
        run = opt.minimize(self.Turning(), "sga", n_gen=4, pop_size=6, out=tmp_path)
        assert all("survivors_F" not in r for r in run.journal())

    def test_last_judgement_is_over_the_last_population(self, tmp_path):
        problem = samples.Drifting()
        run = minimize(problem, n_gen=5, out=tmp_path)
        front = run.front
        X = front[["x0", "x1"]].to_numpy()
        np.testing.assert_allclose(problem.evaluate(X), front[["near", "far"]], rtol=1e-12)
        assert front["id"].is_unique
        assert problem.offset == problem.offsets.mean()

    def test_evaluated_candidates_are_evaluated_again(self, tmp_path):
        problem = self.Turning()
        run = opt.minimize(problem, "random", n_gen=30, pop_size=60, out=tmp_path)
        assert run.manifest["n_eval"] > 101


def search(problem, *, n_gen, cache_size=50):
    """A search that is not recorded, with the memory that is in use after each hundredth generation."""
    held = []

    def watch(state):
        if state.n_gen % 100 == 0:
            gc.collect()  # what waits for the collector only is not held
            held.append(tracemalloc.get_traced_memory()[0])

    Search(
        problem,
        find_algorithm("ga"),
        {"pop_size": 20},
        seed=1,
        budget=Budget.of(n_gen=n_gen),
        scalariser=Scalariser.of(problem.objectives),
        recorder=Nowhere(),
        cache_size=cache_size,
        on_generation=watch,
    ).run()
    return held


def test_memory_does_not_grow_with_generations():
    problem = samples.Bowl(n_var=50)
    search(problem, n_gen=20)
    tracemalloc.start()
    try:
        held = search(problem, n_gen=400)
    finally:
        tracemalloc.stop()
    early, late = held[0], held[-1]
    # one generation's candidates are 20 x 50 x 8 = 8 kB: 300 of them would be 2.4 MB
    assert late - early < 60_000

"""What an algorithm is told of its candidates: values, violations, penalties, and all anew when meanings change."""

from __future__ import annotations

import time

import numpy as np
import pytest
import sample_problems as samples
import searches
from pymoo.core.population import Population
from pymoo.core.termination import NoTermination
from searches import Memory

from opt import CompressionProblem, Objective
from opt.algorithms import find_algorithm
from opt.algorithms.interface.warm_start import Start
from opt.problem.hooks import HookError
from opt.search.budget import Budget
from opt.search.engine import STALLED_GENERATIONS, Search
from opt.search.evaluation import EvaluationFailed
from opt.search.scalarise import Scalariser
from opt.search.search_state import Silent


class Moving(samples.Drifting):
    """Meanings that change, with a constraint that moves too, and candidates that fail."""

    def __init__(self):
        super().__init__()
        self.n_ieq_constr = 1

    def begin_run(self, rng):
        self.offsets = np.array([0.05, 0.15, 0.1])

    def end_search(self):
        # less is feasible by the last judgement than ever before
        self.offset = 0.5
        return True

    def evaluate(self, X):
        F = super().evaluate(X)
        F[X[:, 1] > 0.9] = np.nan
        return F, self.offset - X[:, :1]


def searching(problem, algo="nsga2", recorder=None, *, n_gen=4, parameters=None, **more):
    parameters = {"pop_size": 8} if parameters is None else parameters
    memory = recorder or Memory()
    return searches.searching(
        problem, memory, algo=algo, seed=3, parameters=parameters, budget={"n_gen": n_gen}, **more
    )


def test_population_has_the_values_and_the_summed_violations_of_its_candidates():
    search = searching(samples.Fenced())
    search.run()
    population = search.algorithm.pop
    F, G = search.problem.evaluate(population.get("X"))
    np.testing.assert_array_equal(population.get("F"), F)
    np.testing.assert_array_equal(population.get("G"), G)
    violation = np.maximum(G, 0).sum(axis=1)
    np.testing.assert_array_equal(population.get("CV")[:, 0], violation)
    first = searching(samples.Fenced(), n_gen=1)
    first.run()
    assert (first.algorithm.pop.get("CV") > 0).any(), "otherwise nobody sees what is told of them"


def test_algorithm_of_one_objective_is_told_the_scalar_value():
    search = searching(samples.Slope(), "ga")
    search.run()
    population = search.algorithm.pop
    told = population.get("F")
    assert told.shape == (8, 1)
    F = search.problem.evaluate(population.get("X"))
    np.testing.assert_array_equal(told, Scalariser.of(search.problem.objectives)(F))
    several = searching(samples.Slope(), "nsga2")
    several.run()
    assert several.algorithm.pop.get("F").shape == (8, 2) and several.scalariser is None
    alone = searching(samples.Bowl(), "ga")
    alone.run()
    F = alone.problem.evaluate(alone.algorithm.pop.get("X"))
    np.testing.assert_array_equal(alone.algorithm.pop.get("F"), F)


def test_failed_candidates_are_told_as_worse_than_everything_seen():
    search = searching(samples.Flaky(), n_gen=1, parameters={"pop_size": 60})
    search.run()
    told = search.algorithm.pop.get("F")
    X = search.algorithm.pop.get("X")
    failed = (X[:, 1] > 0.9) | (X[:, 2] > 0.9) | (X[:, 2] < 0.1)
    assert 5 < failed.sum() < 55
    np.testing.assert_array_equal(told[failed], np.tile(search.tally.penalty(), (failed.sum(), 1)))
    assert (told[failed] > told[~failed].max(axis=0)).all()
    assert np.isfinite(told).all()


def test_failed_candidates_of_a_constrained_problem_violate_more_than_any_other():
    search = searching(Moving(), n_gen=1, parameters={"pop_size": 60})
    search.run()
    told, X = search.algorithm.pop.get("CV")[:, 0], search.algorithm.pop.get("X")
    failed = X[:, 1] > 0.9
    assert failed.any() and (told[failed] >= 1e30).all() and (told[~failed] < 10).all()
    assert np.isfinite(told).all()


@pytest.mark.parametrize("n_records", [2, 4])
def test_changed_meanings_with_constraints_and_failures_are_journalled_and_replayed(n_records):
    given = {"n_gen": 4, "parameters": {"pop_size": 30}}
    recorder = Memory()
    search = searching(Moving(), recorder=recorder, **given)
    state = search.run()
    assert not search.is_stationary
    second, *_ = [record for record in recorder.appended if "survivors_failed" in record]
    n = len(second["survivors_F"])
    assert n == 30 == len(second["survivors_G"]) and np.shape(second["survivors_G"]) == (30, 1)
    nowhere = {str(i) for i, row in enumerate(second["survivors_F"]) if None in row}
    assert set(second["survivors_failed"]) == nowhere
    assert set(second["survivors_failed"].values()) == {"not finite: near = nan, far = nan"}
    assert (search.algorithm.pop.get("G") > 0).any(), "survivors that the last meaning makes infeasible"
    # the front holds what is feasible under it, by its values
    X = np.stack(list(search.archive.X))
    F, G = search.problem.evaluate(X)
    np.testing.assert_array_equal(search.archive.F, F)
    assert (G <= 0).all() and len(F) and (search.archive.ids < 0).all()
    again = Memory(recorder.appended[:n_records])
    replayed = searching(Moving(), recorder=again, **given)
    after = replayed.run()
    assert again.appended == recorder.appended[n_records:]
    np.testing.assert_array_equal(replayed.archive.F, search.archive.F)
    assert (after.hypervolume, after.n_failed) == (state.hypervolume, state.n_failed)


def test_steady_meanings_are_told_apart_from_moving_ones():
    search = searching(samples.Slope())
    search.run()
    assert search.is_stationary is True
    search = searching(samples.Drifting())
    search.run()
    assert search.is_stationary is False


def test_algorithm_that_keeps_values_of_its_own_is_told_that_they_have_changed():
    search = searching(samples.Drifting(), "sa", parameters={"n_chains": 2}, n_gen=4)
    told = []
    original = search.algorithm.values_changed
    search.algorithm.values_changed = lambda: (told.append(search.state.n_gen), original())
    search.run()
    assert told == [1, 2, 3], "in every generation that has survivors"


def test_callback_without_a_name_is_called_by_its_class():
    class Watcher:
        def __call__(self, algorithm):
            raise KeyError("x")

    with pytest.raises(HookError, match=r"^callback Watcher failed: KeyError"):
        searching(samples.Slope(), callback=Watcher()).run()


def test_one_batch_more_than_the_budget_is_cut_and_not_told():
    recorder = Memory()
    search = Search(
        samples.Slope(),
        find_algorithm("nsga2"),
        {"pop_size": 8},
        seed=3,
        budget=Budget.of(n_eval=11),
        scalariser=Scalariser.of(samples.Slope().objectives),
        recorder=recorder,
    )
    told = []
    original = search.algorithm.tell
    search.algorithm.tell = lambda infills: (told.append(len(infills)), original(infills=infills))
    search.run()
    assert [record["n"] for record in recorder.appended] == [8, 3] and told == [8]


@pytest.mark.parametrize("F", [None, np.array([[3.0, -3.0], [1.0, -1.0], [2.0, -2.0]])])
@pytest.mark.parametrize("algo", ["nsga2", "ga"])
def test_start_comes_first_and_the_best_of_it_before_the_rest(algo, F):
    X = np.array([[0.1] * 4, [0.2] * 4, [0.3] * 4])
    evaluated = []

    class Watched(samples.Slope):
        def evaluate(self, X):
            evaluated.append(X.copy())
            return super().evaluate(X)

    searching(Watched(), algo, n_gen=1, start=Start(X, F)).run()
    assert len(evaluated[0]) == 8
    # the weighted sum is 0.5 cost - 2 gain: of the known values the first is best; a front begins with its ends
    order = [0, 1, 2] if F is None else [0, 2, 1] if algo == "ga" else [1, 0, 2]
    np.testing.assert_array_equal(evaluated[0][:3], X[order])


def test_one_objective_is_told_as_it_is_whatever_its_weight():
    problem = samples.Bowl()
    search = Search(
        problem,
        find_algorithm("ga"),
        {"pop_size": 8},
        seed=3,
        budget=Budget.of(n_gen=2),
        scalariser=Scalariser.of(problem.objectives, weights=[7.0]),
        recorder=Memory(),
    )
    search.run()
    population = search.algorithm.pop
    np.testing.assert_array_equal(population.get("F"), problem.evaluate(population.get("X")))


@pytest.mark.parametrize("algo", ["de", "ga"])
def test_candidates_are_rounded_for_integers_only(algo):
    for kind, is_whole in ((samples.Slope, False), (samples.Steps, True)):
        seen = []

        class Watched(kind):
            def evaluate(self, X, seen=seen):
                seen.append(X.copy())
                return super().evaluate(X)

        searching(Watched(), algo, n_gen=2).run()
        X = np.concatenate(seen)
        assert (np.rint(X) == X).all() == is_whole and X.dtype == (np.int64 if is_whole else np.float64)


def test_limits_of_a_search_reach_its_evaluations():
    class Slow(samples.Bowl):
        def evaluate(self, X):
            time.sleep(10.0 * (len(X) == 1 and X[0, 0] > 0.5) + 10.0 * (len(X) > 1))
            return super().evaluate(X)

    search = searching(Slow(), "random", n_gen=1, parameters={"pop_size": 3}, eval_seconds=0.05)
    state = search.run()
    assert state.n_failed > 0 and all("longer than 0.05 s" in reason for reason in state.failures)
    with pytest.raises(EvaluationFailed, match=r"not finite|second variable"):
        searching(samples.Flaky(), "random", parameters={"pop_size": 60}, fail_fast=True).run()


def test_memory_of_a_search_is_as_large_as_asked():
    search = searching(samples.Slope(), "random", parameters={"pop_size": 30}, cache_size=7)
    search.run()
    assert search.evaluator.n_known == 7


def test_algorithm_is_set_up_for_what_it_sees_and_left_without_ends_and_displays_of_its_own(monkeypatch):
    for algo, n_obj in (("ga", 1), ("nsga2", 2)):
        algorithm = searching(samples.Slope(), algo).algorithm
        assert algorithm.problem.n_obj == n_obj and algorithm.problem.n_var == 4
        assert isinstance(algorithm.termination, NoTermination) and isinstance(algorithm.display, Silent)
    planned = []
    annealing = type(searching(samples.Slope(), "sa", parameters={}).algorithm)
    monkeypatch.setattr(annealing, "plan", lambda self, **given: planned.append(given))
    for limits in ({"n_gen": 7}, {"n_eval": 50}, {"time": 9.0}):
        Search(
            samples.Slope(),
            find_algorithm("sa"),
            {},
            seed=1,
            budget=Budget.of(**limits),
            scalariser=Scalariser.of(samples.Slope().objectives),
            recorder=Memory(),
        )
    nothing = {"n_gen": None, "n_eval": None, "seconds": None}
    assert planned == [nothing | {"n_gen": 7}, nothing | {"n_eval": 50}, nothing | {"seconds": 9.0}]
    monkeypatch.setattr(annealing, "setup", lambda self, *given, **more: 1 / 0)
    with pytest.raises(HookError, match=r"^algorithm sa failed in setup: ZeroDivisionError"):
        searching(samples.Slope(), "sa", parameters={})


def test_generations_are_numbered_from_one_and_time_from_nothing():
    numbers, seconds = [], []

    class Counted(samples.Slope):
        def begin_generation(self, n_gen):
            numbers.append(n_gen)
            return False

    searching(Counted(), on_generation=lambda state: seconds.append(state.seconds)).run()
    assert numbers == [1, 2, 3, 4]
    assert 0 < seconds[0] < 0.9 and seconds == sorted(seconds)


def test_search_without_new_candidates_ends_after_so_many_generations():
    class Single(CompressionProblem):
        objectives = (Objective("a"),)
        n_distinct = None

        def __init__(self):
            super().__init__(n_var=1, representation="integer", xl=4, xu=4)

        def evaluate(self, X):
            return X.astype(float)

    state = searching(Single(), "random", parameters={"pop_size": 2}, n_gen=500).run()
    assert state.stop_reason == f"no new candidate in {STALLED_GENERATIONS} generations"
    assert (state.n_gen, state.n_eval) == (1 + STALLED_GENERATIONS, 1)


def test_end_of_an_algorithm_is_told_in_its_own_words_where_it_has_some():
    for end_reason, told in (("", "the algorithm ended by itself"), ("enough is enough", "enough is enough")):
        search = searching(samples.Slope(), "random")
        original = search.algorithm.has_next
        search.algorithm.has_next = lambda original=original, search=search: original() and search.state.n_gen < 2
        search.algorithm.end_reason = end_reason
        state = search.run()
        assert (state.stop_reason, state.n_gen) == (told, 2)
    for nothing in (None, Population.new("X", np.empty((0, 4)))):
        search = searching(samples.Slope())
        search.algorithm.ask = lambda nothing=nothing: nothing
        state = search.run()
        assert (state.stop_reason, state.n_gen) == ("the algorithm finds no new candidate", 0)


def test_traces_name_their_generation_and_evaluations():
    recorder = Memory()
    searching(samples.Slope(), "sa", recorder, parameters={"n_chains": 2}, n_gen=3).run()
    assert [(row["n_gen"], row["n_eval"]) for row in recorder.traces] == [
        (row[0], row[1]) for row in recorder.rows[: len(recorder.traces)]
    ]
    assert len(recorder.traces) == 3 and {"temperature", "best"} <= set(recorder.traces[0])


def test_annealing_plans_with_what_is_spent_of_its_budget():
    spent = []
    search = searching(samples.Slope(), "sa", parameters={"n_chains": 2}, n_gen=5)
    original = search.algorithm.spend
    search.algorithm.spend = lambda share: (spent.append(share), original(share))
    search.run()
    assert spent == [0.0, 0.2, 0.4, 0.6, 0.8]


def test_share_of_time_that_is_spent_is_journalled_and_replayed():
    def timed(recorder, spent):
        search = Search(
            samples.Slope(nap=0.0),
            find_algorithm("sa"),
            {"n_chains": 2},
            seed=3,
            budget=Budget.of(time=1e6, n_gen=4),
            scalariser=Scalariser.of(samples.Slope().objectives),
            recorder=recorder,
        )
        original = search.algorithm.spend
        search.algorithm.spend = lambda share: (spent.append(share), original(share))
        search.run()

    first, recorder = [], Memory()
    timed(recorder, first)
    assert [record["spent"] for record in recorder.appended] == first == [0.0, 0.25, 0.5, 0.75]
    for record, share in zip(recorder.appended, (0.0, 0.3, 0.55, 0.8), strict=True):
        record["spent"] = share
    again = []
    timed(Memory(recorder.appended), again)
    assert again == [0.0, 0.3, 0.55, 0.8], "a replay hears what the search heard, whatever the clock says"

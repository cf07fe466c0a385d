"""A search that goes on from its journal: recorded values in place of evaluations, the same search behind them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sample_problems as samples
from searches import Memory, searching

from opt import UsageError
from opt.problem.hooks import HookError
from opt.search.engine import HOPELESS_FAILURES
from opt.search.evaluation import EvaluationFailed


def counting(kind):
    """A problem of this kind that keeps the candidates it evaluates."""

    class Counting(kind):
        def evaluate(self, X):
            self.__dict__.setdefault("evaluated", []).extend(map(tuple, X))
            return super().evaluate(X)

    problem = Counting()
    problem.evaluated = []
    return problem


def without_seconds(rows):
    return [row[:2] + row[3:] for row in rows]


CASES = {
    "two objectives": (samples.Slope, "nsga2"),
    "constraints": (samples.Fenced, "nsga2"),
    "failures": (samples.Flaky, "nsga2"),
    "meanings that change": (samples.Drifting, "nsga2"),
    "meanings that change, rounded": (samples.DriftingSteps, "de"),
    "one objective": (samples.Slope, "ga"),
    "trace": (samples.Slope, "sa"),
}


@pytest.mark.parametrize("n_records", [1, 3, 5])
@pytest.mark.parametrize("name", CASES)
def test_recorded_values_are_served_and_not_evaluated_again(name, n_records):
    kind, algo = CASES[name]
    parameters = {"n_chains": 2} if algo == "sa" else None
    first, memory = counting(kind), Memory()
    whole = searching(first, memory, algo=algo, parameters=parameters)
    state = whole.run()
    records = memory.appended
    assert [record["gen"] for record in records] == [1, 2, 3, 4, 5]
    # other values in the journal than evaluate would give: they must be what counts
    again, replayed = counting(kind), Memory(records[:n_records])
    resumed = searching(again, replayed, algo=algo, parameters=parameters)
    after = resumed.run()
    assert replayed.appended == records[n_records:]
    np.testing.assert_array_equal(without_seconds(replayed.rows), without_seconds(memory.rows))
    assert replayed.traces == memory.traces and bool(memory.traces) == (algo == "sa")
    # what is evaluated is what was evaluated behind the records; a last judgement is made anew
    n_before = sum(record["new"] + len(record.get("survivors_F", ())) for record in records[:n_records])
    n_tries = len(first.evaluated) - len(again.evaluated)
    assert again.evaluated == first.evaluated[n_tries:]
    assert n_tries >= n_before and (name == "failures" or n_tries == n_before)
    for field in ("n_gen", "n_eval", "n_failed", "hypervolume", "stop_reason", "failures"):
        assert getattr(after, field) == getattr(state, field)
    assert after.best.tolist() == state.best.tolist()
    np.testing.assert_array_equal(resumed.archive.F, whole.archive.F)
    np.testing.assert_array_equal(resumed.archive.ids, whole.archive.ids)
    assert resumed.ref_point.tolist() == whole.ref_point.tolist()


def test_values_of_the_journal_go_before_what_evaluate_would_say():
    memory = Memory()
    searching(samples.Slope(), memory).run()
    records = memory.appended
    for record in records:
        record["F"] = (np.array(record["F"]) / 2 - 40).tolist()
    replayed = searching(samples.Slope(), Memory(records[:1]), budget={"n_gen": 1})
    replayed.run()
    assert replayed.archive.F.max() < -35


def recorded(**given):
    memory = Memory()
    searching(samples.Fenced(), memory, **given).run()
    return memory.appended


def test_failed_candidates_of_the_journal_are_counted_with_their_reasons():
    memory = Memory()
    searching(samples.Flaky(), memory, algo="random", parameters={"pop_size": 20}, budget={"n_gen": 1}).run()
    (record,) = memory.appended
    assert record["failed"] and {int(i) for i in record["failed"]} == set(
        np.flatnonzero([None in row for row in record["F"]])
    )
    record["failed"] = dict.fromkeys(record["failed"], "ValueError: as recorded")
    search = searching(
        samples.Flaky(), Memory([record]), algo="random", parameters={"pop_size": 20}, budget={"n_gen": 1}
    )
    assert search.run().failures == {"ValueError: as recorded": len(record["failed"])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.update(x="0" * 16), "generation 2 asks for other candidates than the journal recorded"),
        (lambda record: record.update(gen=3), "asks for other candidates than the journal recorded"),
        (lambda record: record["F"].pop(), r"generation 2 evaluates \d candidates and the journal recorded \d"),
    ],
)
def test_journal_of_another_search_does_not_replay(change, message):
    records = recorded()
    change(records[1])
    memory = Memory(records)
    with pytest.raises(UsageError, match=f"the run does not replay: .*{message}.*; resume with the program version"):
        searching(samples.Fenced(), memory).run()
    assert memory.appended == [] and len(memory.rows) == 1


def test_other_seed_does_not_replay():
    with pytest.raises(UsageError, match="the run does not replay: generation 1"):
        searching(samples.Fenced(), Memory(recorded()), seed=2).run()


@pytest.mark.parametrize("seconds", [{1: 5.0, 2: 9.0, 3: 9.5}, {1: 9.5}, {1: 2.0, 2: 9.5, 3: 1.0}])
def test_time_that_was_spent_counts_and_ends_no_replay(seconds):
    problem, memory = counting(samples.Fenced), Memory(recorded()[:3], seconds)
    told = []
    search = searching(
        problem, memory, budget={"time": 9.0}, on_generation=lambda state: told.append((state.seconds, state.replaying))
    )
    state = search.run()
    assert state.stop_reason == "9 seconds spent" and state.n_gen == 3 and problem.evaluated == []
    expected = np.maximum.accumulate([seconds.get(1, 0.0), seconds.get(2, 0.0), seconds.get(3, 0.0)])
    assert told == [(s, True) for s in expected.tolist()] and state.seconds == 9.5


def test_time_goes_on_behind_the_replay():
    memory = Memory(recorded()[:3], {1: 1.0, 2: 2.0, 3: 100.0})
    told = []
    searching(
        samples.Fenced(), memory, on_generation=lambda state: told.append((state.n_gen, state.replaying, state.seconds))
    ).run()
    assert [t[:2] for t in told] == [(1, True), (2, True), (3, True), (4, False), (5, False)]
    assert [t[2] for t in told[:3]] == [1.0, 2.0, 100.0]
    assert 100.0 < told[3][2] < told[4][2] < 160.0


def test_stop_is_heeded_behind_the_replay():
    problem, memory = counting(samples.Fenced), Memory(recorded()[:3])
    search = searching(problem, memory)
    search.stop_requested = "interrupted"
    state = search.run()
    assert (state.stop_reason, state.n_gen, problem.evaluated, memory.appended) == ("interrupted", 3, [], [])


def hypervolumes(values, **budget):
    """A search of one candidate a generation, whose hypervolume takes these values."""
    one = {"algo": "random", "parameters": {"pop_size": 1}}
    memory = Memory()
    searching(samples.Slope(), memory, **one, budget={"n_gen": len(values)}).run()
    # the reference point is 10 and what the first point gives: 0 and a tenth of 1
    for record, value in zip(memory.appended, values, strict=True):
        record["F"] = [[10.0 - value / 0.1, 0.0]]
    search = searching(samples.Slope(), Memory(memory.appended), **one, budget=budget)
    return search.run()


def test_patience_counts_generations_without_a_relative_gain_above_the_tolerance():
    grown = [0.1, 0.101, 0.102, 0.5, 0.4, 0.5001, 0.5002, 0.9]
    state = hypervolumes(grown, patience=3, tolerance=0.01)
    # 0.101 gains less than what counts, and so does 0.102 against the best so far, 0.101
    assert state.stop_reason == "hypervolume did not grow for 3 generations" and state.n_gen == 7
    assert state.hypervolume == pytest.approx(0.5002)
    assert hypervolumes(grown, patience=2, tolerance=0.01).n_gen == 3
    assert hypervolumes(grown, patience=2, tolerance=0.0, n_gen=8).n_gen == 8
    assert hypervolumes([0.5] * 4, patience=2, tolerance=0.0).n_gen == 3


@pytest.mark.parametrize("limits", [{"n_gen": 3}, {"n_eval": 3}])
def test_budget_ends_a_replay_too(limits):
    state = hypervolumes([0.1, 0.2, 0.3, 0.4, 0.5], **limits)
    kind = "generations" if "n_gen" in limits else "evaluations"
    assert (state.stop_reason, state.n_gen, state.n_eval) == (f"3 {kind} done", 3, 3)


@pytest.mark.parametrize("pop_size", [1, 3])
def test_search_without_one_good_candidate_is_hopeless_after_a_few(pop_size):
    memory = Memory()
    search = searching(samples.Broken(), memory, algo="random", parameters={"pop_size": pop_size})
    n = -(-HOPELESS_FAILURES // pop_size) * pop_size
    message = f"every one of the first {n} candidates failed: RuntimeError: no such file"
    with pytest.raises(EvaluationFailed, match=message):
        search.run()
    assert search.state.n_failed == n == sum(record["new"] for record in memory.appended)
    assert len(memory.rows) == len(memory.appended)


def test_callback_is_called_with_the_algorithm_after_each_generation():
    seen = []
    search = searching(samples.Slope(), Memory(), callback=lambda algorithm: seen.append(algorithm.evaluator.n_eval))
    search.run()
    assert seen == [6, 12, 18, 24, 30]


def test_what_a_callback_or_an_algorithm_raises_names_it_in_one_line():
    def sulking(algorithm):
        raise ValueError("no\nmore")

    memory = Memory()
    with pytest.raises(HookError, match=r"callback sulking failed: ValueError: no more \(test_replay.py line \d+\)$"):
        searching(samples.Slope(), memory, callback=sulking).run()
    assert len(memory.appended) == 1, "what was evaluated is recorded before"
    for step in ("ask", "tell"):
        search = searching(samples.Slope(), Memory())
        setattr(search.algorithm, step, sulking if step == "ask" else lambda infills: sulking(infills))
        if step == "ask":
            search.algorithm.ask = lambda: sulking(None)
        with pytest.raises(HookError, match=f"^algorithm nsga2 failed in {step}: ValueError: no more "):
            search.run()


def test_search_is_plain_data_in_the_journal():
    (record, *_) = recorded(budget={"n_gen": 1})
    assert set(record) == {"gen", "x", "n", "new", "F", "G"}
    assert (record["gen"], record["n"], record["new"]) == (1, 6, 6) and len(record["x"]) == 16
    assert np.shape(record["F"]) == np.shape(record["G"]) == (6, 2)
    assert json.loads(json.dumps(record)) == record

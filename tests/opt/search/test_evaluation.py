"""Evaluating batches: each distinct candidate once, bad ones isolated with their reasons."""

from __future__ import annotations

import re
import time
from hashlib import blake2b

import numpy as np
import pytest
from sample_problems import Bowl, Fenced, Flaky, Slope

from opt import CompressionProblem, Objective
from opt.search.evaluation import EvaluationFailed, Evaluator, evaluate_batch


class Counting(Bowl):
    def __init__(self, **parameters):
        super().__init__(n_var=1, **parameters)
        self.evaluated = []

    def evaluate(self, X):
        self.evaluated += X[:, 0].tolist()
        return super().evaluate(X)


def ask(problem, evaluator, values, *, limit=None):
    X = np.array(values, dtype=float).reshape(-1, problem.n_var)
    keys = [problem.fingerprint(x) for x in X]
    return evaluator(X, keys, compute=lambda rows: evaluate_batch(problem, rows), limit=limit)


def test_duplicates_are_evaluated_once_within_a_batch_and_across_batches():
    problem = Counting()
    evaluator = Evaluator(problem)
    batch = ask(problem, evaluator, [1, 2, 1, 1])
    assert problem.evaluated == [1, 2]
    assert batch.new.tolist() == [0, 1]
    assert batch.F[:, 0].tolist() == [(v - 0.25) ** 2 for v in (1, 2, 1, 1)]
    batch = ask(problem, evaluator, [2, 0, 1, 0])
    assert problem.evaluated == [1, 2, 0]
    assert batch.new.tolist() == [1]
    assert batch.F[:, 0].tolist() == [(v - 0.25) ** 2 for v in (2, 0, 1, 0)]


def test_values_of_a_batch_are_not_shared_with_the_memory():
    problem = Counting()
    evaluator = Evaluator(problem)
    ask(problem, evaluator, [1]).F[:] = 99
    assert ask(problem, evaluator, [1]).F[0, 0] == 0.75**2


def test_memory_is_bounded_and_the_oldest_is_forgotten_first():
    problem = Counting()
    evaluator = Evaluator(problem, cache_size=3)
    ask(problem, evaluator, [0, 1, 2, 3, 4, 0])
    assert len(evaluator._known) == 3
    problem.evaluated.clear()
    ask(problem, evaluator, [4, 3, 2])
    assert problem.evaluated == []
    ask(problem, evaluator, [0])
    assert problem.evaluated == [0]
    ask(problem, evaluator, [2])
    assert problem.evaluated == [0, 2]


def test_batch_larger_than_the_memory_is_right():
    problem = Counting()
    values = [float(v % 7) for v in range(30)]
    batch = ask(problem, Evaluator(problem, cache_size=1), values)
    assert batch.F[:, 0].tolist() == [(v - 0.25) ** 2 for v in values]


def test_forget_evaluates_again():
    problem = Counting()
    evaluator = Evaluator(problem)
    ask(problem, evaluator, [1])
    evaluator.forget()
    ask(problem, evaluator, [1])
    assert problem.evaluated == [1, 1]


@pytest.mark.parametrize(("limit", "n"), [(0, 0), (1, 2), (2, 4), (3, 5), (None, 5), (9, 5)])
def test_limit_cuts_before_the_first_new_candidate_beyond_it(limit, n):
    problem = Counting()
    batch = ask(problem, Evaluator(problem), [1, 1, 2, 1, 3], limit=limit)
    assert len(batch.F) == n
    assert len(problem.evaluated) == len(batch.new) == min(3, 3 if limit is None else limit)


def test_digest_names_the_batch_and_its_order():
    problem = Counting()
    digests = {ask(problem, Evaluator(problem), v).digest for v in ([1, 2], [2, 1], [1], [1, 2, 2])}
    assert len(digests) == 4
    evaluator = Evaluator(problem)
    assert ask(problem, evaluator, [1, 2]).digest == ask(problem, evaluator, [1, 2]).digest


def test_digest_is_what_journals_hold():
    """Journals of earlier releases replay only if the same candidates have the same digest."""
    keys = [b"short", b"just sixteen ...", b"seventeen letters", b"", b"short"]
    evaluator = Evaluator(Counting())
    batch = evaluator(np.zeros((5, 1)), keys, compute=lambda X: (np.zeros((len(X), 1)), None, {}), limit=None)
    hashed = blake2b(digest_size=8)
    for key in keys[:2]:
        hashed.update(key)
    hashed.update(blake2b(keys[2], digest_size=16).digest())
    hashed.update(keys[4])
    assert batch.digest == hashed.hexdigest()
    assert batch.new.tolist() == [0, 1, 2, 3]


def test_known_candidates_are_told_by_their_fingerprints():
    evaluator, keys = Evaluator(Counting()), [b"a", b"b" * 40]
    assert evaluator.n_known == 0 and not evaluator.is_known(b"a")
    evaluator(np.zeros((2, 1)), keys, compute=lambda X: (np.zeros((len(X), 1)), None, {}), limit=None)
    assert evaluator.n_known == 2
    assert evaluator.is_known(b"a") and evaluator.is_known(b"b" * 40) and not evaluator.is_known(b"b" * 41)
    evaluator.forget()
    assert evaluator.n_known == 0 and not evaluator.is_known(b"a")


def test_failing_candidates_are_isolated_with_their_reasons():
    X = np.full((6, 3), 0.5)
    X[1, 1], X[3, 2], X[4, 2] = 0.95, 0.95, 0.05
    F, G, reasons = evaluate_batch(Flaky(), X)
    assert G is None
    assert np.isnan(F).all(axis=1).tolist() == [False, True, False, True, True, False]
    assert reasons == {
        1: "ArithmeticError: second variable above 0.9",
        3: "not finite: a = nan",
        4: "not finite: b = inf",
    }
    assert (F[[0, 2, 5]] == [1.5, 0.75]).all()


def test_single_candidate_that_fails_has_no_constraints_where_the_problem_has_none():
    F, G, reasons = evaluate_batch(Flaky(), np.array([[0.5, 0.95, 0.5]]))
    assert np.isnan(F).all() and G is None and list(reasons) == [0]
    F, G, reasons = evaluate_batch(Fenced(), np.array([["x", "y"]]))
    assert np.isnan(F).all() and np.isnan(G).all() and F.shape == G.shape == (1, 2)


def test_every_value_that_is_not_finite_is_named():
    X = np.array([[0.5, 0.5, 0.95], [0.5, 0.5, 0.5]])

    class Worse(Flaky):
        def evaluate(self, X):
            return np.where(X[:, 2:] > 0.9, [np.nan, -np.inf], [1.0, 2.0])

    F, _, reasons = evaluate_batch(Worse(), X)
    assert reasons == {0: "not finite: a = nan, b = -inf"}
    assert np.isnan(F[0]).all() and F[1].tolist() == [1.0, 2.0]

    class Half(Fenced):
        def evaluate(self, X):
            F, G = super().evaluate(X)
            return np.where(X[:, :1] > 1, np.inf, F), G.astype(int).tolist()

    F, G, reasons = evaluate_batch(Half(), np.array([[2.0, 1.0], [1.0, 1.0]]))
    assert reasons == {0: "not finite: a = inf, b = inf"} and np.isnan(F[0]).all()
    assert G.dtype == F.dtype == np.float64 and np.isfinite(G).all()


def test_batch_of_nothing_new_has_the_same_form():
    problem = Counting()
    evaluator = Evaluator(problem)
    ask(problem, evaluator, [1, 2])
    batch = ask(problem, evaluator, [2, 1])
    assert batch.new.dtype == np.int64 and batch.new.shape == (0,)
    assert batch.failures == {} and batch.G is None
    assert ask(problem, evaluator, []).F.shape == (0, 1)


def test_failed_duplicate_is_not_tried_again():
    problem = Flaky()
    evaluator = Evaluator(problem)
    first = ask(problem, evaluator, [[0.5, 0.95, 0.5], [0.5, 0.5, 0.5], [0.5, 0.95, 0.5]])
    assert first.failures == {0: "ArithmeticError: second variable above 0.9"}
    assert np.isnan(first.F[[0, 2]]).all()
    second = ask(problem, evaluator, [[0.5, 0.95, 0.5]])
    assert len(second.new) == 0 and not second.failures and np.isnan(second.F).all()


def test_fail_fast_raises_the_reason():
    problem = Flaky()
    with pytest.raises(EvaluationFailed, match="candidate 1 of the batch failed: not finite: a = nan"):
        ask(problem, Evaluator(problem, fail_fast=True), [[0.5, 0.5, 0.5], [0.5, 0.5, 0.95]])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda X: np.zeros(len(X)), r"shape \(1, 1\) for 1 objectives, got \(1,\)"),
        (lambda X: np.zeros((len(X), 2)), r"got \(1, 2\)"),
        (lambda X: np.zeros((2 * len(X), 1)), r"got \(2, 1\)"),
        (lambda X: None, "evaluate must return shape"),
        (lambda X: "text", "could not convert"),
        (lambda X: [[None]] * len(X), "not finite: only = nan"),
        (lambda X: (np.zeros((len(X), 1)), np.zeros((len(X), 1))), "n_ieq_constr=0"),
    ],
)
def test_wrong_shape_is_a_failure_that_says_so(values, message):
    class Shaped(CompressionProblem):
        objectives = (Objective("only"),)

        def __init__(self):
            super().__init__(n_var=1, xl=0, xu=1)

        def evaluate(self, X):
            return values(X)

    F, _, reasons = evaluate_batch(Shaped(), np.zeros((3, 1)))
    assert np.isnan(F).all() and F.shape == (3, 1)
    assert len(reasons) == 3
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(reasons[0])


def test_constraints_come_with_the_objectives():
    problem = Fenced()
    X = np.array([[0.0, 2.0], [4.0, 0.0]])
    F, G, reasons = evaluate_batch(problem, X)
    assert F.shape == G.shape == (2, 2) and not reasons
    assert G.tolist() == [[-3.0, -1.0], [1.0, 1.0]]
    evaluator = Evaluator(problem)
    batch = ask(problem, evaluator, X[[0, 1, 0]])
    assert batch.G.tolist() == [[-3.0, -1.0], [1.0, 1.0], [-3.0, -1.0]]
    batch.G[:] = 99
    again = ask(problem, evaluator, [[2.0, 2.0], [4.0, 0.0], [0.0, 2.0]])
    assert again.new.tolist() == [0]
    assert again.G.tolist() == [[-1.0, -1.0], [1.0, 1.0], [-3.0, -1.0]], "values are not shared with the memory"


def test_failing_candidates_are_isolated_with_their_constraints():
    class Moody(Fenced):
        def evaluate(self, X):
            if (X[:, 0] == 1).any():
                raise ArithmeticError("one")
            return super().evaluate(X)

    F, G, reasons = evaluate_batch(Moody(), np.array([[0.0, 2.0], [1.0, 1.0], [4.0, 0.0]]))
    assert G.shape == (3, 2) and G[[0, 2]].tolist() == [[-3.0, -1.0], [1.0, 1.0]] and np.isnan(G[1]).all()
    assert np.isnan(F).any(axis=1).tolist() == [False, True, False] and list(reasons) == [1]


def test_values_that_evaluate_gave_are_copied():
    class Keeping(Bowl):
        def evaluate(self, X):
            self.given = np.where(X[:, :1] > 0, np.inf, 1.0)
            return self.given

    problem = Keeping()
    F, _, reasons = evaluate_batch(problem, np.array([[0.0] * 3, [1.0] * 3]))
    assert reasons == {1: "not finite: distance = inf"} and np.isnan(F[1, 0])
    assert problem.given.tolist() == [[1.0], [np.inf]], "the user's own array is left as it is"


def test_candidate_that_takes_too_long_is_lost_alone():
    class Slow(Bowl):
        def evaluate(self, X):
            time.sleep(60.0 * (X[:, 0] == 1).any())
            return super().evaluate(X)

    started = time.monotonic()
    F, _, reasons = evaluate_batch(Slow(), np.array([[0.0] * 3, [1.0] * 3]), seconds=1.0)
    assert time.monotonic() - started < 30
    assert np.isnan(F[:, 0]).tolist() == [False, True]
    assert list(reasons) == [1] and "took longer than 1 s" in reasons[1]


@pytest.mark.parametrize("problem", [Fenced(), Slope()], ids=["constraints", "none"])
def test_values_under_a_limit_of_time_are_those_without(problem):
    X = np.random.default_rng(1).uniform(problem.xl, problem.xu, (5, problem.n_var))
    F, G, reasons = evaluate_batch(problem, X)
    apart = evaluate_batch(problem, X, seconds=10.0)
    np.testing.assert_array_equal(apart[0], F)
    assert apart[2] == reasons == {} and (apart[1] is None) == (G is None) == (problem.n_ieq_constr == 0)
    if G is not None:
        np.testing.assert_array_equal(apart[1], G)


def test_batch_may_take_as_long_as_its_candidates_together(tmp_path):
    class Steady(Bowl):
        def evaluate(self, X):
            (tmp_path / f"{len(X)} at {time.monotonic()}").touch()
            time.sleep(0.3 * len(X))
            return super().evaluate(X)

    _, _, reasons = evaluate_batch(Steady(), np.zeros((4, 3)), seconds=1.0)
    assert reasons == {} and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda G: G[:, :1], r"evaluate must return G of shape \(1, 2\), got \(1, 1\)"),
        (lambda G: np.vstack([G, G]), r"G of shape \(1, 2\), got \(2, 2\)"),
    ],
)
def test_constraints_of_wrong_shape_are_a_failure_that_says_so(given, message):
    class Misfit(Fenced):
        def evaluate(self, X):
            F, G = super().evaluate(X)
            return F, given(G)

    F, G, reasons = evaluate_batch(Misfit(), np.zeros((2, 2)))
    assert np.isnan(F).all() and np.isnan(G).all() and G.shape == (2, 2)
    assert sorted(reasons) == [0, 1] and all(re.search(message, reason) for reason in reasons.values())


def test_missing_or_infinite_constraint_is_a_failure():
    class Unfenced(Fenced):
        def evaluate(self, X):
            F, G = super().evaluate(X)
            return F if X[0, 0] == 0 else (F, np.where(G > 0, np.inf, G))

    F, _, reasons = evaluate_batch(Unfenced(), np.zeros((2, 2)))
    assert np.isnan(F).all() and len(reasons) == 2
    F, _, reasons = evaluate_batch(Unfenced(), np.full((1, 2), 4.0))
    assert np.isnan(F).all() and reasons == {0: "not finite: a constraint"}


def test_evaluate_in_pymoos_own_form_still_works():
    problem = Slope()
    X = np.random.default_rng(0).random((5, 4))
    out = problem.evaluate(X, return_as_dictionary=True)
    assert (out["F"] == problem.evaluate(X)).all()
    assert (problem.evaluate(X, return_values_of=["F"]) == problem.evaluate(X)).all()


def test_interruption_is_no_failure(interruptible):
    class Interrupted(Bowl):
        def evaluate(self, X):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_batch(Interrupted(), np.zeros((2, 3)))

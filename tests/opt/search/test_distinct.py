"""Problems with few candidates: budgets cut to their number, searches that see all of them, matings filled up."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import sample_problems as samples
from pymoo.core.problem import Problem
from pymoo.core.variable import Binary, Choice, Integer, Real

import opt
from opt import CompressionProblem, Objective, Operators
from opt.algorithms import algorithms
from opt.problem.adapt import as_compression_problem
from opt.problem.plain_spaces import all_plain, n_plain
from opt.search.distinct import n_distinct_of

pytestmark = pytest.mark.usefixtures("no_plots")
SMALL = {"pop_size": 8, "n_offsprings": 8, "mu": 4, "lambda_": 8, "n_chains": 2, "n_proposals": 2}


class Grid(CompressionProblem):
    """Two objectives on integers; counts what it evaluates."""

    objectives = (Objective("a"), Objective("b"))

    def __init__(self, side: int = 7, n_var: int = 3) -> None:
        super().__init__(n_var=n_var, representation="integer", xl=0, xu=side - 1)
        self.seen: list[bytes] = []

    def evaluate(self, X):
        self.seen += [x.tobytes() for x in X]
        return np.column_stack([(X**2).sum(axis=1), ((X - 4) ** 2).sum(axis=1)]).astype(float)


def fitting(problem):
    return [s.name for s in algorithms().values() if s.misfit(as_compression_problem(problem)) is None]


def exact_front(problem):
    X = np.concatenate(list(problem.all_candidates()))
    F = problem.evaluate(X)
    unique = np.unique(F, axis=0)
    return {tuple(f) for f in unique if not ((unique <= f).all(axis=1) & (unique < f).any(axis=1)).any()}


@pytest.mark.parametrize("algo", fitting(Grid()))
def test_budget_beyond_all_candidates_ends_with_the_exact_front(algo, tmp_path):
    problem = Grid()
    parameters = {k: v for k, v in SMALL.items() if k in algorithms()[algo].parameters}
    run = opt.minimize(problem, algo, n_eval=5000, seed=2, out=tmp_path, **parameters)
    assert run.manifest["n_eval"] == 343 == len(set(problem.seen)) == len(problem.seen)
    assert run.manifest["stop_reason"] == "all 343 distinct candidates were evaluated, the front is exact"
    assert {tuple(f) for f in run.front[["a", "b"]].to_numpy()} == exact_front(Grid())
    again = opt.minimize(Grid(), algo, n_eval=5000, seed=2, out=tmp_path, **parameters)
    assert (run.path / "journal.jsonl").read_bytes() == (again.path / "journal.jsonl").read_bytes()


@pytest.mark.parametrize("n_eval", [100, 300])
def test_budget_below_is_left_to_the_algorithm(n_eval, tmp_path):
    run = opt.minimize(Grid(), "nsga2", n_eval=n_eval, pop_size=20, out=tmp_path)
    assert run.manifest["n_eval"] <= n_eval
    assert not any("rest" in record for record in run.journal())


def test_budget_in_generations_ends_too_when_all_are_seen(tmp_path):
    run = opt.minimize(Grid(side=2), "random", n_gen=5000, out=tmp_path)
    assert run.manifest["n_eval"] == 8 and run.manifest["n_gen"] < 20
    assert "the front is exact" in run.manifest["stop_reason"]


def test_cut_budget_is_said_and_planned_with(tmp_path, solve, monkeypatch):
    file = tmp_path / "grid.py"
    file.write_text(
        "import numpy as np\nfrom opt import CompressionProblem, Objective\n\n\n"
        "class Grid(CompressionProblem):\n    objectives = (Objective('a'), Objective('b'))\n\n"
        "    def __init__(self):\n        super().__init__(n_var=2, representation='integer', xl=0, xu=5)\n\n"
        "    def evaluate(self, X):\n        return np.column_stack([X.sum(axis=1), -X[:, 0]]).astype(float)\n"
    )
    answer = solve(file, "--algo", "sa", "--n-eval", 1000, "--out", tmp_path / "runs")
    assert answer.code == 0
    assert "there are 36 distinct candidates: --n-eval is cut to as many" in answer.out
    assert "all 36 distinct candidates were evaluated, the front is exact" in answer.out


@pytest.mark.parametrize("how", ["attribute", "class attribute", "property", "method", "plain"])
def test_problem_may_say_how_many_there_are(how, tmp_path):
    """Parity only: many vectors are one candidate, so that only the problem can know the number."""

    class Folded(Grid):
        def __init__(self):
            super().__init__(side=6, n_var=2)
            if how == "attribute":
                self.n_distinct = 4

        def fingerprint(self, x):
            return (x % 2).astype(np.int8).tobytes()

        if how == "class attribute":
            n_distinct = 4
        elif how == "property":
            n_distinct = property(lambda self: 4)
        elif how == "method":

            def n_distinct(self):
                return 4

    class Plain(Problem):
        n_distinct = 36

        def __init__(self):
            super().__init__(n_var=2, n_obj=2, xl=0, xu=5, vtype=int)

        def _evaluate(self, X, out, *args, **kwargs):
            out["F"] = np.column_stack([X[:, 0], -X[:, 1]])

    problem, number = (Plain(), 36) if how == "plain" else (Folded(), 4)
    run = opt.minimize(problem, "nsga2", n_eval=500, pop_size=6, out=tmp_path)
    assert run.manifest["n_eval"] == number
    assert run.manifest["stop_reason"].startswith(f"all {number} distinct")


@pytest.mark.parametrize("value", [0, -3, 2.5, "many", True])
def test_number_that_is_none_is_refused(value, tmp_path):
    class Odd(Grid):
        n_distinct = value

    with pytest.raises(opt.UsageError, match=r"Odd\.n_distinct must be a whole number of at least 1, or None"):
        opt.minimize(Odd(), n_eval=10, out=tmp_path)


def test_candidates_that_cannot_be_listed_are_sampled(tmp_path):
    class Own(Grid):
        n_distinct = 49

        def operators(self):
            def sampling(n, rng):
                return rng.integers(0, 7, size=(n, 2))

            return Operators(sampling, lambda A, B, rng: (A.copy(), B.copy()), lambda X, rng: X.copy())

        def __init__(self):
            super().__init__(n_var=2)

    run = opt.minimize(Own(), "nsga2", n_eval=500, pop_size=6, out=tmp_path)
    assert run.manifest["n_eval"] == 49


def test_number_that_is_too_large_ends_all_the_same(tmp_path):
    class Boasting(Grid):
        n_distinct = 50

    run = opt.minimize(Boasting(side=3, n_var=2), "random", n_eval=500, pop_size=8, out=tmp_path)
    assert run.manifest["n_eval"] == 9
    assert "no more candidates can be found, 9 of 50" in run.manifest["stop_reason"]


@pytest.mark.parametrize(("cache_size", "is_exact"), [(5, False), (7, False), (8, True)])
def test_forgetful_search_makes_no_claim(cache_size, is_exact, tmp_path):
    from opt.execution.request import SearchRequest
    from opt.execution.runner import run_search
    from opt.search.budget import Budget

    origin = {"name": "grid", "file": None, "class": "Grid", "parameters": None}
    request = SearchRequest(algo="random", parameters={"pop_size": 8}, budget=Budget(n_eval=60), cache_size=cache_size)
    run = run_search(Grid(side=2), request, origin=origin, out=tmp_path, silent=True)
    assert ("distinct" in run.manifest["stop_reason"]) == is_exact
    assert (run.manifest["n_eval"] == 8) == is_exact, "a budget that is not known to cover all is not cut"


def test_moving_objectives_are_searched_to_the_end_of_the_budget(tmp_path):
    run = opt.minimize(samples.DriftingSteps(), "nsga2", n_eval=3000, pop_size=20, out=tmp_path)
    assert run.manifest["n_eval"] == 3000


@pytest.mark.parametrize("algo", ["nsga2", "nsga3", "spea2", "sms-emoa", "ga", "deap-nsga2", "deap-ga"])
def test_mating_that_finds_nothing_is_filled_up_from_sampling(algo, tmp_path):
    class Sterile(samples.Slope):
        def operators(self):
            def sampling(n, rng):
                return rng.random((n, 4))

            return Operators(sampling, lambda A, B, rng: (A.copy(), B.copy()), lambda X, rng: X.copy())

    run = opt.minimize(Sterile(), algo, n_eval=100, pop_size=8, out=tmp_path)
    assert run.manifest["n_eval"] == 100


def test_number_of_plain_vectors():
    def count(kind, n_var, xl=None, xu=None):
        xl = None if xl is None else np.array(xl, float)
        xu = None if xu is None else np.array(xu, float)
        number = n_plain(kind, n_var, xl, xu)
        if number is not None and number < 5000:
            X = np.concatenate(list(all_plain(kind, n_var, xl, xu)))
            assert len(X) == len(np.unique(X, axis=0)) == number
        return number

    assert count("binary", 5) == 32
    assert count("permutation", 5) == math.factorial(5)
    assert count("integer", 3, [0, -2, 7], [4, 2, 7]) == 25
    assert count("real", 2, [1, 2], [1, 2]) == 1
    assert count("real", 2, [1, 2], [1, 3]) is None
    assert count("integer", 1, [0], [np.inf]) is None
    assert count("object", 1) is None
    assert count("binary", 100_000) is None and count("permutation", 100_000) is None
    assert count("binary", 63) == 2**63 and count("binary", 64) is None
    big = next(all_plain("integer", 2, np.array([0.0, 0.0]), np.array([2.0**50, 2.0**50])))
    assert big[:3].tolist() == [[0, 0], [0, 1], [0, 2]]
    permutations = np.concatenate(list(all_plain("permutation", 4, None, None)))
    assert permutations.tolist() == [list(p) for p in itertools.permutations(range(4))]


def test_number_of_mixed_values():
    class Mixed(Problem):
        def __init__(self, **variables):
            super().__init__(vars=variables, n_obj=1)

    few = Mixed(n=Integer(bounds=(1, 4)), b=Binary(), c=Choice(options=["x", "y", "z"]))
    assert n_distinct_of(as_compression_problem(few)) == 24
    assert n_distinct_of(as_compression_problem(Mixed(n=Integer(bounds=(1, 4)), r=Real(bounds=(0, 1))))) is None

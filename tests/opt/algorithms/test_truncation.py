"""Truncation: who survives, who is born, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from opt import CompressionProblem, Objective, UsageError, minimize
from opt.algorithms import build_algorithm, find_algorithm
from opt.problem import Operators
from opt.search.search_state import Silent, View


class Line(CompressionProblem):
    """Reals whose mean crossover and sampling can be told apart: sampling lies above 0.9."""

    objectives = (Objective("distance"),)

    def __init__(self):
        super().__init__(n_var=1, xl=0.0, xu=1.0)

    def evaluate(self, X):
        return np.abs(X - 0.95)

    def operators(self):
        def mean(A, B, rng):
            return (A + B) / 2, (A + B) / 2

        return Operators(lambda n, rng: 0.9 + 0.1 * rng.random((n, 1)), mean, lambda X, rng: np.zeros_like(X))


def started(**parameters):
    problem = Line()
    algorithm = build_algorithm(find_algorithm("truncation"), problem, parameters)
    algorithm.setup(View(problem, n_obj=1), seed=1, display=Silent())
    population = algorithm.ask()
    tell(problem, algorithm, population)
    return problem, algorithm


def tell(problem, algorithm, population):
    F = problem.evaluate(population.get("X"))
    for individual, f in zip(population, F, strict=True):
        individual.F, individual.CV = f, np.zeros(1)
    algorithm.tell(infills=population)


def test_the_published_shares_are_a_quarter_children_and_a_twentieth_immigrants():
    problem, algorithm = started(immigrants_from="box")
    assert len(algorithm.pop) == 20
    before = {float(x) for x in algorithm.pop.get("X")[:, 0]}
    best = sorted(before, key=lambda x: abs(x - 0.95))[:14]
    newcomers = algorithm.ask()
    assert len(newcomers) == 6
    tell(problem, algorithm, newcomers)
    after = {float(x) for x in algorithm.pop.get("X")[:, 0]}
    assert set(best) <= after and len(algorithm.pop) == 20
    assert {float(x) for x in newcomers.get("X")[:, 0]} <= after


def test_children_are_of_two_different_parents():
    _, algorithm = started(pop_size=2, children=0.5, immigrants=0.0, mutation_prob=0.0)
    a, b = algorithm.pop.get("X")[:, 0]
    for _ in range(20):
        assert algorithm._infill().get("X")[0, 0] == pytest.approx((a + b) / 2)


def test_immigrants_come_from_the_box_or_from_the_problems_sampling():
    for source, least in (("box", 0.0), ("sampling", 0.9)):
        _, algorithm = started(immigrants=0.5, children=0.0, immigrants_from=source)
        drawn = np.concatenate([algorithm._infill().get("X") for _ in range(50)])
        assert drawn.min() >= least and (drawn.min() < 0.1) == (source == "box")


def test_children_are_mutated_when_asked():
    _, algorithm = started(immigrants=0.0, mutation_prob=1.0)
    assert (algorithm._infill().get("X") == 0).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"children": 1.0}, "make a newcomer"),
        ({"children": 0.0, "immigrants": 0.0}, "make a newcomer"),
        ({"immigrants": -0.1}, "immigrants must lie between 0 and 1"),
        ({"pop_size": 1}, "pop_size"),
    ],
)
def test_shares_that_do_not_fit_are_refused(parameters, message):
    with pytest.raises(UsageError, match=message):
        started(**parameters)


def test_the_best_is_never_lost(tmp_path):
    run = minimize(Line(), "truncation", seed=3, n_gen=20, out=tmp_path, immigrants_from="box")
    best = run.history["best_distance"].cummin()
    assert best.iloc[-1] == pytest.approx(run.front["distance"].min())

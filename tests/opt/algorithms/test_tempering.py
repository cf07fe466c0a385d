"""Parallel tempering: the ladder, its tuning, and what the exchanges are for."""

from __future__ import annotations

import numpy as np
import pytest
import sample_problems as samples
from annealing_loop import Loop

from opt.algorithms.annealing.tempering import ladder, swap_probabilities, tuned_ladder


def test_ladder_has_equal_ratios_from_cold_to_hot():
    np.testing.assert_allclose(ladder(8.0, 1.0, 4), [1, 2, 4, 8])


def test_swap_probability_is_one_where_the_hotter_rung_is_better_and_else_boltzmanns_ratio():
    F, T = np.array([3.0, 1.0, 2.0, 2.0]), np.array([0.5, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(swap_probabilities(F, T), [1.0, np.exp((1 / 1 - 1 / 2) * (1 - 2)), 1.0])
    # detailed balance: p(a, b) w(a, b) = p(b, a) w(b, a), with w the product of the two Boltzmann weights
    rng = np.random.default_rng(0)
    for _ in range(50):
        (a, b), T = rng.normal(size=2), np.sort(rng.uniform(0.1, 3, 2))
        there, back = swap_probabilities(np.array([a, b]), T)[0], swap_probabilities(np.array([b, a]), T)[0]
        assert there * np.exp(-a / T[0] - b / T[1]) == pytest.approx(back * np.exp(-b / T[0] - a / T[1]), rel=1e-9)


def test_swap_probability_survives_extremes():
    T = np.array([1e-300, 1e-10, 1.0])
    found = swap_probabilities(np.array([0.0, 1e300, -1e300]), T)
    assert found.tolist() == [0.0, 1.0]
    assert swap_probabilities(np.zeros(3), T).tolist() == [1.0, 1.0]


def test_tuned_ladder_keeps_its_ends_and_moves_rungs_to_where_exchanges_are_refused():
    T = ladder(100.0, 1.0, 5)
    np.testing.assert_allclose(tuned_ladder(T, np.full(4, 0.3)), T, rtol=1e-9)
    np.testing.assert_allclose(tuned_ladder(T, np.zeros(4)), T, rtol=1e-9)
    tuned = tuned_ladder(T, np.array([0.0, 0.0, 0.8, 0.0]))
    assert tuned[0] == T[0] and tuned[-1] == T[-1] and (np.diff(tuned) > 0).all()
    assert ((tuned[1:-1] > T[2]) & (tuned[1:-1] < T[3])).all()


def test_tuning_makes_neighbours_exchange_alike():
    """A landscape that freezes at one temperature: a ladder of equal ratios has a gap there."""

    class Funnel(samples.Bowl):
        def evaluate(self, X):
            return 10 * np.log(1.0 + super().evaluate(X))

    def spread(tune):
        taken, n_gen = np.zeros((0, 7)), 0

        def after(algorithm):
            nonlocal taken, n_gen
            n_gen += 1
            if algorithm.ladder is not None and n_gen > 500:
                F = np.array([p.F[0] for p in algorithm.pop])
                taken = np.vstack([taken, swap_probabilities(F, algorithm.ladder)])

        Loop(
            Funnel(n_var=6),
            "parallel-tempering",
            n_gen=1100,
            n_chains=8,
            start_temperature=20.0,
            end_ratio=0.005,
            tune=tune,
            after=after,
        ).run()
        return taken.mean(axis=0)

    tuned, plain = spread(True), spread(False)
    assert tuned.min() > plain.min() + 0.05
    assert tuned.std() < 0.7 * plain.std()


def test_ladder_and_its_exchanges_are_in_the_trace():
    loop = Loop(samples.Bowl(), "parallel-tempering", n_gen=60, n_chains=4, end_ratio=0.01, swap_steps=2).run()
    rows = loop.rows[2:]
    assert all(row["hottest"] == pytest.approx(100 * row["temperature"]) for row in rows)
    swaps = np.array([row["swaps"] for row in rows])
    assert np.isnan(swaps).sum() == pytest.approx(len(rows) / 2, abs=1)
    assert set(np.unique(swaps[~np.isnan(swaps)])) <= {0.0, 0.5, 1.0}
    assert np.isnan(loop.rows[0]["hottest"]) and np.isnan(loop.rows[1]["swaps"])


def test_hot_rungs_take_larger_steps():
    loop = Loop(samples.Bowl(n_var=4), "parallel-tempering", n_gen=300, n_chains=6, moves="coordinate").run()
    mixture = loop.algorithm.mixture
    steps = mixture.steps.draw(np.zeros(6, dtype=int), np.arange(6), 0, None)
    assert steps[-1] > 3 * steps[0]

"""Sampling, crossover and mutation of thresholds: one suite over all of them, then each one's own behaviour."""

from __future__ import annotations

import numpy as np
import pytest

from operators.thresholds import (
    BlendCrossover,
    GaussianMutation,
    LogMutation,
    LogSpacedSampling,
    MeanCrossover,
    SeededSampling,
    SimulatedBinaryCrossover,
    StratifiedSampling,
    UniformSampling,
)

XL, XU = np.array([1e-6, 0.5, 2.0]), np.array([1.0, 0.5, 7.0])

SAMPLINGS = {
    "log": LogSpacedSampling,
    "stratified": StratifiedSampling,
    "some variables": lambda xl, xu: StratifiedSampling(xl, xu, active=0.5),
    "uniform": UniformSampling,
    "seeded": lambda xl, xu: SeededSampling(np.array([xl, xu]), UniformSampling(xl, xu)),
}
CROSSOVERS = {
    "blend": BlendCrossover,
    "mean": lambda xl, xu: MeanCrossover(),
    "sbx": SimulatedBinaryCrossover,
}
MUTATIONS = {
    "gaussian": GaussianMutation,
    "gaussian of sizes": lambda xl, xu: GaussianMutation(xl, xu, smallest=np.array([0.01, 0.02, 5.0])),
    "log": LogMutation,
}


def frozen(X):
    X.setflags(write=False)
    return X


def check(X, n):
    assert X.shape == (n, 3) and X.dtype == np.float64
    assert (X >= XL).all() and (X <= XU).all()


@pytest.mark.parametrize("name", SAMPLINGS)
@pytest.mark.parametrize("n", [1, 2, 3, 20])
def test_sampling_conforms(name, n):
    sampling = SAMPLINGS[name](XL, XU)
    X = sampling(n, np.random.default_rng(1))
    check(X, n)
    np.testing.assert_array_equal(X, sampling(n, np.random.default_rng(1)))


@pytest.mark.parametrize("name", CROSSOVERS)
def test_crossover_conforms(name):
    crossover = CROSSOVERS[name](XL, XU)
    A, B = (frozen(UniformSampling(XL, XU)(200, np.random.default_rng(seed))) for seed in (1, 2))
    C, D = crossover(A, B, np.random.default_rng(3))
    check(C, 200)
    check(D, 200)
    assert C is not D and not np.shares_memory(C, D) and not np.shares_memory(C, A)
    again = crossover(A, B, np.random.default_rng(3))
    np.testing.assert_array_equal(np.stack([C, D]), np.stack(again))


@pytest.mark.parametrize("name", CROSSOVERS)
def test_crossover_of_equal_parents_gives_them_back(name):
    A = frozen(UniformSampling(XL, XU)(20, np.random.default_rng(1)))
    for child in CROSSOVERS[name](XL, XU)(A, A, np.random.default_rng(2)):
        np.testing.assert_allclose(child, A, rtol=1e-15)


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_conforms(name):
    mutation = MUTATIONS[name](XL, XU)
    X = frozen(UniformSampling(XL, XU)(300, np.random.default_rng(1)))
    moved = mutation(X, np.random.default_rng(2))
    check(moved, 300)
    np.testing.assert_array_equal(moved, mutation(X, np.random.default_rng(2)))
    # of the three variables one has no room to move
    assert 0.5 < (moved != X).any(axis=1).mean() <= 1
    np.testing.assert_array_equal(moved[:, 1], 0.5)


def test_log_spaced_sampling_is_the_published_first_population():
    X = LogSpacedSampling(np.array([1e-6]), np.array([1.6]))(20, np.random.default_rng(0))[:, 0]
    assert X[0] == 1e-6 and X[1] == pytest.approx(0.1) and X[-1] == 1.6
    np.testing.assert_allclose(np.diff(np.log(X[1:])), np.log(16) / 18)


def test_stratified_sampling_fills_every_stratum_once():
    X = StratifiedSampling(np.zeros(4), np.ones(4))(50, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(np.floor(X * 50), axis=0), np.tile(np.arange(50)[:, None], (1, 4)))


def test_stratified_sampling_leaves_some_variables_but_never_all():
    X = StratifiedSampling(np.zeros(4), np.ones(4), active=0.3)(2000, np.random.default_rng(0))
    n_active = (X > 0).sum(axis=1)
    assert n_active.min() == 1 and n_active.max() == 4
    one = StratifiedSampling(np.zeros(1), np.ones(1), active=0.3)(50, np.random.default_rng(0))
    assert (one > 0).all()


def test_seeded_sampling_begins_with_known_candidates_spread_evenly():
    known = np.arange(101.0)[:, None]
    sampling = SeededSampling(known, UniformSampling(np.full(1, 200.0), np.full(1, 300.0)))
    X = sampling(8, np.random.default_rng(0))[:, 0]
    assert X[:6].tolist() == [0, 20, 40, 60, 80, 100] and (X[6:] >= 200).all()
    assert len(sampling(400, np.random.default_rng(0))) == 400


def test_mean_crossover_is_the_mean():
    C, D = MeanCrossover()(np.array([[1.0, 2.0]]), np.array([[3.0, 6.0]]), np.random.default_rng(0))
    assert C.tolist() == D.tolist() == [[2.0, 4.0]]


@pytest.mark.parametrize(("alpha", "low", "high"), [(0.0, 2.0, 4.0), (0.5, 1.0, 5.0), (5.0, 0.0, 10.0)])
def test_blend_crossover_fills_the_widened_box(alpha, low, high):
    crossover = BlendCrossover(np.zeros(1), np.full(1, 10.0), alpha=alpha)
    C, D = crossover(np.full((4000, 1), 4.0), np.full((4000, 1), 2.0), np.random.default_rng(0))
    children = np.concatenate([C, D])
    assert children.min() == pytest.approx(low, abs=0.02) and children.max() == pytest.approx(high, abs=0.02)


def test_sbx_keeps_the_mean_and_contracts_half_of_the_time():
    crossover = SimulatedBinaryCrossover(np.full(1, -1e9), np.full(1, 1e9))
    A, B = np.full((20_000, 1), 1.0), np.full((20_000, 1), 3.0)
    C, D = crossover(A, B, np.random.default_rng(0))
    np.testing.assert_allclose((C + D) / 2, 2.0)
    spread = np.abs(C - D) / 2
    assert np.mean(spread < 1) == pytest.approx(0.5, abs=0.02)
    assert np.mean(np.sign(C - D) == np.sign(A - B)) == pytest.approx(0.5, abs=0.02)


def test_gaussian_mutation_steps_between_its_smallest_and_largest_size():
    xl, xu = np.zeros(1), np.full(1, 1000.0)
    X = np.full((5000, 1), 500.0)
    fixed = GaussianMutation(xl, xu, smallest=0.01, largest=0.01)(X, np.random.default_rng(0)) - X
    assert fixed.std() == pytest.approx(10, rel=0.05)
    mixed = GaussianMutation(xl, xu, smallest=0.001, largest=0.1)(X, np.random.default_rng(0)) - X
    assert np.median(np.abs(mixed)) < 0.7 * np.median(np.abs(fixed)) * 1.5 and np.abs(mixed).max() > 100


def test_log_mutation_multiplies():
    X = np.full((5000, 1), 0.01)
    moved = LogMutation(np.full(1, 1e-9), np.ones(1), sigma=0.2)(X, np.random.default_rng(0))
    assert np.log(moved / X).std() == pytest.approx(0.2, rel=0.05)

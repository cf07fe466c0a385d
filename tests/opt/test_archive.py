"""The archive against the definition of nondominance, pair by pair; indicators against known values."""

from __future__ import annotations

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opt.archive import Archive, hypervolume, igd_plus, nondominated, reference_point

VALUES = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 1.0 + 2**-52, 2.0, 1e300, -1e300])


@st.composite
def batches(draw):
    """Some batches of points, (n, n_obj) each, full of ties and duplicates."""
    n_obj = draw(st.integers(1, 4))
    rows = st.lists(VALUES, min_size=n_obj, max_size=n_obj)
    lists = draw(st.lists(st.lists(rows, max_size=8), min_size=1, max_size=5))
    return [np.array(batch, dtype=float).reshape(-1, n_obj) for batch in lists]


def dominates(a, b):
    return bool((a <= b).all() and (a < b).any())


def oracle(F):
    """Indices of the nondominated rows of F, of equal rows the first."""
    return [
        i
        for i, f in enumerate(F)
        if not any(dominates(g, f) for g in F) and not any((F[j] == f).all() for j in range(i))
    ]


@given(batches())
@settings(max_examples=400, deadline=None)
def test_archive_is_the_nondominated_set_of_everything_offered(parts):
    n_obj = parts[0].shape[1]
    archive = Archive(n_obj)
    everything = np.concatenate(parts)
    n = 0
    for F in parts:
        before = archive.F.copy(), archive.ids.copy()
        frozen = F.copy()
        frozen.flags.writeable = False
        changed = archive.offer(frozen, [np.array([float(n + i)]) for i in range(len(F))], n + np.arange(len(F)))
        n += len(F)
        seen = everything[:n]
        expected = oracle(seen)
        if n_obj == 1:
            expected = expected[:1]
        assert sorted(archive.ids.tolist()) == expected
        assert changed == (before[1].tolist() != archive.ids.tolist())
        # F, X and ids stay together, sorted by the first objective
        assert np.array_equal(archive.F, seen[archive.ids])
        assert [x[0] for x in archive.X] == archive.ids.tolist()
        assert (np.diff(archive.F[:, 0]) >= 0).all()
        assert len(archive) == len(archive.F) == len(archive.ids) == len(archive.X)


@given(batches())
@settings(max_examples=200, deadline=None)
def test_nondominated_is_the_definition(parts):
    F = np.concatenate(parts)
    if len(F):
        assert np.flatnonzero(nondominated(F)).tolist() == oracle(F)[: 1 if F.shape[1] == 1 else None]


def test_archive_keeps_objects_whole_and_copies_rows():
    archive = Archive(2)
    X = np.empty((2, 1), dtype=object)
    X[0, 0], X[1, 0] = (1, 2, 3), [4, 5]
    archive.offer(np.array([[0.0, 1.0], [1.0, 0.0]]), X, np.arange(2))
    assert archive.X[0][0] == (1, 2, 3) and archive.X[1][0] is X[1, 0]
    big = np.zeros((100, 50))
    archive = Archive(1)
    archive.offer(np.arange(100.0)[:, None], big, np.arange(100))
    assert archive.X[0].base is None, "one row would keep its whole batch in memory"


def test_clear_forgets_everything():
    archive = Archive(3)
    archive.offer(np.zeros((1, 3)), np.zeros((1, 2)), np.zeros(1, dtype=int))
    archive.clear()
    assert len(archive) == 0 and archive.F.shape == (0, 3)


def test_hypervolume_of_known_examples():
    assert hypervolume(np.array([[1.0, 1.0]]), np.array([3.0, 4.0])) == 6.0
    assert hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([3.0, 3.0])) == 3.0
    assert hypervolume(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), np.array([1.0, 2.0, 3.0])) == 6.0
    assert hypervolume(np.array([[2.0], [5.0]]), np.array([4.0])) == 2.0
    # what does not dominate the reference point adds nothing, a point on its border neither
    assert hypervolume(np.array([[5.0, 0.0], [3.0, 0.0]]), np.array([3.0, 3.0])) == 0.0
    assert hypervolume(np.empty((0, 2)), np.array([3.0, 3.0])) == 0.0


@pytest.mark.parametrize("n_obj", [2, 3, 4])
def test_hypervolume_and_igd_plus_are_moocores(n_obj):
    rng = np.random.default_rng(n_obj)
    F, reference = rng.random((30, n_obj)), rng.random((20, n_obj))
    assert hypervolume(F, np.full(n_obj, 1.1)) == pytest.approx(moocore.hypervolume(F, ref=[1.1] * n_obj), rel=1e-12)
    assert igd_plus(F, reference) == pytest.approx(moocore.igd_plus(F, ref=reference), rel=1e-12)
    # and by the definition, Monte Carlo and directly
    gaps = np.maximum(F[None] - reference[:, None], 0)
    assert igd_plus(F, reference) == pytest.approx(np.sqrt((gaps**2).sum(axis=2)).min(axis=1).mean())
    points = rng.random((100_000, n_obj)) * 1.1
    inside = np.zeros(len(points), dtype=bool)
    for f in F:
        inside |= (f <= points).all(axis=1)
    assert hypervolume(F, np.full(n_obj, 1.1)) == pytest.approx(inside.mean() * 1.1**n_obj, rel=0.02)


def test_igd_plus_of_one_objective():
    assert igd_plus(np.array([[3.0], [2.0]]), np.array([[0.5], [4.0]])) == 1.5
    assert igd_plus(np.array([[0.2]]), np.array([[0.5]])) == 0.0


def test_hypervolume_stays_finite():
    assert np.isfinite(hypervolume(np.full((1, 3), -1e300), np.full(3, 1e300)))
    assert np.isfinite(hypervolume(np.array([[-1.7e308]]), np.array([1.7e308])))
    assert np.isfinite(reference_point(np.array([[-1.7e308, 0.0], [1.7e308, 1.0]]), [None, None])).all()


def test_reference_point_is_what_is_stated_or_a_tenth_beyond_the_worst():
    F = np.array([[0.0, 5.0, 2.0], [10.0, 5.0, 4.0]])
    np.testing.assert_allclose(reference_point(F, [None, None, 7.0]), [11.0, 5.5, 7.0])
    np.testing.assert_allclose(reference_point(np.zeros((1, 1)), [None]), [0.1])

"""The archive against the definition of nondominance, pair by pair; indicators against known values."""

from __future__ import annotations

from fractions import Fraction

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opt.fronts.archive import (
    LARGEST,
    Archive,
    farthest_first,
    hypervolume,
    igd_plus,
    nondominated,
    normalised,
    reference_point,
)

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


def scattered(n_obj, scale, rng):
    """Points that mostly do not dominate each other, some of them twice, in steps of `scale` around some centre."""
    steps = rng.integers(-60, 61, size=(80, n_obj)).astype(float)
    steps[:, -1] = np.rint(rng.normal(0, 3, len(steps))) - steps[:, :-1].sum(axis=1)
    return rng.integers(-3, 4, size=n_obj) + scale * steps[rng.integers(0, len(steps), 100)]


@pytest.mark.parametrize("scale", [1.0, 0.09, 1e-3, 1e-7, 1e-13])
@pytest.mark.parametrize("n_obj", [2, 3, 5, 8])
def test_archive_tells_points_apart_that_lie_close_together(n_obj, scale):
    rng = np.random.default_rng(n_obj)
    F = scattered(n_obj, scale, rng)
    ids = rng.permutation(1000)[: len(F)]
    archive = Archive(n_obj)
    for start in range(0, len(F), 7):
        part = slice(start, start + 7)
        archive.offer(F[part], ids[part, None], ids[part])
        seen, of_id = F[: start + 7], dict(zip(ids.tolist(), F, strict=True))
        dominated = (seen[:, None] >= seen).all(axis=2) & (seen[:, None] > seen).any(axis=2)
        expected = np.unique(seen[~dominated.any(axis=1)], axis=0)
        np.testing.assert_array_equal(np.unique(archive.F, axis=0), expected)
        assert len(archive) == len(expected)
        np.testing.assert_array_equal(archive.F, [of_id[i] for i in archive.ids.tolist()])
        assert [int(x[0]) for x in archive.X] == archive.ids.tolist()
    assert len(archive) > 20


def test_archive_keeps_the_first_of_equals_and_their_order():
    """The order of the front's rows is a part of the run: equal first objectives stay as they were offered."""
    rng = np.random.default_rng(1)
    second = rng.permutation(100).astype(float)
    F = np.column_stack([rng.integers(0, 2, 100) / 4, second, -second])
    archive = Archive(3)
    archive.offer(F, F, np.arange(100))
    archive.offer(F, F, 100 + np.arange(100))
    assert archive.ids.tolist() == sorted(range(100), key=lambda i: (F[i, 0], i))


def test_empty_archive_has_the_shapes_and_types_of_a_full_one():
    empty, full = Archive(2), Archive(2)
    full.offer(np.zeros((1, 2)), np.zeros((1, 3)), np.zeros(1, dtype=np.int64))
    for name in ("F", "ids", "X"):
        assert getattr(empty, name).dtype == getattr(full, name).dtype
        assert getattr(empty, name).shape[1:] == getattr(full, name).shape[1:]
    assert nondominated(np.zeros((2, 1))).dtype == nondominated(np.zeros((2, 2))).dtype == bool


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
    with np.errstate(over="raise"):
        assert np.isfinite(reference_point(np.array([[-1.7e308, 0.0], [1.7e308, 1.0]]), [None, None])).all()


def exact(values):
    """The same numbers as fractions, of which no sum or product is rounded."""
    return [[Fraction(float(v)) for v in row] for row in np.atleast_2d(values)]


def as_float(value):
    """The nearest number, at most the greatest."""
    return float(max(min(value, Fraction(LARGEST)), -Fraction(LARGEST)))


@pytest.mark.parametrize("magnitude", [1.0, 1e-300, 1e160, 8e307, 1.7e308])
def test_hypervolume_of_any_magnitude_is_what_fractions_give(magnitude):
    rng = np.random.default_rng(7)
    first = np.sort(rng.uniform(-1, 1, 12))
    for other in (1.0, 1e-160, magnitude):
        F = np.column_stack([magnitude * first, other * np.sort(rng.uniform(-1, 1, 12))[::-1]])
        ref_point = np.array([magnitude, other])
        total, height = Fraction(0), Fraction(float(ref_point[1]))
        for x, y in exact(F):
            total += (Fraction(float(ref_point[0])) - x) * (height - y)
            height = y
        assert hypervolume(F, ref_point) == pytest.approx(as_float(total), rel=1e-12, abs=0)


@pytest.mark.parametrize("exponent", [-1000, -600, -30, 0, 40, 700, 1015])
@pytest.mark.parametrize("n_obj", [1, 2, 3])
def test_igd_plus_follows_the_scale_bit_by_bit(n_obj, exponent):
    rng = np.random.default_rng(n_obj)
    F, reference = rng.uniform(-1, 1, (9, n_obj)), rng.uniform(-2, 0.5, (7, n_obj))
    plain = igd_plus(F, reference)
    assert plain > 0
    assert igd_plus(np.ldexp(F, exponent), np.ldexp(reference, exponent)) == np.ldexp(plain, exponent)
    shares = np.sqrt((np.maximum(F[None] - reference[:, None], 0) ** 2).sum(axis=2)).min(axis=1)
    assert plain == pytest.approx(shares.mean() if n_obj > 1 else F.min() - reference.min(), rel=1e-12)


@pytest.mark.parametrize(("point", "reference"), [(1e200, 0.0), (3.0, -1e200), (1e-250, 0.0), (0.0, -1e-250)])
def test_igd_plus_squares_no_number_away(point, reference):
    found = igd_plus(np.full((1, 2), point), np.full((1, 2), reference))
    assert found == pytest.approx((point - reference) * 2**0.5, rel=1e-12, abs=0)


@pytest.mark.parametrize("n_obj", [1, 2])
def test_igd_plus_is_at_most_the_greatest_number(n_obj):
    F, reference = np.full((1, n_obj), 1.7e308), np.full((1, n_obj), -1.7e308)
    assert igd_plus(F, reference) == LARGEST and igd_plus(reference, F) == 0.0


@pytest.mark.parametrize("high", [1.0, 1e-320, 1e300, 1.7e308])
@pytest.mark.parametrize("low", [0.0, -1.0, -1e300, -1.7e308])
def test_normalised_is_what_fractions_give(low, high):
    rng = np.random.default_rng(3)
    # one objective with a range that is a number, one of these bounds, one without a range
    lows, highs = np.array([-3.0, low, 5.0]), np.array([4.0, high, 5.0])
    shares = np.column_stack([rng.uniform(-1, 2, 20), rng.uniform(0, 1, 20), rng.uniform(-1, 1, 20)])
    F = lows * (1 - shares) + highs * shares
    F[0, 1], F[1, 1], F[2, 1] = low, high, min(2 * high, LARGEST)
    F[:, 2] += np.arange(20)
    with np.errstate(all="raise", under="ignore"):
        unit = normalised(F, lows, highs)
    for row, ours in zip(exact(F), unit, strict=True):
        for value, a, b, share in zip(row, exact(lows)[0], exact(highs)[0], ours, strict=True):
            assert share == pytest.approx(as_float((value - a) / (b - a or 1)), rel=1e-14, abs=1e-15)
    assert unit[0, 1] == 0.0 and unit[1, 1] == 1.0
    np.testing.assert_array_equal(unit[:, 0], (F[:, 0] + 3.0) / 7.0)


def test_normalised_is_cut_at_the_greatest_number():
    unit = normalised(np.array([[1.7e308], [-1.7e308]]), np.array([0.0]), np.array([1e-3]))
    assert unit[:, 0].tolist() == [LARGEST, -LARGEST]
    far = np.array([-1.7e308])
    assert normalised(np.array([[1.7e308]]), far, far)[0, 0] == LARGEST


def test_reference_point_is_what_is_stated_or_a_tenth_beyond_the_worst():
    F = np.array([[0.0, 5.0, 2.0], [10.0, 5.0, 4.0]])
    np.testing.assert_allclose(reference_point(F, [None, None, 7.0]), [11.0, 5.5, 7.0])
    np.testing.assert_allclose(reference_point(np.zeros((1, 1)), [None]), [0.1])
    # each objective by its own range, whatever its sign
    F = np.array([[2.0, -70.0, -5.0], [10.0, -50.0, -5.0]])
    np.testing.assert_allclose(reference_point(F, [None] * 3), [10.8, -48.0, -4.5])
    assert reference_point(F, [1, 2, 3]).dtype == np.float64
    with pytest.raises(ValueError, match="shorter"):
        reference_point(F, [None])


def test_farthest_first_takes_the_ends_and_then_what_lies_farthest():
    # a front whose second objective has another unit; scaled, the points lie at 0, 0.1, 0.45, 0.6, 0.95, 1
    first = np.array([0.45, 0.0, 0.95, 0.1, 1.0, 0.6])
    F = np.column_stack([3 + first, 1000 * (1 - first) - 7])
    order = [1, 4, 0, 5, 3, 2]
    for n in range(6):
        assert farthest_first(F, n).tolist() == order[:n]
    assert farthest_first(F, 6).tolist() == farthest_first(F, 9).tolist() == list(range(6))
    assert farthest_first(F[:0], 3).tolist() == []


@pytest.mark.parametrize("units", [(1.0, 1.0), (1.0, 1000.0), (1000.0, 1.0), (1e-4, 1e-4)])
def test_farthest_first_does_not_depend_on_the_objectives_units(units):
    # by the first objective alone row 2 lies farther from the ends, by the second alone row 3
    F = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0], [0.5, 0.97, 2.0], [0.9, 0.45, 2.0], [0.05, 0.98, 2.0]])
    scaled = F * [*units, 1.0] + [5.0, -70.0, 0.0]
    assert farthest_first(scaled, 3).tolist() == [0, 1, 2]
    assert farthest_first(scaled, 4).tolist() == [0, 1, 2, 3]


def test_farthest_first_takes_the_best_of_every_objective_once_and_bears_equal_values():
    # two objectives have their best in one row, the fourth has no range
    F = np.array([[1.0, 1.0, 5.0, 2.0], [0.0, 0.0, 9.0, 2.0], [2.0, 3.0, 0.0, 2.0], [2.0, 3.0, 1.0, 2.0]])
    assert farthest_first(F, 3).tolist() == [1, 2, 0]
    assert farthest_first(F, 2).tolist() == [1, 2]
    assert farthest_first(F, 1).tolist() == [1]

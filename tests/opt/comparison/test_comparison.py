"""Indicators, attainment and traces: equal to moocore's, and on one scale for all runs."""

from __future__ import annotations

import shutil

import moocore
import numpy as np
import pytest
from pymoo.problems import get_problem

import opt
from opt.comparison.growth import Scale, trace_of
from opt.comparison.indicators import epsilon, joint_front, measure_runs, scale_of
from opt.fronts.archive import hypervolume, igd_plus
from opt.plots.attainment import attainment_surfaces
from opt.search.recorded import feasible

F1, F2 = opt.Objective("f1"), opt.Objective("f2")


@pytest.fixture
def runs(tmp_path, no_plots):
    problem = get_problem("zdt1")
    return [
        opt.minimize(problem, algo, seed=seed, n_gen=4, pop_size=12, out=tmp_path)
        for algo in ("nsga2", "random")
        for seed in (1, 2)
    ]


def test_indicators_equal_moocore_on_its_examples():
    F = np.array([[3.5, 5.5], [3.6, 4.1], [4.1, 3.2], [5.5, 1.5]])
    reference = np.array([[1, 6], [2, 5], [3, 4], [4, 3], [5, 2], [6, 1]], dtype=float)
    assert epsilon(F, reference) == moocore.epsilon_additive(F, ref=reference) == 2.5
    assert igd_plus(F, reference) == moocore.igd_plus(F, ref=reference)
    five = np.array([[5, 5], [4, 6], [2, 7], [7, 4]], dtype=float)
    assert hypervolume(five, np.array([10.0, 10.0])) == moocore.hypervolume(five, ref=10) == 38.0


def test_indicators_of_one_objective():
    assert epsilon(np.array([[0.3], [0.2]]), np.array([[0.15]])) == pytest.approx(0.05)


@pytest.mark.parametrize("name", ["input1.dat", "spherical-250-10-3d.txt.xz"])
def test_attainment_equals_moocore_on_its_data(name):
    data = moocore.get_dataset(name)
    points, sets = np.ascontiguousarray(data[:, :2]), data[:, -1]
    fronts = [points[sets == k] for k in np.unique(sets)]
    found = attainment_surfaces(fronts, (25.0, 50.0, 75.0, 100.0))
    expected = moocore.eaf(points, sets, percentiles=[25, 50, 75, 100])
    for percentile, surface in found.items():
        theirs = expected[expected[:, 2] == percentile, :2]
        np.testing.assert_array_equal(surface, theirs[np.lexsort((theirs[:, 1], theirs[:, 0]))])


def test_attainment_counts_empty_fronts_as_runs():
    found = attainment_surfaces([np.array([[1.0, 1.0]]), np.empty((0, 2))], (50.0, 100.0))
    np.testing.assert_array_equal(found[50.0], [[1.0, 1.0]])
    assert len(found[100.0]) == 0
    assert all(len(surface) == 0 for surface in attainment_surfaces([np.empty((0, 2))]).values())


def test_scale_holds_every_front_and_keeps_stated_worst_values():
    fronts = [np.array([[0.0, 4.0], [1.0, 2.0]]), np.array([[3.0, 1.0]])]
    scale = scale_of(fronts, objectives=[F1, opt.Objective("f2", worst=6.0)], exact=None)
    np.testing.assert_array_equal(scale.ideal, [0.0, 1.0])
    np.testing.assert_array_equal(scale.nadir, [3.0, 6.0])
    np.testing.assert_allclose(scale.ref_point_in_units, [3.3, 6.0])
    np.testing.assert_allclose(scale(np.array([[1.5, 6.0]])), [[0.5, 1.0]])


def test_scale_of_equal_values_divides_by_no_zero():
    scale = scale_of([np.array([[2.0, 0.0]])], objectives=[F1, F2], exact=None)
    assert np.isfinite(scale(np.array([[2.0, 0.0]]))).all()


def test_measure_runs_measures_every_run_on_one_scale(runs):
    groups = [run.manifest["algo"]["name"] for run in runs]
    found = measure_runs("ZDT1", runs, groups)
    assert found.is_exact and found.groups == ["nsga2", "random"]
    for m, run in zip(found.runs, runs, strict=True):
        F = run.front[["f1", "f2"]].to_numpy()
        normalised = found.scale(F)
        assert m.hypervolume == moocore.hypervolume(normalised, ref=found.scale.ref_point)
        assert m.igd_plus == moocore.igd_plus(normalised, ref=found.reference)
        assert m.epsilon == moocore.epsilon_additive(normalised, ref=found.reference)
        assert m.trace.hypervolume[-1] == pytest.approx(m.hypervolume, rel=1e-12)
        assert m.trace.n_eval[-1] == run.manifest["n_eval"]


def test_joint_front_credits_equal_points_to_every_front():
    one = np.array([[0.0, 3.0], [1.0, 2.0], [2.0, 2.5]])
    other = np.array([[1.0, 2.0], [3.0, 1.0], [-0.0, 3.0]])
    points, places = joint_front([one, np.empty((0, 2)), other, other[:1]])
    np.testing.assert_array_equal(points, [[0.0, 3.0], [1.0, 2.0], [3.0, 1.0]])
    assert [p.tolist() for p in places] == [[0, 1, -1], [], [1, 2, 0], [1]]


def test_joint_front_of_one_objective_credits_every_run_with_the_best():
    points, places = joint_front([np.array([[2.0]]), np.array([[1.0]]), np.array([[1.0]])])
    assert points.tolist() == [[1.0]] and [p.tolist() for p in places] == [[-1], [0], [0]]


def test_joint_front_tells_apart_what_normalising_makes_equal():
    near = np.array([[1.0, 5e-324], [np.nextafter(1.0, 0.0), 1e-323], [1e300, 0.0]])
    points, places = joint_front([near[[0]], near[[1]], near[[2]]])
    assert len(points) == 3 and [p.tolist() for p in places] == [[0], [1], [2]]


def test_joint_points_are_the_same_for_all_runs_that_have_them(runs):
    for run in runs[1:]:
        shutil.copy(runs[0].path / "front.csv", run.path / "front.csv")
    found = measure_runs("ZDT1", runs, ["a", "a", "b", "c"])
    n = len(runs[0].front)
    assert len(found.joint) == n and [m.n_joint for m in found.runs] == [n] * 4
    assert all(m.is_joint.all() for m in found.runs)
    np.testing.assert_array_equal(found.joint_owners(), np.ones((n, 3), dtype=bool))
    for m in found.runs:
        np.testing.assert_array_equal(found.scale(m.values), found.joint[m.joint_points])


def test_trace_equals_hypervolume_of_everything_until_then(runs):
    scale = Scale(ideal=np.zeros(2), nadir=np.array([1.0, 6.0]), ref_point=np.array([1.1, 1.1]))
    trace = trace_of(runs[0], scale)
    records = runs[0].journal()
    assert len(trace.n_eval) == len(records)
    for k in range(len(records)):
        F = scale(np.concatenate([feasible(record, 2) for record in records[: k + 1]]))
        inside = F[(scale.ref_point > F).all(axis=1)]
        expected = moocore.hypervolume(inside, ref=scale.ref_point) if len(inside) else 0.0
        assert trace.hypervolume[k] == pytest.approx(expected, rel=1e-12)
    assert (np.diff(trace.hypervolume) >= -1e-15).all()
    assert trace.reaches(trace.hypervolume[-1]) is not None
    assert trace.reaches(2.0) is None
    assert trace.reaches(-1.0) == (trace.n_eval[0], trace.seconds[0])


@pytest.mark.parametrize("samples", [2, 3])
def test_targets_are_found_exactly_between_samples(runs, samples, monkeypatch):
    scale = Scale(ideal=np.zeros(2), nadir=np.array([1.0, 6.0]), ref_point=np.array([1.1, 1.1]))
    whole = trace_of(runs[0], scale)
    targets = sorted({*whole.hypervolume, 0.5 * (whole.hypervolume[0] + whole.hypervolume[-1])})
    monkeypatch.setattr("opt.comparison.growth.SAMPLES", samples)
    sparse = trace_of(runs[0], scale, targets)
    for target in targets:
        assert sparse.reaches(target) == whole.reaches(target)

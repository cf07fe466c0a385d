"""Any finite numbers can be drawn and compared: the greatest, the least, equal ones, nearly equal ones."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import opt
from opt.compare import compare
from opt.comparison.output_files import draw, write_comparison
from opt.fronts.archive import LARGEST, hypervolume, igd_plus, normalised
from opt.plots.axes_layout import few_ticks
from opt.plots.convergence import convergence_figure
from opt.plots.front_picture import front_figure
from opt.plots.number_format import Magnitude, magnitude_of, short
from opt.plots.series import series_of
from opt.plots.trace import trace_figure
from opt.runs.front_files import spread
from opt.runs.run import Run

FINITE = st.floats(allow_nan=False, allow_infinity=False)
LEAST = 5e-324


class Between(opt.CompressionProblem):
    """Objectives between two numbers, with held-out values, an exact front and references."""

    def __init__(self, low: float, high: float, n_obj: int, sense: str) -> None:
        self.objectives = tuple(opt.Objective(f"f{k}", sense if k == 0 else "minimise") for k in range(n_obj))
        super().__init__(n_var=3, xl=0.0, xu=1.0)
        self.low, self.high = low, high

    def evaluate(self, X):
        u = np.stack([X[:, 0], 1 - X[:, 0] * X[:, 1], X[:, 2]], axis=1)[:, : self.n_obj]
        with np.errstate(over="ignore", under="ignore"):
            return np.clip(self.low * (1 - u) + self.high * u, -LARGEST, LARGEST)

    def test(self, x):
        return {"f0": float(self.evaluate(x[None])[0, -1])}

    def _calc_pareto_front(self, *args, **kwargs):
        u = np.linspace(0, 1, 5)
        return self.evaluate(np.stack([u, np.ones(5), 0 * u], axis=1)) if self.n_obj == 2 else None

    def references(self):
        F = self.evaluate(np.random.default_rng(0).random((9, 3)))
        return [opt.Reference("known", F=F), opt.Reference("one", F=F[:1])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("extremes")


def runs_of(problem: Between, out: Path) -> list[Run]:
    algorithms = ("ga", "random") if problem.n_obj == 1 else ("nsga2", "random")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opt.plots.run_pictures.plot_runs", lambda runs, *, out=None: runs[0].path)
        return [opt.minimize(problem, algo, seed=seed, n_eval=24, out=out) for algo in algorithms for seed in (1, 2)]


def finished(figure: Figure) -> None:
    """Draw a figure: as many ticks as are read, and no limit that is no number."""
    FigureCanvasAgg(figure).draw()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            assert len(axis.get_majorticklocs()) < 200
            assert np.isfinite(axis.get_view_interval()).all()


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(low=FINITE, high=FINITE, n_obj=st.sampled_from([1, 2, 3]), sense=st.sampled_from(["minimise", "maximise"]))
@example(low=-LARGEST, high=LARGEST, n_obj=2, sense="maximise")
@example(low=1e307, high=LARGEST, n_obj=3, sense="minimise")
@example(low=-LARGEST, high=LARGEST, n_obj=1, sense="minimise")
@example(low=LARGEST, high=LARGEST, n_obj=2, sense="minimise")
@example(low=0.0, high=1e-320, n_obj=2, sense="minimise")
@example(low=-LEAST, high=LEAST, n_obj=3, sense="maximise")
@example(low=-0.0, high=0.0, n_obj=2, sense="maximise")
@example(low=1.0, high=1.0 + 2**-50, n_obj=2, sense="minimise")
@example(low=1e17, high=1e17 + 64, n_obj=2, sense="minimise")
@example(low=3.0, high=3.0, n_obj=1, sense="minimise")
def test_any_finite_objectives_can_be_drawn_and_compared(folder, low, high, n_obj, sense):
    runs = runs_of(Between(low, high, n_obj, sense), folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for some in (runs[:1], runs):
            finished(front_figure(series_of(some)))
            finished(convergence_figure(series_of(some)))
        verdict = compare(runs)
        for figure in draw(verdict).values():
            finished(figure)
    (comparison,) = verdict.comparisons
    for m in comparison.runs:
        assert np.isfinite(m.F).all() and math.isfinite(m.hypervolume) and math.isfinite(m.igd_plus)
    assert np.isfinite(comparison.scale.ref_point_in_units).all()


def test_pages_and_tables_hold_the_greatest_numbers(folder, tmp_path):
    runs = runs_of(Between(-LARGEST, LARGEST, 2, "minimise"), folder)
    page = write_comparison(compare(runs), tmp_path / "out")[0].read_text()
    assert "Infinity" not in page and "NaN" not in page.split('id="fronts"')[1].split("</script>")[0]


@pytest.mark.parametrize(("low", "high"), [(-LARGEST, LARGEST), (0.0, 1e-320), (1e-200, 1e200)])
def test_traces_of_any_size_are_drawn(folder, low, high):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opt.plots.run_pictures.plot_runs", lambda runs, *, out=None: runs[0].path)
        run = opt.minimize(Between(low, high, 1, "minimise"), "sa", n_eval=40, out=folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        finished(trace_figure(run))


@given(values=st.lists(FINITE, min_size=1, max_size=6), low=FINITE, high=FINITE)
@settings(max_examples=300, deadline=None)
def test_normalised_is_finite_and_keeps_the_order(values, low, high):
    low, high = min(low, high), max(low, high)
    F = np.array(sorted([*values, low, high]))[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unit = normalised(F, np.array([low]), np.array([high]))[:, 0]
        spread(np.column_stack([F, -F]), 3)
    assert np.isfinite(unit).all() and (np.diff(unit) >= 0).all()
    if low < high:
        assert unit[list(F[:, 0]).index(low)] == 0.0
        assert unit[list(F[:, 0]).index(high)] == pytest.approx(1.0)


def test_normalised_of_ordinary_numbers_is_the_plain_formula():
    rng = np.random.default_rng(0)
    F, low, high = rng.normal(size=(50, 3)), -rng.random(3), 1 + rng.random(3)
    np.testing.assert_array_equal(normalised(F, low, high), (F - low) / (high - low))
    # an objective whose range is no number spoils no digit of the others
    wide = normalised(np.column_stack([F, F[:, 0]]), np.append(low, -LARGEST), np.append(high, LARGEST))
    np.testing.assert_array_equal(wide[:, :3], (F - low) / (high - low))


@pytest.mark.parametrize(
    ("F", "ref_point", "expected"),
    [
        ([[-LARGEST, 0.0, 0.0]], [LARGEST, 1e-3, 1e-3], 2 * LARGEST * 1e-6),
        ([[-1.7e308, 1e-320, 0.0]], [LARGEST, 1e-310, 1e-310], (1.7e308 * 1e-310 + LARGEST * 1e-310) * 1e-310),
        ([[-LARGEST, -LARGEST]], [LARGEST, LARGEST], LARGEST),
        ([[1e-200, 1.0]], [2e-200, 1e200], 1.0),
    ],
)
def test_hypervolume_is_a_number_where_products_on_the_way_are_none(F, ref_point, expected):
    expected = min(float(expected), LARGEST) if math.isfinite(expected) else 2 * (LARGEST * 1e-6)
    assert hypervolume(np.array(F), np.array(ref_point)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1.0, 1e200, 5e307])
def test_igd_plus_is_in_the_objectives_units_whatever_their_size(scale):
    F, reference = np.array([[0.5, 0.0], [0.0, 0.5]]), np.array([[0.2, 0.1]])
    assert igd_plus(F * scale, reference * scale) == pytest.approx(0.3 * scale, rel=1e-12)


def test_igd_plus_is_at_most_the_greatest_number():
    assert igd_plus(np.array([[LARGEST, LARGEST]]), np.array([[-LARGEST, -LARGEST]])) == LARGEST


@given(values=st.lists(FINITE, min_size=1, max_size=5))
@settings(max_examples=300, deadline=None)
def test_magnitude_brings_any_numbers_where_they_can_be_drawn(values):
    given = np.array([*values, math.nan, math.inf])
    magnitude = magnitude_of(given)
    shown = magnitude(given[:-2])
    largest = float(np.abs(shown).max())
    assert np.isfinite(shown).all() and (largest == 0 or 1e-61 < largest < 1e61)
    assert magnitude.power or bool((shown == given[:-2]).all())


def test_magnitude_stands_in_the_label():
    assert Magnitude().label("size [B]") == "size [B]"
    assert Magnitude(308).label("size [B]") == "size [B], in 1e308"
    assert Magnitude(-320)(np.array([2e-320])) == pytest.approx([2.0], rel=1e-3)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.5, "1.5"),
        (12345.0, "12.345k"),
        (2e7, "20M"),
        (3e-7, "3e-7"),
        (1e-200, "1e-200"),
        (-2e20, "-2e20"),
    ],
)
def test_short_numbers_are_short(value, text):
    assert short(value) == text


@pytest.mark.parametrize(
    ("low", "high", "texts", "offset"),
    [
        (0.0, 1e-20, ["0", "2.5e-21", "5e-21", "7.5e-21", "1e-20"], ""),
        (1e6, 1e6 + 1e-6, ["-5e-7", "0", "5e-7"], "+1000000.0000005"),
        (-1.0, 1.0, ["-1", "-0.5", "0", "0.5", "1"], ""),
        (20000.0, 20000.2, ["20k", "20.0001k", "20.0002k"], ""),
    ],
)
def test_ticks_differ_however_near_they_are(low, high, texts, offset):
    figure = Figure()
    ax = figure.add_subplot()
    ax.set_xlim(low, high)
    few_ticks(ax, n=4)
    FigureCanvasAgg(figure).draw()
    assert [t.get_text() for t in ax.get_xticklabels()] == texts
    assert ax.xaxis.get_offset_text().get_text() == offset

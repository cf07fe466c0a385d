"""Found fronts, exact fronts and known methods are drawn by one rule, in the direction of both objectives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.figure import Figure

import opt
from opt.plots.front_picture import front_figure
from opt.plots.series import series_of
from opt.plots.stairs import draw_set

SIGNS = list(itertools.product((1.0, -1.0), repeat=2))


def corners(line) -> np.ndarray:
    """(n, 2) corners of a drawn line, the steps' own ones among them."""
    return np.column_stack(STEP_LOOKUP_MAP[line.get_drawstyle()](*line.get_data()))


def attained(points: np.ndarray, signs: tuple[float, float], x: float) -> float | None:
    """The best y that the points attain at x, by comparing with each of them."""
    better = [y for px, y in points if px * signs[0] <= x * signs[0]]
    return min(better, key=lambda y: y * signs[1]) if better else None


@pytest.mark.parametrize("signs", SIGNS)
def test_stairs_are_the_border_of_what_the_points_attain(signs):
    rng = np.random.default_rng(3)
    points = rng.random((25, 2))
    ax = Figure().add_subplot()
    draw_set(ax, points[:, 0], points[:, 1], signs=signs, stairs={"gid": "stairs"}, rest={"gid": "rest", "marker": "."})
    rest, stairs = ax.get_lines()
    assert len(rest.get_xdata()) + len(stairs.get_xdata()) == 25
    path = corners(stairs)
    assert len(path) == 2 * len(stairs.get_xdata()) - 1
    for a, b in itertools.pairwise(path):
        assert a[0] == b[0] or a[1] == b[1], "stairs go across and up only"
        if a[1] == b[1] and a[0] != b[0]:
            assert attained(points, signs, (a[0] + b[0]) / 2) == a[1]


class Half(opt.CompressionProblem):
    """Whole numbers whose exact front is known, and a method that knows some of it."""

    objectives = (opt.Objective("error"), opt.Objective("size"))

    def __init__(self) -> None:
        super().__init__(n_var=2, xl=0.0, xu=1.0)

    def evaluate(self, X):
        size = np.round(6 * X[:, 0])
        worse = self.objectives[0].sign * np.round(2 * X[:, 1])
        return np.stack([12 / (1 + size) + worse, size], axis=1) * [o.sign for o in self.objectives]

    def _calc_pareto_front(self, *args, **kwargs):
        return self.evaluate(np.stack([np.linspace(0, 1, 7), np.zeros(7)], axis=1))

    def references(self):
        X = np.array([[0.0, 0.5], [0.5, 0.0], [0.6, 1.0], [1.0, 0.0]])
        return [opt.Reference("known", X=X), opt.Reference("one", X=X[:1])]


class Maximised(Half):
    objectives = (opt.Objective("accuracy", opt.maximise), opt.Objective("speed", opt.maximise))


@pytest.mark.parametrize("problem", [Half, Maximised])
def test_found_front_lies_on_the_exact_one_where_they_agree(problem, tmp_path, no_plots):
    run = opt.minimize(problem(), "nsga2", n_gen=8, pop_size=20, out=tmp_path)
    figure = front_figure(series_of([run]))
    (ax,) = figure.axes
    found = next(line for line in ax.get_lines() if line.get_gid() == "staircase")
    references = [line for line in ax.get_lines() if line.get_gid() == "reference"]
    exact, known, one = sorted(references, key=lambda line: -len(line.get_xdata()))
    assert len(found.get_xdata()) == 7, "the search finds this small front"
    np.testing.assert_array_equal(corners(found), corners(exact))
    assert found.get_drawstyle() == exact.get_drawstyle() == known.get_drawstyle() == "steps-post"
    # of the known method's four solutions one is dominated: it is no part of the stairs
    assert len(known.get_xdata()) == 3 and len(one.get_xdata()) == 1
    assert exact.get_zorder() < found.get_zorder() and exact.get_linewidth() > 2 * found.get_linewidth()
    handles = figure.axes[0].get_legend().get_texts()
    assert [text.get_text() for text in handles] == ["front (7 solutions)", "known", "exact front", "one"]

"""Studies: one colour and legend entry a setting, medians and ranges over its seeds."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from test_plot import Accurate, One, Pruned, assert_clean, entries, lines, panels

import opt
from opt.plots.convergence import Curve, convergence_figure, spread_over
from opt.plots.front_picture import front_figure
from opt.plots.series import PALETTE, grouped, repeats, series_of
from opt.runs.run import Run

ALGORITHMS = ("nsga2", "ga", "sa", "random")


def like(run: Run, algo: str, seed: int, **parameters) -> Run:
    """A run as another one, by its manifest."""
    problem = run.manifest["problem"] | {"parameters": parameters}
    return Run(run.path, run.manifest | {"algo": {"name": algo, "parameters": {}}, "seed": seed, "problem": problem})


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> dict[str, list[Run]]:
    out = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opt.plots.run_pictures.plot_runs", lambda runs, *, out=None: runs[0].path)
        found = {}
        for problem in (Pruned, Accurate, One):
            algorithms = ("ga", "random") if problem is One else ("nsga2", "random")
            found[problem.__name__] = [
                opt.minimize(problem(), algo, seed=seed, n_eval=60, out=out)
                for algo in algorithms
                for seed in (1, 2, 3)
            ]
    return found


@pytest.fixture
def run(studies) -> Run:
    return studies["Accurate"][0]


def test_repeats_of_algorithms_are_groups(run):
    runs = [like(run, algo, seed) for algo in ALGORITHMS for seed in range(10)]
    assert repeats(runs) == [algo for algo in ALGORITHMS for _ in range(10)]
    series = series_of(runs)
    assert len({(s.colour, s.marker, s.line) for s in series}) == 4
    assert [(name, len(own)) for name, own in grouped(series).items()] == [(algo, 10) for algo in ALGORITHMS]


def test_repeats_of_settings_of_one_algorithm_are_groups(run):
    runs = [like(run, "nsga2", seed, crossover=name, merge=0.5) for name in ("block", "aligned") for seed in range(4)]
    assert set(repeats(runs)) == {"crossover=block", "crossover=aligned"}


def test_repeats_of_algorithms_and_settings_are_told_by_both(run):
    runs = [like(run, algo, seed, data=data) for algo in ("ga", "sa") for data in ("a", "b") for seed in (1, 2)]
    assert set(repeats(runs)) == {"ga data=a", "ga data=b", "sa data=a", "sa data=b"}


def test_runs_that_are_never_repeated_stay_single(run):
    assert repeats([run]) == []
    assert repeats([like(run, algo, 1) for algo in ALGORITHMS]) == []
    assert repeats([like(run, "ga", 1, p=k) for k in range(20)]) == []


def test_few_seeds_of_one_setting_stay_single_and_many_do_not(run):
    assert repeats([like(run, "ga", seed) for seed in range(len(PALETTE))]) == []
    assert repeats([like(run, "ga", seed) for seed in range(len(PALETTE) + 1)]) == ["ga"] * (len(PALETTE) + 1)


def test_algorithms_are_the_groups_where_every_run_has_a_setting_of_its_own(run):
    runs = [like(run, algo, seed, parent_seed=seed) for algo in ALGORITHMS for seed in range(5)]
    assert repeats(runs) == [algo for algo in ALGORITHMS for _ in range(5)]
    many = [like(run, algo, seed, width=w) for algo in ALGORITHMS for w in range(6) for seed in (1, 2)]
    assert set(repeats(many)) == set(ALGORITHMS)


def test_settings_that_are_written_alike_are_not_mixed(run):
    names = ("x" * 40 + "one-very-long-ending", "x" * 30 + "other" + "-very-long-ending")
    runs = [like(run, "ga", seed, data=name) for name in names for seed in (1, 2)]
    assert len(set(repeats(runs))) == 2
    with_none = [like(run, "ga", seed, **extra) for extra in ({}, {"merge": 0.1}) for seed in (1, 2)]
    assert len(set(repeats(with_none))) == 2 and all(repeats(with_none))


@pytest.mark.parametrize("name", ["Pruned", "Accurate"])
def test_front_of_a_study_has_a_median_and_a_range_a_group(studies, name):
    runs = studies[name]
    figure = front_figure(series_of(runs))
    assert_clean(figure)
    assert entries(figure)[:5] == [
        "nsga2, 3 seeds",
        "random, 3 seeds",
        "median: attained by half of the runs",
        "range: best to worst run",
        "single runs",
    ]
    for ax in panels(figure):
        medians = lines(ax, "median")
        assert [line.get_color() for line in medians] == list(PALETTE[:2])
        assert all(line.get_drawstyle() == "steps-post" for line in medians)
        bands = [c for c in ax.collections if c.get_gid() == "range"]
        assert [to_hex(c.get_facecolor()[0]).upper() for c in bands] == list(PALETTE[:2])
        assert len(lines(ax, "run")) == 6 and all(line.get_alpha() < 0.5 for line in lines(ax, "run"))
        assert not lines(ax, "staircase")


def test_median_front_is_attained_by_half_of_the_runs(studies):
    runs = studies["Accurate"][:3] + studies["Accurate"][3:]
    figure = front_figure(series_of(runs))
    ax = panels(figure)[0]
    fronts = [run.front[["size_bytes", "accuracy"]].to_numpy() for run in runs[:3]]
    median = lines(ax, "median")[0]
    # the ends of the drawn line go to the worst of all runs: between them are the surface's corners
    for x, y in zip(median.get_xdata()[1:-1], median.get_ydata()[1:-1], strict=True):
        reached = sum(bool(((front[:, 0] <= x) & (front[:, 1] >= y)).any()) for front in fronts)
        beyond = sum(bool(((front[:, 0] <= x) & (front[:, 1] > y)).any()) for front in fronts)
        assert reached >= 2 > beyond


def test_front_of_forty_runs_is_clean_with_an_entry_an_algorithm(studies):
    for name in ("Pruned", "Accurate"):
        runs = [like(studies[name][seed % 6], algo, seed) for algo in ALGORITHMS for seed in range(10)]
        series = series_of(runs)
        for figure in (front_figure(series), convergence_figure(series)):
            assert_clean(figure)
            assert entries(figure)[:4] == [f"{algo}, 10 seeds" for algo in ALGORITHMS]
            assert not [text for text in entries(figure) if "seed " in text]


def test_group_of_one_run_and_empty_fronts_are_drawn(studies, tmp_path):
    runs = studies["Accurate"]
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("history.csv", "journal.jsonl"):
        (empty / name).write_bytes((runs[0].path / name).read_bytes())
    runs[0].front.iloc[:0].to_csv(empty / "front.csv", index=False)
    series = series_of([*runs[:2], Run(empty, runs[2].manifest), runs[3]])
    figure = front_figure(series)
    assert_clean(figure)
    assert entries(figure)[:2] == ["nsga2, 3 seeds, 1 of them without a solution", "random, 1 seed"]
    assert_clean(convergence_figure(series))
    assert_clean(front_figure(series_of([Run(empty, run.manifest) for run in runs])))


def test_strip_of_a_study_has_a_place_a_group_with_its_median(studies):
    runs = studies["One"]
    figure = front_figure(series_of(runs))
    assert_clean(figure)
    (ax,) = panels(figure)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["ga, 3 seeds", "random, 3 seeds"]
    assert len(lines(ax, "front")) == 6
    for k, median in enumerate(lines(ax, "median")):
        best = [run.front["error"].min() for run in runs[3 * k : 3 * k + 3]]
        assert set(median.get_ydata()) == {np.median(best)}


def test_convergence_of_a_study_has_medians_and_ranges(studies):
    figure = convergence_figure(series_of(studies["Pruned"]))
    assert_clean(figure)
    assert entries(figure) == ["nsga2, 3 seeds", "random, 3 seeds", "median of the runs", "range: best to worst run"]
    for ax, name in zip(panels(figure)[1:], ("error", "dissimilarity", "size"), strict=True):
        best = [run.history[f"best_{name}"].min() for run in studies["Pruned"]]
        ends = [line.get_ydata()[-1] for line in lines(ax, "best")]
        np.testing.assert_allclose(ends, [np.median(best[:3]), np.median(best[3:])])
        assert len([c for c in ax.collections if c.get_gid() == "range"]) == 2


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_spread_over_runs_is_that_of_their_values_at_each_place(sign):
    curves = [
        Curve(np.array([10.0, 20.0, 30.0]), sign * np.array([5.0, 4.0, 1.0])),
        Curve(np.array([15.0, 25.0]), sign * np.array([np.nan, 2.0])),
        Curve(np.array([20.0]), sign * np.array([3.0])),
    ]
    x, best, median, worst = spread_over(curves, sign=sign)
    assert x.tolist() == [10.0, 15.0, 20.0, 25.0, 30.0]
    nan = np.nan
    np.testing.assert_array_equal(sign * best, [5.0, 5.0, 3.0, 2.0, 1.0])
    np.testing.assert_array_equal(sign * median, [nan, nan, 4.0, 3.0, 2.0])
    np.testing.assert_array_equal(sign * worst, [nan, nan, nan, 4.0, 3.0])


def test_spread_over_long_runs_is_taken_at_few_places():
    x = np.arange(1.0, 5001.0)
    places, best, _, _ = spread_over([Curve(x, 1 / x)] * 2, sign=1.0)
    assert len(places) <= 400 and places[[0, -1]].tolist() == [1.0, 5000.0] and best[-1] == 1 / 5000


def test_pictures_of_a_study_are_those_of_its_runs_in_any_order(studies):
    def drawn(figure: Figure) -> list[list[float]]:
        return [list(line.get_ydata()) for ax in panels(figure) for line in lines(ax, "median")]

    runs = studies["Accurate"]
    other = [runs[k] for k in (2, 0, 1, 4, 5, 3)]
    assert drawn(front_figure(series_of(runs))) == drawn(front_figure(series_of(other)))

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from pymoo.problems import get_problem

import opt
from opt import plot
from opt.plots.convergence import best_values, convergence_figure
from opt.plots.front_picture import front_figure, staircase
from opt.plots.run_pictures import plot_runs
from opt.plots.series import in_order, labels, series_of
from opt.runs.run import Run


class Pruned(opt.CompressionProblem):
    """Three objectives with held-out accuracy, two curves and a parent as references."""

    objectives = (
        opt.Objective("error", unit="fraction"),
        opt.Objective("dissimilarity", unit="nats"),
        opt.Objective("size", unit="fraction of parent"),
    )

    def __init__(self) -> None:
        super().__init__(n_var=4, xl=0.0, xu=1.0)

    def evaluate(self, X):
        width = X.mean(axis=1)
        error = 0.13 + 0.6 * np.exp(-9 * width) + 0.1 * X[:, 0]
        return np.stack([error, 2 * (1 - width) ** 2 + 0.3 * X[:, 1], width], axis=1)

    def test(self, x):
        return {"accuracy": 0.98 - float(self.evaluate(x[None])[0, 0])}

    def references(self):
        width = np.linspace(0.1, 0.9, 7)
        F = np.stack([0.14 + 0.9 * np.exp(-6 * width), 2 * (1 - width) ** 2 + 0.3, width], axis=1)
        held_out = [{"accuracy": 0.98 - e} for e in F[:, 0]]
        return [
            opt.Reference("L1 pruning", F=F[::-1], test=held_out[::-1]),
            opt.Reference("parent", F=np.array([[0.12, 0.0, 1.0]]), test=[{"accuracy": 0.87}]),
        ]


class Accurate(Pruned):
    objectives = (opt.Objective("accuracy", opt.maximise, unit="fraction"), opt.Objective("size_bytes", unit="B"))

    def evaluate(self, X):
        F = super().evaluate(X)
        return np.stack([F[:, 0] - 1, F[:, 2] * 2.5e6], axis=1)

    def test(self, x):
        return {"accuracy": 0.97 - float(self.evaluate(x[None])[0, 0] + 1)}

    def references(self):
        return []


class One(Pruned):
    objectives = (opt.Objective("error", unit="fraction"),)

    def evaluate(self, X):
        return super().evaluate(X)[:, :1]

    def references(self):
        return [opt.Reference("parent", F=np.array([[0.12]]))]


class Moving(Pruned):
    def begin_generation(self, n_gen):
        self.n_gen = n_gen
        return True

    def evaluate(self, X):
        return super().evaluate(X) * (1 + 0.1 * np.sin(2 * getattr(self, "n_gen", 0)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def pruned(folder) -> list[Run]:
    return [opt.minimize(Pruned(), algo, n_gen=6, out=folder, pop_size=30) for algo in ("nsga2", "ga", "random")]


@pytest.fixture(scope="module")
def zdt1(folder) -> list[Run]:
    problem = get_problem("zdt1")
    return [opt.minimize(problem, "nsga2", seed=s, n_gen=5, pop_size=20, out=folder) for s in (2, 10, 1)]


@pytest.fixture(scope="module")
def accurate(folder) -> Run:
    return opt.minimize(Accurate(), "nsga2", n_gen=5, out=folder, pop_size=20)


@pytest.fixture(scope="module")
def one(folder) -> list[Run]:
    return [opt.minimize(One(), algo, n_gen=5, out=folder) for algo in ("ga", "sa")]


@pytest.fixture
def copied(accurate, tmp_path) -> Run:
    """A run whose files a test may change."""
    return opt.load_run(shutil.copytree(accurate.path, tmp_path / "copied"))


def draw(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()
    return figure


def panels(figure: Figure) -> list:
    return [ax for ax in figure.axes if ax.get_label() != "legend"]


def legends(figure: Figure) -> list:
    return [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend() is not None)]


def entries(figure: Figure) -> list[str]:
    return [text.get_text() for legend in legends(figure) for text in legend.get_texts()]


def assert_clean(figure: Figure) -> None:
    """Nothing overlaps or leaves the picture; legends have entries; axes have few ticks."""
    draw(figure)
    renderer = figure.canvas.get_renderer()
    inside = figure.bbox.padded(1)
    boxes: list[tuple[str, Bbox]] = []
    for ax in panels(figure):
        assert 2 <= len(ax.get_xticks()) <= 12
        boxes.append(("panel", ax.get_window_extent(renderer)))
        for name in ("xlabel", "ylabel"):
            text = getattr(ax, f"get_{name}")()
            if text:
                label = getattr(ax, name[0] + "axis").label
                boxes.append((text, label.get_window_extent(renderer)))
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
            shown = [t.label1 for t in ticks if t.label1.get_visible() and t.label1.get_text()]
            boxes += [(t.get_text(), t.get_window_extent(renderer)) for t in shown]
    for legend in legends(figure):
        assert legend.get_texts()
        assert all(text.get_text() for text in legend.get_texts())
        boxes.append(("legend", legend.get_window_extent(renderer)))
    boxes.append((figure._suptitle.get_text(), figure._suptitle.get_window_extent(renderer)))
    for k, (name, box) in enumerate(boxes):
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1, f"{name!r} leaves the picture"
        assert inside.y0 <= box.y0 and box.y1 <= inside.y1, f"{name!r} leaves the picture"
        for other, its in boxes[k + 1 :]:
            assert not box.padded(-0.6).overlaps(its.padded(-0.6)), f"{name!r} overlaps {other!r}"


def lines(ax, gid: str) -> list:
    return [line for line in ax.get_lines() if line.get_gid() == gid]


def test_front_three_objectives_draws_every_pair_and_the_held_out_values(pruned):
    figure = front_figure(series_of(pruned[:1]))
    assert_clean(figure)
    assert len(panels(figure)) == 5
    labels_x = [ax.get_xlabel() for ax in panels(figure)]
    labels_y = [ax.get_ylabel() for ax in panels(figure)]
    assert labels_x == ["", "", "", "dissimilarity [nats]", "size [fraction of parent]"]
    assert labels_y == ["size [fraction of parent]", "error [fraction]", "", "test error [fraction]", ""]
    assert entries(figure) == [f"front ({len(pruned[0].front)} solutions)", "L1 pruning", "parent"]


def test_front_test_panel_shows_one_minus_test_accuracy(pruned):
    ax = panels(front_figure(series_of(pruned[:1])))[-1]
    drawn = np.concatenate([line.get_ydata() for gid in ("front", "staircase") for line in lines(ax, gid)])
    np.testing.assert_allclose(np.sort(drawn), np.sort(1 - pruned[0].front["test_accuracy"]))


def test_front_draws_every_solution_once_in_each_panel(pruned):
    for ax in panels(front_figure(series_of(pruned))):
        n = [len(line.get_xdata()) for gid in ("front", "staircase") for line in lines(ax, gid)]
        assert sum(n) == sum(len(run.front) for run in pruned)


def test_front_references_are_sorted_curves_and_single_marks(pruned):
    for ax in panels(front_figure(series_of(pruned))):
        curve, parent = lines(ax, "reference")
        assert (np.diff(curve.get_xdata()) > 0).all()
        assert curve.is_dashed() and curve.get_marker() != "None"
        assert len(parent.get_xdata()) == 1 and parent.get_marker() == "*"


def test_front_of_several_runs_labels_what_differs(pruned, zdt1):
    figure = front_figure(series_of(pruned))
    assert_clean(figure)
    assert entries(figure) == ["nsga2", "ga", "random", "L1 pruning", "parent"]
    assert labels(zdt1) == ["seed 2", "seed 10", "seed 1"]
    assert labels([pruned[0], pruned[0]]) == [str(pruned[0].path)] * 2


def test_front_of_six_runs_is_clean(pruned, folder):
    more = [opt.minimize(Pruned(), "deap-nsga2", seed=s, n_gen=3, out=folder) for s in (1, 2, 3)]
    series = series_of(in_order([*pruned, *more]))
    assert_clean(front_figure(series))
    assert_clean(convergence_figure(series))
    assert len({(s.colour, s.marker) for s in series}) == 4
    assert entries(front_figure(series))[:4] == ["nsga2, 1 seed", "ga, 1 seed", "random, 1 seed", "deap-nsga2, 3 seeds"]


def test_front_two_objectives_with_a_maximised_one(accurate):
    figure = front_figure(series_of([accurate]))
    assert_clean(figure)
    search, held_out = panels(figure)
    assert (search.get_xlabel(), search.get_ylabel()) == ("size_bytes [B]", "accuracy [fraction]")
    assert held_out.get_ylabel() == "test accuracy [fraction]"
    (stairs,) = lines(search, "staircase")
    assert (np.diff(stairs.get_xdata()) > 0).all() and (np.diff(stairs.get_ydata()) > 0).all()
    assert search.get_ylim()[0] < search.get_ylim()[1]
    assert "more accuracy" in figure._suptitle.get_text()


def test_front_one_objective_is_a_strip(one):
    figure = front_figure(series_of(one))
    assert_clean(figure)
    (ax,) = panels(figure)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["ga", "sa"]
    assert len(lines(ax, "front")) == len(lines(ax, "test")) == 2
    assert "parent" in entries(figure)


def test_front_exact_front_of_three_objectives_is_drawn_as_a_found_one(folder):
    run = opt.minimize(get_problem("dtlz2"), "nsga2", n_gen=3, out=folder)
    figure = front_figure(series_of([run]))
    assert_clean(figure)
    exact = get_problem("dtlz2").pareto_front()
    for ax in panels(figure):
        for gid, n in (("reference", len(exact)), ("staircase", len(run.front))):
            (stairs,) = lines(ax, gid)
            (rest,) = lines(ax, "reference rest" if gid == "reference" else "front")
            assert stairs.get_drawstyle() == "steps-post" and rest.get_linestyle() == "None"
            assert len(stairs.get_xdata()) + len(rest.get_xdata()) == n


@pytest.mark.parametrize("n", [0, 1, 3000])
def test_front_of_any_length_is_clean(copied, n):
    rng = np.random.default_rng(0)
    accuracy = np.sort(rng.random(n))
    rows = {"id": [f"e{i:06d}" for i in range(n)], "accuracy": accuracy, "size_bytes": accuracy**2 * 1e6}
    pd.DataFrame({**rows, "test_accuracy": accuracy + 0.01}).to_csv(copied.path / "front.csv", index=False)
    figure = front_figure(series_of([copied]))
    assert_clean(figure)
    texts = [text.get_text() for ax in panels(figure) for text in ax.texts]
    assert any("empty front" in text for text in texts) == (n == 0)
    expected = {0: "nsga2 seed 1 (empty front)", 1: "front (1 solution)", 3000: "front (3000 solutions)"}
    assert entries(figure) == [expected[n]]


def test_front_leaves_out_solutions_without_a_test_value(copied):
    front = copied.front
    front.loc[0, "test_accuracy"] = np.nan
    front.to_csv(copied.path / "front.csv", index=False)
    search, held_out = panels(front_figure(series_of([copied])))
    count = [
        sum(len(x.get_xdata()) for gid in ("front", "staircase") for x in lines(ax, gid)) for ax in (search, held_out)
    ]
    assert count == [len(front), len(front) - 1]


@pytest.mark.parametrize(
    ("size", "kind", "ticks"),
    [
        (np.linspace(0.001, 1, 40), "linear", None),
        (np.geomspace(0.02, 1, 40), "log", ["0.02", "0.05", "0.1", "0.2", "0.5", "1"]),
        (np.geomspace(0.02, 1, 7), "linear", None),
        (np.append(np.geomspace(1e-7, 1e-2, 40), 1.0), "symlog", None),
        (np.append(np.zeros(30), [5e-3, 1.0]), "linear", None),
        (np.geomspace(3, 5e6, 40), "symlog", ["0", "100", "1000", "10k", "100k", "1M"]),
    ],
)
def test_front_takes_a_logarithmic_scale_where_it_crowds(copied, size, kind, ticks):
    ids = [f"e{i:06d}" for i in range(len(size))]
    accuracy = np.linspace(0.2, 0.9, len(size))
    pd.DataFrame({"id": ids, "accuracy": accuracy, "size_bytes": size}).to_csv(copied.path / "front.csv", index=False)
    figure = front_figure(series_of([copied]))
    assert_clean(figure)
    (ax,) = panels(figure)
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", kind)
    low, high = ax.get_ylim()
    shown = [t.get_text() for t in ax.get_yticklabels() if low <= t.get_position()[1] <= high]
    assert ticks is None or shown == ticks


def test_references_that_several_runs_bring_alike_are_drawn_once(pruned):
    for ax in panels(front_figure(series_of(pruned))):
        assert len(lines(ax, "reference")) == 2


def test_staircase_is_the_nondominated_set_in_order():
    x = np.array([3.0, 1.0, 2.0, 2.5, 1.0])
    y = np.array([1.0, 3.0, 2.0, 2.5, 4.0])
    assert staircase(x, y).tolist() == [1, 2, 0]
    assert staircase(x[:0], y[:0]).tolist() == []


def test_long_labels_and_titles_stay_clear_of_the_panels(zdt1, pruned):
    for runs in (zdt1, pruned):
        renamed = [
            Run(run.path, run.manifest | {"algo": {"name": f"an-algorithm-with-a-long-name-{k}"}})
            for k, run in enumerate(runs)
        ]
        series = series_of(renamed)
        assert_clean(front_figure(series))
        assert_clean(convergence_figure(series))


def test_many_settings_have_a_long_legend(zdt1, pruned):
    for runs in (zdt1, pruned):
        manifest = runs[0].manifest
        renamed = [
            Run(runs[0].path, manifest | {"algo": {"name": manifest["algo"]["name"], "parameters": {"p": k}}})
            for k in range(24)
        ]
        series = series_of(renamed)
        assert_clean(front_figure(series))
        assert_clean(convergence_figure(series))
        assert len({(s.colour, s.marker, s.line) for s in series}) == 24


def test_convergence_of_one_run_has_best_mean_and_worst(pruned):
    figure = convergence_figure(series_of(pruned[:1]))
    assert_clean(figure)
    assert [ax.get_ylabel() for ax in panels(figure)] == ["hypervolume", *(o.label for o in pruned[0].objectives)]
    assert entries(figure) == ["best so far", "mean of the generation", "mean to worst"]
    for ax in panels(figure)[1:]:
        (best,) = lines(ax, "best")
        assert (np.diff(best.get_ydata()) <= 0).all()
        assert len(lines(ax, "mean")) == 1 and len(ax.collections) == 1


def test_convergence_of_several_runs_has_their_best_only(pruned):
    figure = convergence_figure(series_of(pruned))
    assert_clean(figure)
    assert entries(figure) == ["nsga2", "ga", "random"]
    for ax in panels(figure):
        assert len(ax.get_lines()) == 3 and not ax.collections


def test_convergence_compares_hypervolume_to_one_reference_point(zdt1):
    assert zdt1[0].manifest["ref_point"] != zdt1[1].manifest["ref_point"]
    ax = panels(convergence_figure(series_of(zdt1)))[0]
    assert ax.get_ylabel() == "hypervolume (common reference)"
    common = np.max([run.manifest["ref_point"] for run in zdt1], axis=0)
    for run, line in zip(zdt1, lines(ax, "best"), strict=True):
        F = run.front[["f1", "f2"]].to_numpy()
        assert line.get_ydata()[-1] == pytest.approx(opt.fronts.archive.hypervolume(F, common), rel=1e-9)
        assert line.get_xdata()[-1] == run.manifest["n_eval"]


def test_convergence_draws_a_falling_hypervolume_as_it_is(folder):
    run = opt.minimize(Moving(), "nsga2", n_gen=6, out=folder, pop_size=20)
    figure = convergence_figure(series_of([run]))
    assert_clean(figure)
    (line,) = lines(panels(figure)[0], "best")
    np.testing.assert_array_equal(line.get_ydata(), run.history["hypervolume"])
    assert (np.diff(line.get_ydata()) < 0).any()
    assert entries(figure)[0] == "best of the generation"


def test_convergence_tolerates_generations_that_all_failed(copied):
    history = copied.history
    history.loc[1, [c for c in history if c.split("_")[0] in ("best", "mean", "worst")]] = np.nan
    history.to_csv(copied.path / "history.csv", index=False)
    assert_clean(convergence_figure(series_of([copied])))
    best = best_values(history, copied.objectives[0], moving=False)
    assert best[1] == best[0]


def test_convergence_of_a_single_generation_shows_a_mark(folder):
    run = opt.minimize(get_problem("zdt1"), "nsga2", n_gen=1, out=folder)
    figure = convergence_figure(series_of([run]))
    assert_clean(figure)
    assert all(lines(ax, "best")[0].get_marker() == "o" for ax in panels(figure))


def test_runs_of_different_problems_are_refused(pruned, zdt1, accurate, copied):
    with pytest.raises(opt.UsageError, match=r"is of problem .* and .* of .*; plot them apart"):
        plot_runs([pruned[0], zdt1[0]])
    copied.manifest["objectives"][1]["unit"] = "kB"
    with pytest.raises(opt.UsageError, match=r"size_bytes \[B\].*size_bytes \[kB\]"):
        plot_runs([accurate, copied])
    with pytest.raises(opt.UsageError, match="at least one run"):
        plot_runs([])


def test_plot_runs_writes_into_the_run_or_beside_several(copied, zdt1):
    shutil.rmtree(copied.path / "plots")
    assert plot_runs([copied]) == copied.path / "plots" / "front.png"
    assert sorted(p.name for p in (copied.path / "plots").iterdir()) == ["convergence.png", "front.png"]
    path = plot_runs(zdt1)
    assert path == zdt1[0].path.parent / "plots" / "zdt1-seed-1-seed-2-seed-10-front.png"
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(("suffix", "head"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_main_writes_any_format_and_prints_both_files(accurate, tmp_path, capsys, suffix, head):
    out = tmp_path / "new" / f"picture.{suffix}"
    assert plot.main([str(accurate.path), str(accurate.path), "--out", str(out)]) == 0
    second = out.with_name(f"picture-convergence.{suffix}")
    assert capsys.readouterr().out.splitlines() == [f"wrote {out}", f"wrote {second}"]
    assert out.read_bytes().startswith(head) and second.read_bytes().startswith(head)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RUN"),
        (["nowhere"], "nowhere is not a run directory: it does not exist"),
        (["RUN", "--otu", "x.png"], "unknown option '--otu'; did you mean '--out'?"),
        (["RUN", "--out", "x.txt"], "png.*got '.txt'"),
        (["RUN", "--out", "x"], "got none"),
        (["RUN", "--out", "RUN/manifest.json/x.png"], "cannot write"),
    ],
)
def test_main_refuses_bad_input_in_one_line(accurate, arguments, message):
    arguments = [a.replace("RUN", str(accurate.path)) for a in arguments]
    with pytest.raises(opt.UsageError, match=message) as caught:
        plot.main(arguments)
    assert "\n" not in str(caught.value)


def test_plot_of_a_run_without_front_says_how_to_finish_it(copied):
    (copied.path / "front.csv").unlink()
    with pytest.raises(opt.UsageError, match=r"front\.csv is missing.*--resume"):
        plot_runs([copied])

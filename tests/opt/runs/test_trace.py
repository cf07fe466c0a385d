"""trace.csv: written, checked, the same after a kill, drawn."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import sample_problems as samples
from matplotlib.backends.backend_agg import FigureCanvasAgg

import opt
from opt import UsageError, show
from opt.files.row_file import RowFile
from opt.plots.run_pictures import write_plots
from opt.plots.trace import trace_figure
from opt.runs.run import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("traced")


@pytest.fixture(scope="module")
def runs(folder) -> dict[str, Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opt.plots.run_pictures.plot_runs", lambda runs, *, out=None: runs[0].path)
        return {
            "bowl": opt.minimize(samples.Bowl(), "sa", n_eval=400, n_chains=4, restarts=1, out=folder),
            "slope": opt.minimize(samples.Slope(), "parallel-tempering", n_gen=40, n_chains=4, out=folder),
            "words": opt.minimize(samples.Words(), "sa", n_gen=30, n_chains=4, out=folder),
            "lagging": opt.minimize(samples.Switches(), "sa-lagging", n_gen=150, out=folder),
        }


@pytest.fixture
def run(runs, tmp_path) -> Run:
    return opt.load_run(shutil.copytree(runs["bowl"].path, tmp_path / runs["bowl"].path.name))


def cut(run: Run, target, n_records: int) -> None:
    """A copy of the run as a kill after n_records leaves it, with half a row at the end of its trace."""
    shutil.copytree(run.path, target)
    lines = (run.path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (target / "journal.jsonl").write_bytes(b"".join(lines[: n_records + 1]))
    rows = (run.path / "trace.csv").read_text().splitlines(keepends=True)
    (target / "trace.csv").write_text("".join(rows[: n_records + 1])[:-9])
    (target / "manifest.json").write_text(json.dumps(run.manifest | {"status": "running"}))


def test_trace_has_a_row_a_generation_with_the_journals_counts(runs):
    for run in runs.values():
        trace, records = run.trace, run.journal()
        # a last batch that the budget cut short was not judged
        assert len(records) - 1 <= len(trace) <= len(records)
        counted = np.cumsum([r["new"] for r in records])[: len(trace)]
        assert (
            trace["n_gen"].tolist() == list(range(1, len(trace) + 1)) and trace["n_eval"].tolist() == counted.tolist()
        )
    assert set(runs["bowl"].trace["phase"]) == {"start", "calibrate", "step", "restart"}
    F = np.concatenate([r["F"] for r in runs["bowl"].journal()])
    assert runs["bowl"].trace["best"].iloc[-1] <= F.min() * (1 + 1e-9)
    assert opt.minimize(samples.Bowl(), "ga", n_gen=2, pop_size=4, out=runs["bowl"].path.parent / "plain").trace is None


@pytest.mark.parametrize("name", ["bowl", "slope", "words", "lagging"])
def test_trace_of_a_resumed_run_is_the_same_to_the_byte(runs, name, tmp_path, no_plots):
    whole = runs[name]
    problem = {"bowl": samples.Bowl, "slope": samples.Slope, "words": samples.Words, "lagging": samples.Switches}[name]
    for n_records in (0, 1, 9, 20):
        target = tmp_path / str(n_records)
        cut(whole, target, n_records)
        opt.minimize(problem(), resume=target)
        for file in ("trace.csv", "journal.jsonl", "front.csv"):
            assert (target / file).read_bytes() == (whole.path / file).read_bytes()


def test_budget_in_seconds_cools_over_them_and_replays(tmp_path, no_plots):
    problem = samples.Slope(nap=0.004)
    whole = opt.minimize(problem, "sa", time=0.6, n_chains=4, out=tmp_path)
    trace = whole.trace
    spent = [r["spent"] for r in whole.journal()]
    assert spent[0] == 0.0 and (np.diff(spent) > 0).all() and spent[-1] <= 1.0
    temperature = trace["temperature"].dropna().to_numpy()
    assert (np.diff(temperature) <= 0).all()
    assert temperature[-1] < 0.02 * temperature[0]
    cut(whole, tmp_path / "cut", 10)
    resumed = opt.minimize(problem, resume=tmp_path / "cut")
    assert resumed.status == "finished"
    kept = (whole.path / "trace.csv").read_text().splitlines()[:11]
    assert (tmp_path / "cut" / "trace.csv").read_text().splitlines()[:11] == kept


@pytest.mark.parametrize("name", ["bowl", "slope", "words", "lagging"])
def test_check_of_a_sound_trace_is_fine(runs, name, capsys):
    assert show.main([str(runs[name].path), "--check"]) == 0
    assert "ok     trace" in capsys.readouterr().out


def alter(change):
    def damage(run: Run) -> None:
        trace = run.trace
        changed = change(trace)
        (trace if changed is None else changed).to_csv(run.path / "trace.csv", index=False)

    return damage


def shift(trace):
    trace.loc[5:, "n_eval"] += 1


def improve(trace):
    trace["best"] *= 0.99


def worsen(trace):
    trace.loc[len(trace) - 1, "best"] *= 2


def accept(trace):
    trace.loc[4, "accepted_coordinate"] = 99


@pytest.mark.parametrize(
    "change",
    [
        shift,
        improve,
        worsen,
        accept,
        lambda t: t.drop(columns="best"),
        lambda t: t.drop(index=3),
        lambda t: t.iloc[:20],
    ],
)
def test_check_finds_damage_in_a_trace(run, change, capsys):
    alter(change)(run)
    assert show.main([str(run.path), "--check"]) == 1
    assert "wrong  trace" in capsys.readouterr().out


def test_values_that_change_their_meaning_void_the_best(tmp_path, no_plots, capsys):
    for algo in ("sa", "sa-lagging", "parallel-tempering"):
        run = opt.minimize(samples.Drifting(), algo, n_gen=12, n_chains=4, out=tmp_path)
        assert np.isfinite(run.trace["best"]).all() and not run.is_stationary
        assert show.main([str(run.path), "--check"]) == 0


def lines(figure, gid: str) -> list:
    return [line for ax in figure.axes for line in ax.get_lines() if line.get_gid() == gid]


def test_figure_shows_value_and_distance_on_two_axes_in_two_colours(runs):
    figure = trace_figure(runs["bowl"])
    FigureCanvasAgg(figure).draw()
    trace = runs["bowl"].trace
    (best,), (distance,), (current,) = (lines(figure, gid) for gid in ("best", "distance", "current"))
    assert best.get_ydata().tolist() == trace["best"].tolist() and best.get_xdata().tolist() == trace["n_eval"].tolist()
    assert distance.axes is not best.axes and distance.get_color() != best.get_color() == current.get_color()
    assert best.axes.get_ylabel() == "distance [m]" and distance.axes.get_ylabel() == "distance of a proposal"
    assert best.axes.get_position().bounds == distance.axes.get_position().bounds
    assert len(lines(figure, "restart")) == 3
    entries = [t.get_text() for t in figure.legends[0].get_texts()]
    assert len(entries) == len(set(entries)) == 7 and all(entries)
    for gid in ("temperature", "acceptance", "move mutation", "move coordinate"):
        assert len(lines(figure, gid)) == 1


def test_figure_leaves_out_a_distance_that_is_unknown_and_tells_a_ladder(runs):
    figure = trace_figure(runs["words"])
    assert not lines(figure, "distance") and len(lines(figure, "best")) == 1
    ladder = trace_figure(runs["slope"])
    assert len(lines(ladder, "hottest")) == len(lines(ladder, "swaps")) == 1
    assert ladder.axes[0].get_ylabel() == "scalarised value"
    single = trace_figure(runs["lagging"])
    assert "temperature" in [t.get_text() for t in single.legends[0].get_texts()]


def test_maximised_objective_is_drawn_in_its_own_sense(tmp_path, no_plots):
    class Peak(samples.Bowl):
        objectives = (opt.Objective("height", opt.maximise),)

        def evaluate(self, X):
            return super().evaluate(X) - 5.0

    run = opt.minimize(Peak(), "sa", n_gen=20, n_chains=2, out=tmp_path)
    (best,) = lines(trace_figure(run), "best")
    assert best.get_ydata()[-1] == pytest.approx(run.front["height"].iloc[0]) and best.get_ydata()[-1] > 0


def test_plot_writes_a_trace_for_each_run_that_has_one(runs, run, tmp_path):
    names = [f.name for f in write_plots([run])]
    assert names == ["front.png", "convergence.png", "trace.png"]
    assert (run.path / "plots" / "trace.png").read_bytes()[:4] == b"\x89PNG"
    plain = opt.minimize(samples.Bowl(), "ga", n_gen=2, pop_size=4, out=tmp_path)
    files = write_plots([run, plain], out=tmp_path / "both.svg")
    assert [f.name for f in files] == ["both.svg", "both-convergence.svg", f"both-trace-{run.path.name}.svg"]
    with pytest.raises(UsageError, match=r"no trace.csv: ga writes none"):
        trace_figure(plain)


def test_row_file_keeps_times_and_mends_the_rest(tmp_path):
    path = tmp_path / "rows.csv"

    def write(text: str, *, at_most: int = 9) -> str:
        path.write_text(text)
        rows = RowFile(path, ("n", "s", "a"), at_most=at_most, measured="s")
        for n in (1, 2, 3):
            rows.add([n, 0.5, "x"])
        rows.close()
        return path.read_text()

    fresh = "n,s,a\n1,0.5,x\n2,0.5,x\n3,0.5,x\n"
    kept = "n,s,a\n1,7,x\n2,8,x\n3,0.5,x\n"
    assert write("n,s,a\n1,7,x\n2,8,x\n") == kept
    assert write("n,s,a\n1,7,x\n2,8,x\n", at_most=1) == "n,s,a\n1,7,x\n2,0.5,x\n3,0.5,x\n"
    assert write("n,s,a\n1,7,x\n2,8,x") == "n,s,a\n1,7,x\n2,0.5,x\n3,0.5,x\n"
    # an altered cell, an altered header, a lost line break: only what cannot be computed again is lost
    assert write("n,s,a\n1,7,y\n2,8,x\n") == write("n,s,b\n1,7,x\n2,8,x\n") == kept
    assert write("n,s,a\n1,?,x\n2,8,x\n") == "n,s,a\n1,0.5,x\n2,8,x\n3,0.5,x\n"
    assert write("n,s,a\n1,7,x\n?,8,x\n3,9,x\n") == "n,s,a\n1,7,x\n2,0.5,x\n3,9,x\n"
    assert write("n,s,a\n1,7,x?2,8,x\n3,9,x\n") == "n,s,a\n1,0.5,x\n2,0.5,x\n3,9,x\n"
    assert write("n,b\n1,y\n") == write("") == write("\x00\xff") == write("n,s,a\n" + "9" * 5000 + ",1,x\n") == fresh


def test_row_file_that_does_not_replay_to_its_end_loses_nothing(tmp_path):
    path = tmp_path / "rows.csv"
    damaged = "n,s\n1,7\n?,8\n3,9\n"
    path.write_text(damaged)
    rows = RowFile(path, ("n", "s"), at_most=3, measured="s")
    rows.add([1, 0.5])
    rows.close()
    assert path.read_text() == damaged

"""The command: groups, warnings, files, bad input, and the same output for the same runs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymoo.problems import get_problem

import opt
from opt.compare import compare, main
from opt.comparison.output_files import draw, write_comparison
from opt.comparison.verdict import file_names
from opt.console.command import execute
from opt.fronts.archive import nondominated
from opt.runs.run import Run
from opt.runs.run_listing import find_runs

MEASURES = {"hypervolume", "igd_plus", "epsilon"}


class Moving(opt.CompressionProblem):
    """Objectives that change their meaning in every generation."""

    objectives = (opt.Objective("error"), opt.Objective("size"))

    def __init__(self) -> None:
        super().__init__(n_var=3, xl=0.0, xu=1.0)

    def begin_generation(self, n_gen):
        self.n_gen = n_gen
        return True

    def evaluate(self, X):
        return np.stack([1 - X[:, 0] + 0.01 * getattr(self, "n_gen", 0), X.mean(axis=1)], axis=1)


class Accurate(Moving):
    """One of two objectives is maximised."""

    objectives = (opt.Objective("accuracy", opt.maximise, unit="%"), opt.Objective("size"))

    def begin_generation(self, n_gen):
        return False

    def evaluate(self, X):
        return np.stack([X[:, 0] * 50 - 90, 1 - X.mean(axis=1)], axis=1)


class Single(Accurate):
    objectives = (opt.Objective("error"),)

    def evaluate(self, X):
        return ((X - 0.3) ** 2).sum(axis=1, keepdims=True)


class Impossible(Accurate):
    """Nothing is feasible."""

    def __init__(self) -> None:
        opt.CompressionProblem.__init__(self, n_var=3, xl=0.0, xu=1.0, n_ieq_constr=1)

    def evaluate(self, X):
        return super().evaluate(X), np.ones((len(X), 1))


def make(problem, algo: str, seed: int, out: Path, *, n_gen: int = 3) -> Run:
    return opt.minimize(problem, algo, seed=seed, n_gen=n_gen, out=out, pop_size=10)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Three algorithms on two problems, with eight and six seeds."""
    out = tmp_path_factory.mktemp("study")
    stand_in = type(sys)("opt.plots.run_pictures")
    stand_in.plot_runs = lambda runs, *, out=None: runs[0].path
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "opt.plots.run_pictures", stand_in)
        for name, n in (("zdt1", 8), ("dtlz2", 6)):
            for algo in ("nsga2", "ga", "random"):
                for seed in range(1, n + 1):
                    make(get_problem(name), algo, seed, out)
    return out


@pytest.fixture
def copied(study, tmp_path) -> Path:
    """The runs on ZDT1, to be changed."""
    out = tmp_path / "copied"
    for run in sorted(study.glob("zdt1-*")):
        shutil.copytree(run, out / run.name)
    return out


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["opt.compare", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            execute(main)
        return (caught.value.code, *capsys.readouterr())

    return run


def edit(run: Path, **fields) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | fields))


def test_command_writes_tables_pictures_and_page(study, tmp_path, call):
    out = tmp_path / "out"
    code, text, err = call(study, "--out", out)
    assert (code, err) == (0, "")
    assert "one normalisation for all" in text and "reference point" in text
    names = {p.name for p in out.iterdir()}
    assert {"index.html", "warnings.txt", "zdt1-attainment.png", "dtlz2-growth.png"} <= names
    indicators = pd.read_csv(out / "indicators.csv")
    assert len(indicators) == 42
    assert set(indicators["group"]) == {"nsga2", "ga", "random"}
    summary = pd.read_csv(out / "summary.csv")
    for row in summary[summary["measure"].isin(MEASURES)].itertuples():
        values = indicators[(indicators["problem"] == row.problem) & (indicators["group"] == row.group)][row.measure]
        assert row.median == pytest.approx(values.median())
        assert row.n == len(values)
    tests = pd.read_csv(out / "tests.csv")
    assert len(tests) == 2 * 3 * 3
    # six pairs could not reach 0.05 after a correction for three tests
    assert set(tests["problem"] + " " + tests["test"]) == {"ZDT1 Wilcoxon signed-rank", "DTLZ2 Mann-Whitney U"}
    assert (tests["p_holm"] >= tests["p"]).all()
    assert set(pd.read_csv(out / "ranks.csv")["measure"]) == MEASURES
    problems = pd.read_csv(out / "problems.csv")
    assert set(problems["reference_front"]) == {"exact"}
    joint = pd.read_csv(out / "joint_front.csv")
    assert {"problem", "group", "run", "id", "f1", "f2"} <= set(joint.columns)
    assert "ranks over only 2 problems" in (out / "warnings.txt").read_text()


def test_same_runs_give_the_same_files(copied, tmp_path):
    written = []
    for name in ("one", "other"):
        verdict = compare(find_runs([copied]))
        written.append({p.name: p.read_bytes() for p in write_comparison(verdict, tmp_path / name)})
    assert written[0] == written[1]


def test_runs_given_twice_count_once(copied):
    runs = find_runs([copied, next(copied.iterdir())])
    assert len(compare(runs).comparisons[0].runs) == 24


def test_folder_of_folders_is_searched(copied):
    assert len(find_runs([copied.parent])) == 24


def test_pairs_of_other_seeds_are_tested_by_mann_whitney(copied):
    for run in copied.glob("zdt1-ga-*"):
        edit(run, seed=opt.load_run(run).manifest["seed"] + 100)
    tests = compare(find_runs([copied])).tables.tests
    has_ga = (tests["a"] == "ga") | (tests["b"] == "ga")
    assert set(tests[has_ga]["test"]) == {"Mann-Whitney U"}
    assert set(tests[~has_ga]["test"]) == {"Wilcoxon signed-rank"}


def test_by_another_field_of_the_manifest(copied):
    for k, run in enumerate(sorted(copied.glob("*-nsga2-*"))):
        edit(run, problem=opt.load_run(run).manifest["problem"] | {"parameters": {"crossover": f"c{k % 2}"}})
    runs = [run for run in find_runs([copied]) if run.manifest["algo"]["name"] == "nsga2"]
    verdict = compare(runs, by="problem.parameters.crossover")
    assert sorted(verdict.comparisons[0].groups) == ["c0", "c1"]
    assert not any("parameters" in text for text in verdict.all_warnings)
    assert any("different problem parameters or data: crossover c0, c1" in t for t in compare(runs).all_warnings)
    apart = compare(runs, split="problem.parameters.crossover")
    assert [c.problem for c in apart.comparisons] == ["ZDT1 c0", "ZDT1 c1"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"budget": {"n_gen": 9, "n_eval": None}}, "different budgets: n_gen (3, 9|9, 3)"),
        ({"n_eval": 300}, "unequal evaluations spent: from 30 to 300"),
        ({"versions": {"numpy": "1.0"}}, "different versions: .*numpy .*1.0"),
        ({"problem": {"name": "ZDT1", "parameters": {"data": "mnist"}}}, "different problem parameters or data: data"),
        ({"status": "interrupted"}, "left out, not finished .1 interrupted."),
        ({"status": "failed"}, "left out, not finished .1 failed."),
        ({"stationary": False}, "objectives changed their meaning during 1 of 24 runs"),
        ({"objectives": [{"name": "f1"}], "ref_point": None}, r"left out, other objectives than f1, f2: .* \(f1\)"),
        ({"seed": 2}, "more than one run of seed 2"),
        ({"algo": {"name": "ga", "parameters": {"pop_size": 7}}}, "ga mixes parameters of the algorithm: pop_size"),
        ({"n_failed": 10}, "more than 1 % of the evaluations failed"),
    ],
)
def test_warns_of_what_differs(copied, call, tmp_path, monkeypatch, fields, expected):
    monkeypatch.setattr("opt.comparison.output_files.draw", lambda verdict: {})
    edit(next(copied.glob("zdt1-ga-s1-*")), **fields)
    code, text, _ = call(copied, "--out", tmp_path / "out")
    assert code == 0
    for where in (text, (tmp_path / "out/warnings.txt").read_text(), (tmp_path / "out/index.html").read_text()):
        assert re.search(expected, where)


def test_says_nothing_where_nothing_is_doubtful(copied):
    assert compare(find_runs([copied])).all_warnings == []


def test_cannot_tell_from_few_runs(copied):
    runs = [run for run in find_runs([copied]) if run.manifest["seed"] <= 3]
    verdict = compare(runs)
    text = "\n".join(verdict.all_warnings)
    assert "too few runs for a verdict" in text
    assert "cannot tell, too few runs for any p-value" in text
    assert set(verdict.tables.tests["verdict"]) == {"cannot tell: too few runs"}


def test_ties_are_told(copied, tmp_path):
    for seed in range(1, 9):
        ours, theirs = (next(copied.glob(f"zdt1-{algo}-s{seed}-*")) for algo in ("ga", "random"))
        shutil.copy(ours / "front.csv", theirs / "front.csv")
    verdict = compare(find_runs([copied]))
    assert any("ties" in text for text in verdict.all_warnings)
    tests = verdict.tables.tests
    same = tests[(tests["a"] == "ga") & (tests["b"] == "random")]
    assert set(same["verdict"]) == {"no difference shown"} and (same["p"] == 1).all()


def shared_by(copied: Path, *algorithms: str) -> None:
    """Every run of these algorithms gets the front that is nondominated among all runs."""
    fronts = pd.concat([run.front for run in find_runs([copied])], ignore_index=True)
    best = fronts[nondominated(fronts[["f1", "f2"]].to_numpy())].drop_duplicates(["f1", "f2"])
    for algo in algorithms:
        for run in copied.glob(f"zdt1-{algo}-*"):
            best.to_csv(run / "front.csv", index=False)


def test_equal_points_of_the_joint_front_belong_to_all_who_found_them(copied, tmp_path):
    alone = compare(find_runs([copied])).comparisons[0]
    shared_by(copied, "ga", "random")
    verdict = compare(find_runs([copied]))
    comparison = verdict.comparisons[0]
    n = len(comparison.joint)
    assert n == len(alone.joint)
    owners = dict(zip(comparison.groups, comparison.joint_owners().T, strict=True))
    assert owners["ga"].all() and owners["random"].all()
    indicators = verdict.tables.indicators
    assert set(indicators[indicators["group"].isin(["ga", "random"])]["n_joint"]) == {n}
    assert set(verdict.tables.problems["n_joint"]) == {n}
    # each point once: what is measured by the joint front does not change with how often it was found
    everything = np.concatenate([m.F for m in comparison.runs])
    np.testing.assert_array_equal(comparison.joint, everything[nondominated(everything)])
    rows = verdict.tables.joint_front
    assert sorted(rows["point"].unique()) == list(range(1, n + 1))
    n_nsga2 = int(owners["nsga2"].sum())
    counts = rows.drop_duplicates(["point", "group"])["group"].value_counts().to_dict()
    assert counts == {"ga": n, "random": n} | ({"nsga2": n_nsga2} if n_nsga2 else {})
    for _, point in rows.groupby("point"):
        assert len(point[["f1", "f2"]].drop_duplicates()) == 1
        assert set(point["n_groups"]) == {point["group"].nunique()} and set(point["n_runs"]) == {len(point)}
    files = write_comparison(verdict, tmp_path / "out")
    assert "point" in pd.read_csv(next(f for f in files if f.name == "joint_front.csv"))


def test_picture_of_the_joint_front_shows_shared_points_in_all_colours(copied):
    from opt.comparison.group_plots import styles
    from opt.comparison.joint_front_plot import joint_front_figure

    shared_by(copied, "ga", "random")
    comparison = compare([r for r in find_runs([copied]) if r.manifest["algo"]["name"] != "nsga2"]).comparisons[0]
    figure = joint_front_figure(comparison)
    n = len(comparison.joint)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:2] == [f"ga: {n} of {n}", f"random: {n} of {n}"]
    assert texts[2].startswith(f"{n} of them shared") and texts[3:] == ["exact front"]
    (ax,) = figure.axes
    slices = [line for line in ax.get_lines() if line.get_gid() == "shared"]
    look = styles(comparison.groups)
    assert {line.get_color() for line in slices} == {look["ga"].colour, look["random"].colour}
    assert all(len(line.get_xdata()) == n for line in slices)
    assert not [line for line in ax.get_lines() if line.get_gid() == "joint"]
    stairs, exact = (next(x for x in ax.get_lines() if x.get_gid() == gid) for gid in ("stairs", "exact"))
    assert stairs.get_drawstyle() == exact.get_drawstyle() == "steps-post"


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 11])
def test_slices_of_a_disc_fill_it(n):
    from opt.comparison.joint_front_plot import slice_of

    angles = np.deg2rad(np.arange(0.5, 360))
    inside = np.array(
        [slice_of(k, n).contains_points(0.9 * np.column_stack([np.cos(angles), np.sin(angles)])) for k in range(n)]
    )
    assert inside.sum(axis=0).max() == 1 and inside.sum() >= 360 - 2 * n
    # matplotlib scales a marker by its farthest coordinate, which is to be about the same for every slice
    assert [np.abs(slice_of(k, n).vertices).max() for k in range(n)] == pytest.approx([1.0] * n, abs=0.03)


def test_one_group_is_told(copied):
    runs = [run for run in find_runs([copied]) if run.manifest["algo"]["name"] == "ga"]
    verdict = compare(runs)
    assert any("only one group" in text for text in verdict.all_warnings)
    assert not len(verdict.tables.tests)
    assert list(verdict.tables.tests.columns)


@pytest.mark.parametrize("problem", [Moving, Accurate, Single])
def test_every_kind_of_problem_is_compared(problem, tmp_path, no_plots):
    runs = [make(problem(), algo, seed, tmp_path) for algo in ("ga", "random") for seed in (1, 2)]
    verdict = compare(runs)
    for m in verdict.comparisons[0].runs:
        assert m.hypervolume > 0 and m.igd_plus >= 0
        assert (m.trace is None) == (problem is Moving)
    assert verdict.comparisons[0].is_exact is False
    assert (write_comparison(verdict, tmp_path / "out")[0]).exists()
    if problem is Accurate:
        row = verdict.tables.problems.iloc[0]
        assert row["ideal"] > row["nadir"] > row["ref_point"]


def test_runs_without_a_solution(tmp_path, no_plots):
    with pytest.raises(opt.UsageError, match="no run has a feasible solution"):
        compare([make(Impossible(), "ga", 1, tmp_path)])
    good = make(Accurate(), "ga", 1, tmp_path)
    empty = make(Impossible(), "ga", 2, tmp_path)
    edit(empty.path, problem=good.manifest["problem"])
    verdict = compare([good, opt.load_run(empty.path)])
    assert any("no feasible solution" in text for text in verdict.all_warnings)
    assert verdict.tables.indicators.set_index("seed").loc[2, "hypervolume"] == 0
    assert set(draw(verdict)) == {f"accurate-{n}" for n in ("attainment", "joint-front", "growth", "indicators")}
    write_comparison(verdict, tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "the following arguments are required"),
        (("nowhere",), "does not exist"),
        ((".",), "holds no runs"),
        (("STUDY", "--by", "problem.parameters.crosover"), "no run's manifest has a field"),
        (("STUDY", "--by", "alog"), "did you mean 'algo'"),
        (("STUDY", "--splt", "algo"), "did you mean '--split'"),
        (("STUDY", "--out", "STUDY/FILE"), "cannot write"),
    ],
)
def test_bad_input_is_told_in_one_line(arguments, expected, copied, call, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setattr("opt.comparison.output_files.draw", lambda verdict: {})
    (copied / "FILE").write_text("")
    code, _, err = call(*(a.replace("STUDY", str(copied)) for a in arguments))
    assert code == 2
    assert err.count("\n") == 1 and expected in err


def test_damaged_runs_are_told_in_one_line(copied, call):
    run = next(copied.glob("zdt1-ga-s1-*"))
    (run / "front.csv").write_text("id,f1\ne1,0.5\n")
    code, _, err = call(copied)
    assert code == 2 and "has no column 'f2'" in err
    (run / "front.csv").unlink()
    code, _, err = call(copied)
    assert code == 2 and "front.csv is missing" in err


def test_no_finished_run(copied, call):
    for run in copied.iterdir():
        edit(run, status="interrupted")
    code, _, err = call(copied)
    assert code == 2 and "none of the 24 runs is finished" in err


def test_file_names_are_plain_and_differ():
    found = file_names(["A/b", "a b", "x" * 300, "ecomp"])
    assert found["A/b"] == "a-b" and found["ecomp"] == "ecomp"
    assert len(set(found.values())) == 4 and max(map(len, found.values())) < 80


def test_group_has_one_colour_on_every_problem(study):
    from opt.comparison.group_plots import styles

    runs = [r for r in find_runs([study]) if r.path.name.startswith("zdt1") or r.manifest["algo"]["name"] != "nsga2"]
    dtlz2, zdt1 = compare(runs).comparisons
    assert "nsga2" not in dtlz2.groups and "nsga2" in zdt1.groups
    assert styles(dtlz2.all_groups)["random"] == styles(zdt1.all_groups)["random"]

"""Paths that a system refuses, and files that are none: one line and exit code 2. Names of any bytes are taken."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

import opt
from opt import UsageError, show
from opt.compare import main as compare_main
from opt.console.command import execute
from opt.plot import main as plot_main
from opt.solve import main as solve_main
from opt.studies.isolated import run_isolated
from opt.studies.planned_run import PlannedRun
from tests.sample_problems import Slope

ROOT = Path(__file__).parents[2]
SMALL = ("--n-gen", "2", "--algo.pop_size", "6", "--quiet")
KINDS = ("long", "path of 5,000", "folder", "pipe", "loop", "in a file", "nowhere")
# of these a folder is taken, or is made
NO_FOLDER = tuple(kind for kind in KINDS if kind not in ("folder", "nowhere"))


@pytest.fixture(autouse=True)
def no_hang():
    """A pipe that is opened waits for ever: that is a failure, not a hang."""

    def too_long(*_: object) -> None:
        raise AssertionError("it hangs")

    previous = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """`strange("pipe")`: a path of that kind, in the present folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x")
    names = {"long": "x" * 300, "path of 5,000": "x/" * 2499 + "x", "in a file": "file/x", "nowhere": "no/no"}
    return lambda kind: names.get(kind, kind)


@pytest.fixture
def refused(monkeypatch, capsys):
    """Check that a command ends in one line and exit code 2."""

    def check(main, *arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            execute(main)
        answer = capsys.readouterr()
        assert caught.value.code == 2, answer
        assert answer.err.startswith("error: ") and answer.err.count("\n") == 1 and len(answer.err) < 1200
        return answer.err

    return check


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return opt.minimize(Slope(), n_gen=2, pop_size=6, out=tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("kind", KINDS)
def test_solve_is_given_such_a_file(kind, strange, refused, sample):
    path = strange(kind)
    refused(solve_main, sample("Slope"), "--config", path)
    refused(solve_main, "--study", path)
    refused(solve_main, "--resume", path)
    refused(solve_main, path)


@pytest.mark.parametrize("kind", NO_FOLDER)
def test_solve_is_to_write_to_such_a_folder(kind, strange, refused, sample):
    refused(solve_main, sample("Slope"), *SMALL, "--out", strange(kind))
    refused(solve_main, sample("Slope"), *SMALL, "--runs", 2, "--out", strange(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_show_plot_and_compare_are_given_such_a_run(kind, strange, refused):
    path = strange(kind)
    for main in (show.main, plot_main, compare_main):
        refused(main, path)
    refused(show.main, path, "--check")
    if kind != "folder":
        refused(show.main, "--runs", path)


@pytest.mark.parametrize("kind", ["long", "path of 5,000", "in a file"])
def test_plot_is_to_write_such_a_file(kind, strange, refused, run):
    refused(plot_main, run.path, "--out", f"{strange(kind)}.png")


def test_a_folder_is_no_picture_and_a_pipe_is_replaced(strange, refused, run, tmp_path):
    (tmp_path / "folder.png").mkdir()
    refused(plot_main, run.path, "--out", "folder.png")
    (tmp_path / "pipe").rename(tmp_path / "pipe.png")
    assert plot_main([str(run.path), "--out", "pipe.png"]) == 0
    assert (tmp_path / "pipe.png").is_file()


@pytest.mark.parametrize("kind", NO_FOLDER)
def test_compare_is_to_write_to_such_a_folder(kind, strange, refused, run):
    refused(compare_main, run.path, "--out", strange(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_data_and_checkpoints_of_such_a_path(kind, strange, refused, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr("problems.data.sources._fetch", _no_network)
    path = strange(kind)
    assert (
        "data" in refused(solve_main, ROOT / "problems" / "ecomp.py", *SMALL, "--problem.data", path)
        or kind == "folder"
    )
    given = ("--problem.data", "mnist", "--problem.data_dir", path)
    refused(solve_main, ROOT / "problems" / "ecomp.py", *SMALL, *given)
    for problem in ("ecomp", "threshold"):
        asked = (ROOT / "problems" / f"{problem}.py", *SMALL, "--problem.checkpoint", path)
        assert "cannot read checkpoint" in refused(solve_main, *asked)


def _no_network(*_: object) -> None:
    raise UsageError("no network in tests")


@pytest.mark.parametrize("name", ["manifest.json", "journal.jsonl", "front.csv", "history.csv", "references.csv"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_file_of_a_run_that_is_a_pipe_or_a_folder(name, make, run, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"status": "interrupted"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / name).unlink()
    make(folder / name)
    for main, arguments in ((show.main, []), (show.main, ["--check"]), (plot_main, []), (compare_main, [])):
        monkeypatch.setattr("sys.argv", ["x", str(folder), *arguments])
        with pytest.raises(SystemExit) as caught:
            execute(main)
        answer = capsys.readouterr()
        assert caught.value.code in (0, 1, 2) and "Traceback" not in answer.err
        lines = answer.err.splitlines()
        assert sum(line.startswith("error: ") for line in lines) <= 1
        assert all(line.startswith(("error: ", "warning: ", "passed over: ")) for line in lines)
    try:
        opt.minimize(Slope(), resume=folder)
    except UsageError as error:
        assert str(folder) in str(error)


def test_a_folder_without_permission_is_told(refused, sample, tmp_path, monkeypatch):
    """Root may read everything: the refusals of the system are put in its place."""
    monkeypatch.chdir(tmp_path)
    forbidden = tmp_path / "forbidden"
    forbidden.mkdir()

    def guard(function):
        def call(path, *rest, **options):
            if isinstance(path, str | os.PathLike) and str(path).startswith(str(forbidden)):
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *rest, **options)

        return call

    for module, name in (("os", "stat"), ("os", "mkdir"), ("os", "scandir"), ("os", "listdir"), ("builtins", "open")):
        monkeypatch.setattr(f"{module}.{name}", guard(getattr(__import__(module), name)))
    path = forbidden / "x"
    for main, arguments in (
        (solve_main, [sample("Slope"), "--config", path]),
        (solve_main, ["--study", path]),
        (solve_main, ["--resume", path]),
        (solve_main, [f"{path}.py"]),
        (solve_main, [sample("Slope"), *SMALL, "--out", path]),
        (solve_main, [sample("Slope"), *SMALL, "--runs", 2, "--out", path]),
        (show.main, [path]),
        (plot_main, [path]),
        (compare_main, [path]),
    ):
        assert "ermission denied" in refused(main, *arguments)


TASK = """
import numpy as np
from opt import CompressionProblem, Objective, Reference
class Task(CompressionProblem):
    objectives = (Objective("a"), Objective("b"))
    def __init__(self, *, where: str = ""):
        super().__init__(n_var=3, xl=0, xu=1)
        self.where = where
    def evaluate(self, X):
        return np.column_stack([X.sum(axis=1), ((1 - X) ** 2).sum(axis=1)])
    def describe(self, x):
        return {"wh\\udcffere": self.where}
    def tensors(self, x):
        return {"x": x}
    def references(self):
        return [Reference("r\\udcff", F=np.array([[1.0, 1.0]]))]
"""


@pytest.mark.parametrize("name", ["\udcff\udcfe", "é 日 x", "y" * 248], ids=["bytes", "letters", "long"])
def test_a_run_of_names_of_any_bytes_is_made_shown_compared_and_resumed(name, tmp_path, monkeypatch, solve, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name
    folder.mkdir()
    file = folder / f"{name}.py"
    file.write_text(TASK)
    config = folder / f"{name}.yml"
    config.write_text("n_gen: 3\nalgo: {pop_size: 8}\n")
    given = (file, "--config", config, "--problem.where", "x", "--out", folder / "runs")
    assert solve(*given, "--quiet").code == 0
    (path,) = (folder / "runs").iterdir()
    path = path.rename(folder / "runs" / name)
    assert json.loads((path / "manifest.json").read_text())["problem"]["file"] == str(file)
    for main, arguments in (
        (show.main, [str(path)]),
        (show.main, [str(path), "--check"]),
        (show.main, ["--runs", str(folder / "runs")]),
        (plot_main, [str(path)]),
        (plot_main, [str(path), "--out", str(folder / f"{name[:200]}.png")]),
        (compare_main, [str(path)]),
    ):
        assert main(arguments) == 0
    run = opt.load_run(path)
    assert set(run.solution(run.front["id"][0])) == {"x"}
    manifest = json.loads((path / "manifest.json").read_text()) | {"status": "interrupted"}
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert solve("--resume", path, "--quiet").code == 0 and opt.load_run(path).status == "finished"


def test_a_study_of_such_names_is_made_and_resumed(tmp_path, monkeypatch, solve, no_plots):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "\udcff\udcfe"
    folder.mkdir()
    file = folder / "\udcff.py"
    file.write_text(TASK)
    assert solve(file, *SMALL, "--algo", "nsga2,random", "--out", folder / "runs").code == 0
    (study,) = (folder / "runs").iterdir()
    study = study.rename(folder / "runs" / "s\udcff")
    for path in study.glob("*/manifest.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "interrupted"}))
    assert solve("--resume", study, "--quiet").code == 0
    assert {run.status for run in opt.find_runs([study])} == {"finished"}
    assert show.main([str(study)]) == 0
    task = PlannedRun(target=str(file), out=str(folder), name="own process")
    assert run_isolated(task) == "", "its task goes by stdin"

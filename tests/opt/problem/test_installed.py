"""Problems and configs that installed packages bring: found by name wherever they are, and told of where not."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from opt import UsageError
from opt.flags.command_line import scan
from opt.problem.installed import config_file, installed_problems, problem_file
from opt.problem.loading import load_problem_class, split_target
from opt.runs.run import load_run
from opt.runs.run_listing import list_runs
from opt.studies.planned_run import PlannedRun
from opt.studies.sweep import settings_of_study

TEXT = '''
import numpy as np
from pymoo.core.problem import Problem


class Hill(Problem):
    """A hill."""

    def __init__(self, *, height: float = 1.0):
        super().__init__(n_var=2, n_obj=2, xl=0, xu=1)
        self.height = height

    def _evaluate(self, X, out, *args, **kwargs):
        out["F"] = np.column_stack([X[:, 0], self.height - X.sum(axis=1)])


class Dale(Hill):
    """A dale."""
'''
POINTS = "[opt.problems]\nhill = tasks_of_mine.hill:Hill\ngone = tasks_of_mine.gone:Gone\nfails = tasks_of_mine.bad\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that brings problems; the folder in which it is."""
    site = tmp_path / "site"
    files = {
        "tasks_of_mine-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tasks-of-mine\nVersion: 1.0\n",
        "tasks_of_mine-1.0.dist-info/entry_points.txt": POINTS,
        "tasks_of_mine/__init__.py": "",
        "tasks_of_mine/hill.py": TEXT,
        "tasks_of_mine/bad.py": "1 / 0\n",
        "tasks_of_mine/configs/steep.yaml": "n_gen: 3\nproblem: {height: 5.0}\n",
    }
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    installed_problems.cache_clear()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield site
    installed_problems.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "tasks_of_mine"]:
        del sys.modules[name]


def message(target):
    with pytest.raises(UsageError) as caught:
        load_problem_class(target)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("hill", ("hill", "")),
        ("hill:Hill", ("hill", "Hill")),
        ("a/hill.py", ("a/hill.py", "")),
        ("a/hill.py:Hill", ("a/hill.py", "Hill")),
        ("a/hill:Hill", ("a/hill:Hill", "")),
        ("", ("", "")),
    ],
)
def test_target_falls_into_its_parts(target, parts):
    assert split_target(target) == parts


def test_problem_is_loaded_by_its_name_whatever_is_beside(package):
    Path("hill").mkdir()
    Path("tasks_of_mine").mkdir()
    assert load_problem_class("hill").__name__ == "Hill"
    assert load_problem_class("hill:Dale").__name__ == "Dale"
    assert load_problem_class(str(package / "tasks_of_mine/hill.py:Dale")).__name__ == "Dale"


def test_its_file_is_found_without_importing_it(package):
    assert problem_file("hill") == package / "tasks_of_mine/hill.py"
    assert problem_file("gone") is None and problem_file("hil") is None and problem_file("a/hill.py") is None
    assert "tasks_of_mine" not in sys.modules


def test_unknown_name_is_told_with_the_nearest_and_all(package):
    text = message("hil")
    assert text.startswith("no problem is called 'hil', and no file; did you mean 'hill'?; installed: ")
    assert set(text.rpartition(": ")[2].split(", ")) >= {"fails", "gone", "hill"}
    assert "'hill' alone is the installed problem" in message("far/away/hill.py")
    assert "did you mean 'Hill'" in message("hill:Hil")


def test_problem_that_cannot_be_loaded_is_told(package):
    assert message("fails") == "problem fails (tasks_of_mine.bad) fails to load: ZeroDivisionError: division by zero"
    assert "problem gone (tasks_of_mine.gone) fails to load: ModuleNotFoundError" in message("gone")


def test_module_that_hides_the_package_is_told(package, monkeypatch):
    Path("tasks_of_mine.py").write_text("")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    importlib.invalidate_caches()
    assert message("hill").endswith(f"; {Path.cwd()}/tasks_of_mine.py stands in its place: go to another folder")


def test_config_is_found_by_its_name_behind_a_file_of_that_name(package):
    assert config_file("steep") == package / "tasks_of_mine/configs/steep.yaml"
    assert config_file("steep.yaml") == Path("steep.yaml") and config_file("x/steep") == Path("x/steep")
    assert "--problem.height=5.0" in scan(["hill", "--config", "steep"]).tokens
    with pytest.raises(UsageError, match="config file step does not exist, nor an installed one; did you mean 'steep'"):
        config_file("step")
    Path("steep").write_text("n_gen: 2\n")
    assert scan(["hill", "--config", "steep"]).tokens == ("--n-gen=2",)


def test_study_file_names_a_problem(package):
    Path("study.yaml").write_text("problem: [hill, {file: 'hill:Dale', height: [1.0, 2.0]}]\n")
    settings = settings_of_study(Path("study.yaml"))
    assert [setting.problem for setting in settings] == ["hill", "hill:Dale", "hill:Dale"]


def cut(path):
    """Leave of a run what a kill in its first generation leaves."""
    lines = (path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (path / "journal.jsonl").write_bytes(b"".join(lines[:2]))
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))


def test_run_is_that_of_the_file_and_goes_on_by_name(package, solve, no_plots):
    asked = ("--n-gen", "3", "--algo.pop_size", "4", "--quiet")
    assert solve("hill", *asked, "--out", "by-name").code == 0
    assert solve(f"{package}/tasks_of_mine/hill.py:Hill", *asked, "--out", "by-file").code == 0
    (run,), (other,) = list_runs("by-name"), list_runs("by-file")
    assert run.manifest["problem"]["file"] == "hill" and run.manifest["problem"]["name"] == "hill"
    journal = (run.path / "journal.jsonl").read_bytes()
    assert journal == (other.path / "journal.jsonl").read_bytes()
    cut(run.path)
    refused = solve("--resume", run.path)
    assert refused.code == 2 and "hill.py (it lies outside the present folder)" in refused.err
    assert solve("--resume", run.path, "--trust", "--quiet").code == 0
    assert (run.path / "journal.jsonl").read_bytes() == journal
    assert load_run(run.path).status == "finished"


def test_run_whose_problem_is_not_installed_is_told(package, solve, no_plots):
    assert solve("hill", "--n-gen", "2", "--algo.pop_size", "4", "--quiet", "--out", "out").code == 0
    (run,) = list_runs("out")
    cut(run.path)
    (package / "tasks_of_mine-1.0.dist-info/entry_points.txt").unlink()
    installed_problems.cache_clear()
    answer = solve("--resume", run.path)
    assert answer.code == 2 and "no problem is called 'hill', and no file" in answer.err


def test_task_of_a_name_has_the_installed_file(package):
    task = PlannedRun(target="hill:Hill")
    assert task.file == package / "tasks_of_mine/hill.py" and task.located == "hill:Hill"
    assert task.code.named == "hill" and task.code.file == task.file

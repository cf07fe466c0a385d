"""What a wheel has: all that the checkout has, and commands that search every problem from any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from checkout_files import ROOT, tracked

pytestmark = pytest.mark.xdist_group("wheel")

PACKAGES = ("native", "operators", "opt", "problems")
SMALL = {
    "alds": "n_search: 100, rival_budgets: 1",
    "cgp": "epochs: 1",
    "cgp_layers": "epochs: 1, generations: 20, thresholds: '0,20'",
    "ecomp": "network: mlp-16-16, epochs: 2, n_search: 200",
    "masks": "width: 0.1, final_epochs: 1, n_images: 100",
    "threshold": "epochs: 1",
}
ECOMP = ("--n-gen=3", "--algo.pop_size=4", "--quiet", "--problem.network=mlp-16-16", "--problem.epochs=2")
OWN = """
import numpy as np
from pymoo.core.problem import Problem


class Hill(Problem):
    def __init__(self):
        super().__init__(n_var=2, n_obj=1, xl=0, xu=1)

    def _evaluate(self, X, out, *args, **kwargs):
        out["F"] = X[:, :1]
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder with packages that are named like ours, over which nobody should stumble."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise ImportError('the folder {name} was imported')\n")
    (folder / "problems" / "notes.txt").write_text("")
    return folder


@pytest.fixture(scope="module")
def run(environment, elsewhere):
    """A run of `opt-solve ecomp`."""
    environment.succeed("opt-solve", "ecomp", *ECOMP, cwd=elsewhere)
    (path,) = (elsewhere / "runs").iterdir()
    return path


def only_folder(path: Path) -> Path:
    (folder,) = (entry for entry in path.iterdir() if entry.is_dir())
    return folder


def test_wheel_has_what_git_has_and_the_compiled_library(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {*tracked(*PACKAGES), "native/_cgp.abi3.so"}
    assert "-cp311-abi3-" in wheel.name


def test_packages_come_from_the_wheel_and_every_problem_has_a_name(environment, elsewhere):
    code = "import native._cgp, operators, opt.problem.installed as p, problems as q, json; print(json.dumps("
    code += "[native._cgp.__file__, operators.__file__, p.__file__, q.__file__,"
    code += " {name: str(p.problem_file(name)) for name in p.installed_problems()}]))"
    *files, problems = json.loads(environment.succeed("python", "-P", "-c", code, cwd=elsewhere))
    assert all(Path(file).is_relative_to(environment.folder) for file in (*files, *problems.values()))
    assert set(problems) == {path.stem for path in (ROOT / "problems").glob("*.py")} - {"__init__"} == set(SMALL)


def test_run_of_the_wheel_is_that_of_the_checkout(run, environment, tmp_path):
    env = os.environ | {"OPT_CACHE_DIR": str(environment.cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "opt.solve", "problems/ecomp.py", *ECOMP, "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    assert (run / "journal.jsonl").read_bytes() == (only_folder(tmp_path) / "journal.jsonl").read_bytes()
    assert (run / "plots" / "front.png").is_file()


def test_run_is_shown_and_goes_on_beside_folders_that_are_no_packages(run, environment, tmp_path):
    for name in PACKAGES:
        (tmp_path / name).mkdir()
    (tmp_path / "problems" / "ecomp.txt").write_text("")
    # what the run names is the program's own, wherever that is installed: nobody has to trust it
    (run / "front.csv").unlink()
    assert "mended" in environment.succeed("python", "-m", "opt.solve", "--resume", run, "--quiet", cwd=tmp_path)
    told = environment.succeed("opt-show", run, cwd=tmp_path)
    assert "ecomp (EComp, ecomp)" in told and "next: opt-plot " in told


def test_every_problem_is_searched_from_any_folder(environment, elsewhere):
    others = "".join(f"  - {{file: {name}, {more}}}\n" for name, more in SMALL.items() if name != "ecomp")
    text = f"problem:\n{others}algo: {{name: ga, pop_size: 4}}\nn_gen: 2\nname: all\nout: studies\n"
    (elsewhere / "study.yaml").write_text(text)
    environment.succeed("opt-solve", "--study", "study.yaml", "--quiet", cwd=elsewhere)
    study = json.loads((elsewhere / "studies/all/study.json").read_text())
    assert {task["target"] for task in study["tasks"]} == set(SMALL) - {"ecomp"}
    for task in study["tasks"]:
        manifest = json.loads((elsewhere / "studies/all" / task["name"] / "manifest.json").read_text())
        assert manifest["status"] == "finished" and manifest["n_solutions"] > 0 and not manifest["n_failed"]


@pytest.mark.parametrize("command", ["opt-compare", "opt-plot"])
def test_other_commands_start(command, environment, elsewhere):
    assert f"usage: {command} " in environment.succeed(command, "--help", cwd=elsewhere)


def test_package_in_the_present_folder_that_hides_the_problems_is_told(environment, tmp_path):
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "__init__.py").write_text("")
    answer = environment.run("python", "-m", "opt.solve", "ecomp", "--help", cwd=tmp_path)
    assert answer.returncode == 2 and answer.stderr.count("\n") == 1
    assert f"{tmp_path}/problems/__init__.py stands in its place: go to another folder" in answer.stderr


def test_functions_of_the_present_folder_and_processes_of_their_own_are_found(environment, elsewhere, tmp_path):
    (elsewhere / "of_mine.py").write_text("def cool(state):\n    return 0.1\n")
    (tmp_path / "own.py").write_text(OWN)
    options = ("--algo.schedule", "of_mine:cool", "--task-time", "5m", "--n-eval", "5", "--quiet", "--out", "own")
    environment.succeed("opt-solve", tmp_path / "own.py", "--algo", "sa", *options, cwd=elsewhere)
    (file,) = (elsewhere / "own").glob("study-*/own-*/manifest.json")
    manifest = json.loads(file.read_text())
    assert manifest["status"] == "finished" and manifest["command"].startswith("opt-solve ")

"""Names read from disk that would lead out of their folder: refused in one line before anything is touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

import opt
from opt.console.names import check_name
from opt.studies.study import Study
from tests.sample_problems import Slope

BAD = ["../../x", "/tmp/x", "", ".", "..", ".tasks", "a/b", "a\0b", "x" * 300, "é" * 150, "\ud800", None, 7, ["x"]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of two runs that are not finished."""
    from opt.execution.request import SearchRequest
    from opt.studies.planned_run import PlannedRun

    folder = tmp_path_factory.mktemp("study") / "a" / "b" / "study"
    target = str(Path(__file__).parents[2] / "sample_problems.py") + ":Slope"
    tasks = [PlannedRun(target=target, request=SearchRequest(seed=seed)) for seed in (1, 2)]
    asked = Study.holding(folder, tasks, [{}, {}])
    asked.save()
    return folder


@pytest.mark.parametrize("name", BAD, ids=lambda name: ascii(name)[:20])
def test_a_study_s_task_of_such_a_name_is_refused(name, study, tmp_path, solve):
    folder = tmp_path / "a" / "b" / "study"
    shutil.copytree(study, folder)
    data = json.loads((folder / "study.json").read_text())
    data["tasks"][1]["name"] = name
    data["varying"][name if isinstance(name, str) else "x"] = {}
    (folder / "study.json").write_text(json.dumps(data))
    before = contents(tmp_path)
    for command in (["--resume", folder], ["--resume", folder, "--trust"]):
        answer = solve(*command)
        assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
        assert "cannot name a file" in answer.err and len(answer.err) < 600
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda data: data["tasks"].append(data["tasks"][0]), "names of its own"),
        (lambda data: data["tasks"][0].update(name="index.csv"), "is altered"),
        (lambda data: data["tasks"][0].update(target=5), "is altered"),
        (lambda data: data["tasks"][0].update(target="a\0.py"), "is altered"),
        (lambda data: data["tasks"][0].update(problem_parameters=[]), "is altered"),
        (lambda data: data["tasks"][0].update(more=1), "is altered"),
        (lambda data: data["tasks"][0].pop("request"), "is altered"),
        (lambda data: data["tasks"].append(3), "is altered"),
        (lambda data: data.update(tasks=None), "is altered"),
        (lambda data: data.update(varying={}), "is altered"),
        (lambda data: data.update(reasons=3), "is altered"),
        (lambda data: data.update(code=3), "is altered"),
        (lambda data: data.pop("command"), "is altered"),
    ],
)
def test_a_study_that_is_altered_is_refused(change, part, study, tmp_path, solve):
    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    data = json.loads((folder / "study.json").read_text())
    change(data)
    (folder / "study.json").write_text(json.dumps(data))
    before = contents(tmp_path)
    answer = solve("--resume", folder, "--trust")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert part in answer.err and str(folder) in answer.err
    assert contents(tmp_path) == before


def test_a_study_as_it_was_written_opens(study):
    assert [task.name for task in Study.open(study).planned_runs] == ["slope-nsga2-s1", "slope-nsga2-s2"]


@pytest.mark.parametrize("name", ["\u00e4" * 100, ".hidden", "\udcff", "a b;c"])
def test_the_names_that_a_study_gives_are_such_as_it_takes(name, tmp_path):
    from opt.studies.planned_run import PlannedRun

    file = tmp_path / f"{name}.py"
    shutil.copy(Path(__file__).parents[2] / "sample_problems.py", file)
    study = Study.holding(
        tmp_path / "study", [PlannedRun(target=f"{file}:Slope"), PlannedRun(target=str(file))], [{}, {"x": "é" * 99}]
    )
    for task in study.planned_runs:
        assert check_name(task.name, "task") == task.name
        assert len(task.name.encode()) < 120


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("a") / "b" / "runs"
    return opt.minimize(Slope(), n_gen=2, pop_size=6, out=out)


@pytest.mark.parametrize("name", ["../../secret", "..", "", "a/../../../secret", "x" * 300, "a\0", None])
def test_a_solution_of_such_an_id_is_refused(name, run):
    save_file({"x": np.zeros(3)}, run.path.parents[1] / "secret.safetensors")
    with pytest.raises(opt.UsageError, match="cannot name a file"):
        run.solution(name)


def test_show_looks_at_no_run_outside_a_study(study, run, tmp_path, capsys):
    from opt.show import main

    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    index = pd.read_csv(folder / "index.csv")
    index["run"] = index["run"].astype(object)
    index.loc[0, "run"] = f"../../{run.path.name}"
    index.loc[1, "run"] = str(run.path)
    index.to_csv(folder / "index.csv", index=False)
    assert main([str(folder)]) == 0
    assert "finished" not in capsys.readouterr().out.replace("not finished", "")


def test_masks_of_a_run_are_looked_for_in_its_folder_only(run, monkeypatch, tmp_path):
    from types import SimpleNamespace

    from problems.figures.mask_runs import best_mask

    copied = tmp_path / "run"
    shutil.copytree(run.path, copied)
    front = pd.read_csv(copied / "front.csv")
    front["id"] = "../../secret"
    front.to_csv(copied / "front.csv", index=False)
    with pytest.raises(opt.UsageError, match="cannot name a file"):
        best_mask(opt.load_run(copied), SimpleNamespace())  # type: ignore[arg-type]

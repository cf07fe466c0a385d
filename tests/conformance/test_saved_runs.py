"""Runs that were saved before, of every task: they are shown, checked, drawn, compared and gone on with."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from doors import ROOT, Answer, command, without_pictures
from numeric_probe import differences, probe

import opt

SAVED = ROOT / "tests" / "saved_runs"
TASKS = sorted(path.name for path in SAVED.iterdir() if (path / "finished").is_dir())
RUNS = sorted(str(path.parent.relative_to(SAVED)) for task in TASKS for path in SAVED.glob(f"{task}/*/manifest.json"))
FINISHED = [name for name in RUNS if name.endswith("finished")]
UNFINISHED = [name for name in RUNS if name.endswith(("killed", "interrupted"))]


def of_task(names: list[str]) -> list:
    """Runs as parameters; those of a task in one process, which trains its network once."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(f"saved-{name.split('/')[0]}")) for name in names]


@pytest.fixture(autouse=True)
def at_the_top(monkeypatch):
    """The present folder is the one that the runs were made in: they name problem files relative to it."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@functools.cache
def other_machine() -> str:
    different = differences(json.loads((SAVED / "probe.json").read_text()), probe("torch"))
    return f"the network would be another one here: other arithmetic or versions ({different})" if different else ""


@pytest.fixture
def same_network(cache):
    """What a run needs to go on: the network that it was begun with, trained again."""
    if reason := other_machine():
        pytest.skip(reason)


def copied(name: str, folder: Path) -> Path:
    path = folder / name.replace("/", "-")
    shutil.copytree(SAVED / name, path)
    return path


def done(answer: Answer) -> str:
    """What a command said that succeeded."""
    assert answer.code == 0, answer.out + answer.err
    return answer.out


def resumed(path: Path) -> None:
    with without_pictures():
        done(command("solve", "--resume", path, "--force", "--quiet"))


def contents(run: Path) -> dict[str, object]:
    """What runs of one request have in common, however they came to their end."""
    found: dict[str, object] = {
        str(file.relative_to(run)): file.read_bytes()
        for file in sorted(run.rglob("*"))
        if file.suffix in (".jsonl", ".csv", ".safetensors") and file.name != "history.csv"
    }
    found["history"] = pd.read_csv(run / "history.csv").drop(columns="seconds").to_csv()
    manifest = json.loads((run / "manifest.json").read_text())
    names = ["objectives", "status", "stop_reason", "n_gen", "n_eval", "n_failed", "hypervolume", "ref_point"]
    return found | {name: manifest.get(name) for name in (*names, "igd_plus", "n_solutions", "stationary", "data")}


def test_every_task_has_a_finished_and_a_killed_run():
    files = sorted(file.stem for file in (ROOT / "problems").glob("*.py") if not file.name.startswith("_"))
    assert files == TASKS
    assert {f"{task}/{kind}" for task in TASKS for kind in ("finished", "killed")} <= set(RUNS)


def test_no_file_names_the_machine():
    for file in SAVED.rglob("*"):
        if file.is_file() and file.name != "make.py":
            assert not any(text in file.read_bytes() for text in (b"/work/", b"/tmp/", b"/root", b"/home", b"/Users"))


@pytest.mark.parametrize("name", RUNS)
def test_run_is_shown_with_its_front(name, tmp_path):
    path = copied(name, tmp_path)
    run = opt.load_run(path)
    shown = done(command("show", path))
    assert run.status == ("finished" if name in FINISHED else "interrupted")
    assert f"problems/{name.split('/')[0]}.py" in shown and run.status in shown
    front = run.front if run.has_front else run.front_so_far.table
    assert len(front) and str(front["id"].iloc[0]) in shown
    assert f"--resume {path}" in shown or run.status == "finished"


@pytest.mark.parametrize("name", RUNS)
def test_run_passes_every_check_once_its_pictures_are_drawn(name, tmp_path):
    path = copied(name, tmp_path)
    before = [line.split()[:2] for line in command("show", path, "--check").out.splitlines()[1:]]
    assert all(file.startswith("plots/") for verdict, file in before if verdict == "wrong")
    drawn = done(command("plot", path))
    assert (path / "plots" / "front.png").stat().st_size > 5000
    assert (path / "plots" / "convergence.png").stat().st_size > 5000
    assert (path / "trace.csv").exists() == (path / "plots" / "trace.png").exists()
    assert f"wrote {path / 'plots' / 'front.png'}" in drawn
    checked = done(command("show", path, "--check"))
    assert "wrong" not in checked
    assert f"records: {len(opt.load_run(path).journal())}, each passes its check" in checked


@pytest.mark.parametrize("name", FINISHED)
def test_run_is_read_from_python(name):
    run = opt.load_run(SAVED / name)
    names = [objective.name for objective in run.objectives]
    assert len(run.front) == run.manifest["n_solutions"] and np.isfinite(run.front[names].to_numpy()).all()
    assert run.history["n_eval"].iloc[-1] == run.manifest["n_eval"] == sum(record["new"] for record in run.journal())
    assert len(run.references)
    for file in (run.path / "solutions").glob("*.safetensors"):
        assert file.stem in set(run.front["id"]) and run.solution(file.stem)


@pytest.mark.parametrize("task", TASKS)
def test_run_is_compared_with_another_copy_of_it(task, tmp_path):
    copies = [copied(f"{task}/finished", tmp_path / name) for name in ("a", "b")]
    said = done(command("compare", *copies, copied(f"{task}/killed", tmp_path), "--out", tmp_path / "compared"))
    assert "not finished" in said and "more than one run of seed 1" in said
    indicators = pd.read_csv(tmp_path / "compared" / "indicators.csv")
    assert len(indicators) == 2 and indicators["hypervolume"].nunique() == 1


@pytest.mark.parametrize("name", of_task(UNFINISHED))
def test_run_goes_on_by_force_alone_and_keeps_what_it_recorded(name, tmp_path, same_network):
    path = copied(name, tmp_path)
    journal = (path / "journal.jsonl").read_bytes()
    refused = command("solve", "--resume", path, "--quiet")
    assert refused.code == 2 and "--force" in refused.err
    assert (path / "journal.jsonl").read_bytes() == journal
    resumed(path)
    run = opt.load_run(path)
    whole = (path / "journal.jsonl").read_bytes()
    assert run.status == "finished" and whole.startswith(journal) and len(whole) > len(journal)
    (entry,) = run.manifest["resumed"]
    assert entry["n_gen"] == journal.count(b"\n") - 1
    assert not {"the data", "the problem's parameters"} & set(entry["changed"]), "only the code is another one"
    if not name.endswith("started-killed"):
        assert contents(path) == contents(SAVED / name.split("/")[0] / "finished")
    assert "wrong" not in done(command("show", path, "--check"))


@pytest.mark.parametrize("name", of_task(FINISHED))
def test_lost_files_of_a_run_are_made_again(name, tmp_path, same_network):
    path = copied(name, tmp_path)
    before = contents(path)
    for lost in ("front.csv", "references.csv", "trace.csv"):
        (path / lost).unlink(missing_ok=True)
    shutil.rmtree(path / "solutions", ignore_errors=True)
    resumed(path)
    assert contents(path) == before
    assert "wrong" not in done(command("show", path, "--check"))


@pytest.mark.xdist_group("saved-ecomp")
def test_search_begins_with_the_front_of_a_run_as_it_did(tmp_path, same_network):
    killed = copied("ecomp/started-killed", tmp_path)
    resumed(killed)
    asked = opt.load_run(killed).manifest["command"].split()
    words = [word for word in asked if word.startswith("--") and not word.startswith(("--out=", "--start="))]
    now = {"--problem.hidden=8": "--problem.network=mlp-8-8", "--problem.parent_epochs=2": "--problem.epochs=2"}
    words = [now.get(word, word) for word in words]
    with without_pictures():
        target, start = "problems/ecomp.py", SAVED / "ecomp" / "finished"
        done(command("solve", target, *words, f"--start={start}", f"--out={tmp_path / 'new'}"))
    (new,) = (tmp_path / "new").iterdir()
    assert contents(new).keys() | {"start/journal.jsonl"} == contents(killed).keys()
    assert (new / "journal.jsonl").read_bytes() == (killed / "journal.jsonl").read_bytes()
    assert (new / "front.csv").read_bytes() == (killed / "front.csv").read_bytes()


def test_study_is_shown_drawn_and_compared(tmp_path):
    study = copied("study", tmp_path)
    shown = done(command("show", study))
    assert "4 runs, 2 of them not finished" in shown
    command("show", study, "--check")
    done(command("plot", study))
    assert "warning" in done(command("compare", study, "--out", tmp_path / "compared"))
    assert len(pd.read_csv(tmp_path / "compared" / "indicators.csv")) == 2


@pytest.mark.xdist_group("saved-ecomp")
def test_study_goes_on_by_force(tmp_path, same_network):
    study = copied("study", tmp_path)
    journals = {path: path.read_bytes() for path in study.glob("*/journal.jsonl")}
    assert command("solve", "--resume", study, "--quiet").code == 2
    resumed(study)
    runs = opt.find_runs([study])
    assert len(runs) == 4 and all(run.status == "finished" for run in runs)
    for path, before in journals.items():
        after = path.read_bytes()
        assert after.startswith(before) and (after == before) == (path.parent.name != "ecomp-nsga2-s2")
    assert "wrong" not in done(command("show", study, "--check"))

"""Run directories: made, opened, listed, resumed; and what is no run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sample_problems as samples
from safetensors.numpy import load_file

import opt
from opt.files import atomic
from opt.runs import run_directory as run_module
from opt.runs.journal import Journal

pytestmark = pytest.mark.usefixtures("no_plots")


@pytest.fixture
def run(tmp_path):
    return opt.minimize(samples.Slope(), n_gen=4, pop_size=6, out=tmp_path / "runs")


def snapshot(path: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes() if p.is_file() else b"", p.stat().st_mtime_ns) for p in sorted(path.rglob("*"))}


def test_directory_is_complete(run):
    names = {p.name for p in run.path.iterdir()}
    assert names >= {"manifest.json", "journal.jsonl", "history.csv", "front.csv", "references.csv", "solutions"}
    assert not [n for n in names if n.startswith(".")], "a temporary file was left"
    front = run.front
    assert front.columns.tolist() == ["id", "cost", "gain", "test_accuracy", "x0", "x1", "x2", "x3"]
    assert front["cost"].is_monotonic_increasing and front["id"].is_unique
    for i, x in zip(front["id"], front[["x0", "x1", "x2", "x3"]].to_numpy(), strict=True):
        np.testing.assert_allclose(run.solution(i)["x"], x, rtol=1e-12)
    assert len(list((run.path / "solutions").iterdir())) == len(front)
    with pytest.raises(opt.UsageError, match="no saved solution"):
        run.solution("e999999")


def test_history_has_one_row_a_generation_under_the_documented_names(run):
    assert run.history.columns.tolist() == [
        "n_gen", "n_eval", "seconds", "hypervolume", "archive_size", "n_failed",
        "best_cost", "mean_cost", "worst_cost", "best_gain", "mean_gain", "worst_gain",
    ]  # fmt: skip
    assert run.history["n_gen"].tolist() == [1, 2, 3, 4]
    assert run.history["hypervolume"].is_monotonic_increasing
    assert run.history["hypervolume"].iloc[-1] == pytest.approx(run.manifest["hypervolume"])


def test_keep_limits_the_solutions_not_the_front(tmp_path):
    kept = opt.minimize(samples.Slope(), n_gen=8, pop_size=12, keep=3, out=tmp_path)
    assert len(kept.front) > 3
    ids = {p.stem for p in (kept.path / "solutions").iterdir()}
    assert len(ids) == 3
    front = kept.front.set_index("id")
    assert front["cost"].idxmin() in ids and front["gain"].idxmax() in ids
    assert not list((opt.minimize(samples.Slope(), n_gen=1, keep=0, out=tmp_path).path / "solutions").iterdir())


def test_object_genomes_are_saved_by_their_tensors(tmp_path):
    run = opt.minimize(samples.Words(), n_gen=4, pop_size=6, out=tmp_path)
    row = run.front.iloc[-1]
    letters = load_file(run.path / "solutions" / f"{row['id']}.safetensors")["letters"]
    assert "".join(map(str, letters)) == str(row["word"]) and len(letters) == row["length"]
    assert sum(letters) == row["sum"]


def test_runs_of_the_same_second_get_directories_of_their_own(tmp_path, monkeypatch):
    class Stopped(run_module.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr(run_module, "datetime", Stopped)
    runs = [opt.minimize(samples.Bowl(), "ga", n_gen=1, pop_size=4, out=tmp_path) for _ in range(3)]
    assert len({r.path for r in runs}) == 3
    stem = "bowl-ga-s1-20260102-030405"
    assert sorted(p.name for p in tmp_path.iterdir()) == [stem, f"{stem}-2", f"{stem}-3"]


def test_finished_run_that_is_resumed_changes_nothing(tmp_path, solve, sample):
    out = tmp_path / "runs"
    assert solve(sample("Slope"), "--algo.pop_size", "6", "--n-gen", "3", "--out", out, "--quiet").code == 0
    before = snapshot(out)
    (path,) = out.iterdir()
    answer = solve("--resume", path)
    assert answer.code == 0
    assert answer.out == f"{path} is finished (3 generations done); nothing was changed\n"
    assert answer.err == ""
    assert opt.minimize(samples.Slope(), resume=path).path == path
    assert snapshot(out) == before


def test_resume_of_a_run_from_python_is_told_how(run, solve):
    (run.path / "manifest.json").write_text(json.dumps(run.manifest | {"status": "interrupted"}))
    answer = solve("--resume", run.path)
    assert answer.code == 2
    assert "opt.minimize(problem, resume=" in answer.err


def test_run_whose_process_is_gone_counts_as_interrupted(run):
    manifest = run.manifest | {"status": "running"}
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    assert opt.load_run(run.path).status == "interrupted"
    journal = Journal(run.path / "journal.jsonl")
    assert opt.load_run(run.path).status == "running"
    with pytest.raises(opt.UsageError, match="in use by another process"):
        opt.minimize(samples.Slope(), resume=run.path)
    journal.close()


def test_history_outlives_a_resume_that_is_refused(run):
    (run.path / "manifest.json").write_text(json.dumps(run.manifest | {"status": "interrupted"}))
    before = (run.path / "history.csv").read_bytes(), (run.path / "journal.jsonl").read_bytes()

    class Other(samples.Slope):
        def __init__(self):
            super().__init__(n_var=5)

    with pytest.raises(opt.UsageError, match=r"the problem's file .*, the problem's parameters .*--force"):
        opt.minimize(Other(), resume=run.path)
    with pytest.raises(opt.UsageError, match="does not replay"):
        opt.minimize(Other(), resume=run.path, force=True)
    assert before == ((run.path / "history.csv").read_bytes(), (run.path / "journal.jsonl").read_bytes())
    with pytest.raises(opt.UsageError, match=r"made for objectives cost, gain, not near, far"):
        opt.minimize(samples.Drifting(), resume=run.path)
    assert before == ((run.path / "history.csv").read_bytes(), (run.path / "journal.jsonl").read_bytes())
    resumed = opt.minimize(samples.Slope(), resume=run.path)
    assert resumed.status == "finished"
    assert before == ((run.path / "history.csv").read_bytes(), (run.path / "journal.jsonl").read_bytes())


@pytest.mark.parametrize("damage", ["torn", "missing", "foreign", "longer"])
def test_damaged_history_is_made_anew(run, damage):
    file = run.path / "history.csv"
    whole = pd.read_csv(file).drop(columns="seconds")
    text = file.read_text()
    if damage == "torn":
        file.write_text(text[:-7])
    elif damage == "missing":
        file.unlink()
    elif damage == "foreign":
        file.write_text("a,b\n1,2\n")
    else:
        file.write_text(text + "5,1,1,1,1,1,1,1,1,1,1,1\n")
    (run.path / "manifest.json").write_text(json.dumps(run.manifest | {"status": "interrupted"}))
    resumed = opt.minimize(samples.Slope(), resume=run.path)
    assert resumed.history.drop(columns="seconds").equals(whole)


def test_list_runs_passes_over_what_is_none(tmp_path, capsys):
    for seed in (1, 2):
        opt.minimize(samples.Bowl(), "ga", n_gen=1, pop_size=4, seed=seed, out=tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    assert [r.manifest["seed"] for r in opt.list_runs(tmp_path)] == [1, 2]
    assert "passed over" in capsys.readouterr().err
    with pytest.raises(opt.UsageError):
        opt.list_runs(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "cannot be read"),
        ("{", "cannot be read"),
        ("[1]", "no format opt-run"),
        ('{"format": "other"}', "no format opt-run"),
        ('{"format": "opt-run", "version": 99}', "run version 99"),
        ('{"format": "opt-run"}', "run version None"),
        ('{"format": "opt-run", "version": 1}', "lacks status, problem"),
        ("\xff\xfe", "cannot be read"),
    ],
)
def test_corrupt_manifest_is_refused(run, text, part):
    (run.path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(opt.UsageError) as caught:
        opt.load_run(run.path)
    assert part in str(caught.value)


def test_what_is_no_run_directory_is_refused(tmp_path, run):
    for path, part in (
        (tmp_path, "has no manifest.json"),
        (tmp_path / "none", "does not exist"),
        (run.path / "journal.jsonl", "is a file"),
    ):
        with pytest.raises(opt.UsageError, match=part):
            opt.load_run(path)


def test_missing_or_broken_front_says_how_to_get_it(run):
    (run.path / "front.csv").write_bytes(b"")
    with pytest.raises(opt.UsageError, match="not a readable table"):
        _ = run.front
    (run.path / "front.csv").unlink()
    with pytest.raises(opt.UsageError, match="--resume"):
        _ = run.front


def test_run_can_be_moved(run, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.move(run.path, moved)
    assert len(opt.load_run(moved).front) == run.manifest["n_solutions"]


def test_write_bytes_is_all_or_nothing(tmp_path, monkeypatch):
    file = tmp_path / "file"
    atomic.write_bytes(file, b"old")

    def broken(number):
        raise OSError("disk")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError):
        atomic.write_bytes(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_objectives_must_have_usable_names():
    for names in (("a", "a"), ("id", "b"), ("a,b", "c"), ("", "c"), ('a"', "b"), ("a\n", "b")):

        class Named(opt.CompressionProblem):
            objectives = tuple(opt.Objective(n) for n in names)

        with pytest.raises(ValueError, match="need different names"):
            Named(n_var=1)


def test_run_directory_has_its_manifest_from_the_moment_it_has_its_name(tmp_path, monkeypatch):
    seen = []
    rename = Path.rename

    def watched(self, target):
        seen.append(((self / "manifest.json").exists(), Path(target).exists()))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watched)
    run = opt.minimize(samples.Bowl(), "ga", n_gen=1, pop_size=4, out=tmp_path)
    assert seen == [(True, False)] and list(tmp_path.iterdir()) == [run.path]


def test_folders_of_processes_that_died_are_passed_over_and_removed(tmp_path, capsys):
    dead, alive = tmp_path / ".new-0.999999999", tmp_path / f".new-99.{os.getpid()}"
    for folder in (dead, alive, tmp_path / "mine", tmp_path / ".new-notes"):
        folder.mkdir()
    (dead / "manifest.json").write_text("{")
    (dead / ".manifest.json.999999999").write_text("{")
    assert opt.list_runs(tmp_path) == [] and capsys.readouterr().err == ""
    opt.minimize(samples.Bowl(), "ga", n_gen=1, pop_size=4, out=tmp_path)
    assert dead.exists(), "it may be of a process on another machine that has just begun"
    os.utime(dead, (0, 0))
    opt.minimize(samples.Bowl(), "ga", n_gen=1, pop_size=4, seed=2, out=tmp_path)
    assert not dead.exists() and alive.exists()
    assert (tmp_path / "mine").exists() and (tmp_path / ".new-notes").exists()
    assert len(opt.list_runs(tmp_path)) == len(opt.find_runs([tmp_path])) == 2


@pytest.mark.parametrize("content", [(), (".manifest.json.999999999",), ("notes.txt",)])
def test_folder_of_a_task_killed_before_its_manifest_is_taken_over(tmp_path, solve, sample, content):
    folder = tmp_path / "mine" / "slope-nsga2-s1"
    folder.mkdir(parents=True)
    for name in content:
        (folder / name).write_text("half")
    given = ("--n-gen", 1, "--algo.pop_size", 4, "--name", "mine", "--out", tmp_path, "--quiet")
    assert solve(sample("Slope"), *given).code == 0
    assert opt.load_run(folder).status == "finished"
    assert not (folder / ".manifest.json.999999999").exists()
    assert (folder / "notes.txt").exists() == ("notes.txt" in content)


def test_run_that_cannot_be_begun_leaves_nothing_and_takes_nothing(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")

    def broken(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    for name in ("mine", "other", None):
        with pytest.raises(opt.UsageError, match="No space left"):
            run_module.RunDirectory.create(tmp_path, "stem", {"objectives": [{"name": "a"}]}, name=name)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["mine", "mine/notes.txt"]

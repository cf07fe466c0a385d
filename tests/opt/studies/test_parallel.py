"""Several runs at once: the same journals however many processes share them, and a clean stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from running_processes import is_alive

from opt import find_runs
from opt.files import locking
from opt.runs.journal import Journal

ROOT = Path(__file__).parents[3]
OPTIONS = ("--algo.pop_size", "6", "--n-gen", "4", "--runs", "3", "--seed", "7", "--quiet")


def journals(out):
    return {r.manifest["seed"]: (r.path / "journal.jsonl").read_bytes() for r in find_runs([out])}


def test_runs_are_the_same_for_any_number_of_jobs(tmp_path, solve, sample, no_plots):
    alone = tmp_path / "alone"
    for seed in (7, 8, 9):
        assert solve(sample("Slope"), *OPTIONS, "--runs", "1", "--seed", seed, "--out", alone).code == 0
    for jobs in (1, 2):
        out = tmp_path / f"jobs-{jobs}"
        answer = solve(sample("Slope"), *OPTIONS, "--jobs", jobs, "--out", out)
        assert (answer.code, answer.err) == (0, "")
        assert journals(out) == journals(alone)
        assert all(r.status == "finished" for r in find_runs([out]))
    assert sorted(journals(alone)) == [7, 8, 9]
    assert len(set(journals(alone).values())) == 3


def test_what_is_wrong_with_all_runs_is_said_once_before_any_starts(tmp_path, solve, sample):
    answer = solve(sample("Bowl"), *OPTIONS, "--jobs", "2", "--out", tmp_path / "runs")
    assert answer.code == 2
    assert answer.err.count("\n") == 1 and "these fit: " in answer.err
    assert not (tmp_path / "runs").exists()


def test_failing_run_does_not_stop_the_others(tmp_path, solve, no_plots):
    file = tmp_path / "task.py"
    file.write_text(
        "import numpy as np\nfrom opt import CompressionProblem, Objective\n"
        "class Task(CompressionProblem):\n"
        "    objectives = (Objective('a'),)\n"
        "    def __init__(self):\n        super().__init__(n_var=2, xl=0, xu=1)\n"
        "    def begin_run(self, rng):\n        self.broken = rng.integers(2) == 0\n"
        "    def evaluate(self, X):\n        if self.broken: raise RuntimeError('broken\\nhere')\n"
        "        return X.sum(axis=1, keepdims=True)\n"
    )
    options = ("--algo", "ga", "--algo.pop_size", "6", "--n-gen", "2", "--runs", "8")
    answer = solve(file, *options, "--out", tmp_path / "runs")
    runs = find_runs([tmp_path / "runs"])
    statuses = [r.status for r in runs]
    assert len(runs) == 8 and set(statuses) == {"failed", "finished"}
    assert answer.code == 2
    errors = answer.err.splitlines()
    assert len(errors) == statuses.count("failed")
    assert all(line.startswith("error: task-ga-s") and "broken here" in line for line in errors)


def workers_of(pid: int) -> list[int]:
    """Every process below `pid`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
        except OSError:  # it has ended meanwhile
            continue
    return found + [grandchild for child in found for grandchild in workers_of(child)]


TASK = """
import time
from pathlib import Path
from opt import CompressionProblem, Objective

class Task(CompressionProblem):
    objectives = (Objective("a"), Objective("b"))

    def __init__(self):
        super().__init__(n_var=2, xl=0, xu=1)
        self.n_gen = 0

    def begin_generation(self, n_gen):
        self.n_gen = n_gen
        return False

    def evaluate(self, X):
        if self.n_gen == 3 and Path(__file__).with_name("slow").exists():
            time.sleep(300)
        return X
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc, which tells who started whom")
@pytest.mark.parametrize("more", [("--jobs", "2", "--eval-time", "1h"), ("--jobs", "1", "--task-time", "1h")])
def test_workers_end_with_a_command_that_is_killed_and_its_runs_go_on_at_once(more, tmp_path, solve, no_plots):
    task, out = tmp_path / "task.py", tmp_path / "killed"
    task.write_text(TASK)
    options = (str(task), "--algo.pop_size", "6", "--n-gen", "4", "--runs", "2", "--quiet")
    assert solve(*options, "--out", tmp_path / "whole").code == 0
    (tmp_path / "slow").touch()
    command = [sys.executable, "-m", "opt.solve", *options, *more, "--out", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not any(p.read_bytes().count(b"\n") == 3 for p in out.glob("*/*/journal.jsonl")):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    workers = workers_of(process.pid)
    assert workers
    process.kill()
    process.wait()
    (tmp_path / "slow").unlink()
    (study,) = out.iterdir()
    # what is asked next is answered at once, though the workers were at an evaluation of five minutes
    answer = solve("--resume", study, "--trust", "--quiet")
    assert (answer.code, answer.err) == (0, "")
    assert not any(map(is_alive, workers))
    rows = pd.read_csv(study / "index.csv")
    assert set(rows["status"]) == {"finished"} and rows["reason"].isna().all()
    assert journals(out) == journals(tmp_path / "whole")


def test_run_that_another_process_is_at_is_not_counted_as_failed(tmp_path, monkeypatch, solve, sample, no_plots):
    assert solve(sample("Slope"), *OPTIONS, "--out", tmp_path).code == 0
    (study,) = tmp_path.iterdir()
    held = study / "slope-nsga2-s8"
    manifest = json.loads((held / "manifest.json").read_text())
    (held / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    monkeypatch.setattr(locking, "WAIT_SECONDS", 0.2)
    for more in ((), ("--task-time", "60s")):
        journal = Journal(held / "journal.jsonl")
        answer = solve("--resume", study, "--trust", "--quiet", *more)
        assert answer.code == 2 and answer.err.count("\n") == 1
        assert f"slope-nsga2-s8: {held} is in use by another process (by its own note {os.getpid()} on " in answer.err
        assert list(pd.read_csv(study / "index.csv")["status"]) == ["finished", "running", "finished"]
        journal.close()
    assert solve("--resume", study, "--trust", "--quiet").code == 0
    rows = pd.read_csv(study / "index.csv")
    assert set(rows["status"]) == {"finished"} and rows["reason"].isna().all()


def stop_in_the_middle(tmp_path, jobs, number):
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "opt.solve", f"{ROOT}/tests/sample_problems.py:Slope", "--problem.nap", "0.05"),
            *("--algo.pop_size", "6", "--n-gen", "200", "--runs", "4", "--jobs", str(jobs), "--out", str(tmp_path)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while sum(p.stat().st_size > 2000 for p in tmp_path.glob("*/*/journal.jsonl")) < jobs:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    # as a terminal does: to every process of the group
    os.killpg(process.pid, number)
    out, errors = process.communicate(timeout=60)
    return process.returncode, out, errors


def check_stopped(tmp_path, code, out, errors, *, jobs):
    assert code == 130
    assert "Traceback" not in errors
    manifests = [json.loads(p.read_text()) for p in tmp_path.glob("*/*/manifest.json")]
    assert len(manifests) == jobs, "no other run may start"
    for manifest in manifests:
        assert manifest["status"] == "interrupted"
        assert 0 < manifest["n_gen"] < 200 and manifest["n_solutions"] > 0
    assert f"4 of 4 runs are not finished, {4 - jobs} of them not begun" in out


def test_signal_stops_runs_in_sequence(tmp_path):
    check_stopped(tmp_path, *stop_in_the_middle(tmp_path, 1, signal.SIGINT), jobs=1)


def test_signal_stops_runs_side_by_side(tmp_path):
    check_stopped(tmp_path, *stop_in_the_middle(tmp_path, 2, signal.SIGINT), jobs=2)


def test_resume_finds_the_problem_from_another_folder(tmp_path, monkeypatch, solve, no_plots):
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("sphere.py").write_text(
        "from pymoo.core.problem import Problem\n\n\nclass Sphere(Problem):\n"
        "    def __init__(self):\n        super().__init__(n_var=3, n_obj=1, xl=-1.0, xu=1.0)\n\n"
        "    def _evaluate(self, x, out, *args, **kwargs):\n        out['F'] = (x**2).sum(axis=1)\n"
    )
    out = tmp_path / "runs"
    assert solve("sphere.py", "--algo", "ga", "--algo.pop_size", 4, "--n-gen", 4, "--out", out, "--quiet").code == 0
    run = next(out.iterdir())
    journal = (run / "journal.jsonl").read_bytes()
    manifest = json.loads((run / "manifest.json").read_text()) | {"status": "interrupted"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "journal.jsonl").write_bytes(b"".join(journal.splitlines(keepends=True)[:3]))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert solve("--resume", run, "--trust", "--quiet").code == 0
    assert (run / "journal.jsonl").read_bytes() == journal


def test_quiet_says_nothing_of_several_runs(tmp_path, solve, sample, no_plots):
    answer = solve(sample("Slope"), *OPTIONS, "--out", tmp_path / "runs")
    assert (answer.code, answer.out, answer.err) == (0, "", "")

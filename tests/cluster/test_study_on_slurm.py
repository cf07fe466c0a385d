"""A study carried out by jobs of a real Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.xdist_group("cluster")
pytest.importorskip("dask_jobqueue", reason="the package dask-jobqueue is not installed")
ROOT = Path(__file__).parents[2]
TASK = """
import os
import numpy as np
from opt import CompressionProblem, Objective


class Task(CompressionProblem):
    objectives = (Objective("a"), Objective("b"))

    def __init__(self):
        super().__init__(n_var=2, xl=0, xu=1)

    def evaluate(self, X):
        return np.column_stack([X.sum(axis=1), (1 - X).sum(axis=1)])

    def describe(self, x):
        return {"job": os.environ["SLURM_JOB_ID"], "greeting": os.environ["GREETING"]}
"""


def solve(*arguments: object, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "opt.solve", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=env | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )


def test_study_runs_in_jobs_of_slurm(slurm, tmp_path):
    (tmp_path / "task.py").write_text(TASK)
    options = (
        *("task.py", "--algo", "nsga2,random", "--algo.pop_size", 6, "--n-gen", 3, "--runs", 2, "--out", "runs"),
        *("--cluster", "slurm", "--jobs", 2, "--cluster.queue", "all", "--cluster.memory", "500MB"),
        *("--cluster.walltime", "00:05:00", "--cluster.interface", "lo", "--cluster.scratch", tmp_path),
        *("--cluster.environment", "export GREETING=hello", "--cluster.logs", tmp_path / "logs"),
    )
    answer = solve(*options, cwd=tmp_path, env=slurm)
    assert answer.returncode == 0, answer.stderr
    (file,) = tmp_path.glob("runs/*/index.csv")
    rows = pd.read_csv(file)
    assert len(rows) == 4 and set(rows["status"]) == {"finished"}
    fronts = [pd.read_csv(path) for path in file.parent.glob("*/front.csv")]
    jobs = {job for front in fronts for job in front["job"]}
    assert len(jobs) >= 1 and {word for front in fronts for word in front["greeting"]} == {"hello"}
    assert queue(slurm) == [], "no job outlives the command"


def queue(slurm: dict[str, str]) -> list[str]:
    """Ids of the jobs that wait or run."""
    command = ["squeue", "--noheader", "--format=%A %t"]
    lines = subprocess.run(command, env=slurm, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[0] for line in lines if not line.endswith(" CG")]


def test_task_of_a_cancelled_job_resumes_in_the_job_that_replaces_it(slurm, tmp_path):
    options = (
        *(f"{ROOT}/tests/sample_problems.py:Slope", "--problem.nap", "0.05", "--algo.pop_size", 6, "--n-gen", 100),
        *("--name", "one", "--out", tmp_path, "--cluster", "slurm", "--cluster.interface", "lo"),
        *("--cluster.memory", "500MB", "--cluster.logs", tmp_path / "logs"),
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "opt.solve", *map(str, options)],
        cwd=tmp_path,
        env=slurm | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = tmp_path / "one" / "slope-nsga2-s1" / "journal.jsonl"
    end = time.monotonic() + 60
    while not journal.exists() or journal.stat().st_size < 3000:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    before = journal.read_bytes()
    subprocess.run(["scancel", *queue(slurm)], env=slurm, check=True)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    after = journal.read_bytes()
    assert after.startswith(before[: before.rfind(b"\n") + 1]) and after.count(b"\n") == 101


def test_partition_that_slurm_does_not_have_is_one_line(slurm, tmp_path):
    options = (f"{ROOT}/tests/sample_problems.py:Slope", "--cluster", "slurm", "--cluster.queue", "nights", "--runs", 2)
    answer = solve(*options, "--cluster.interface", "lo", "--out", "runs", cwd=tmp_path, env=slurm)
    assert answer.returncode == 2 and "Traceback" not in answer.stderr
    assert "slurm did not take the jobs" in answer.stderr and "invalid partition" in answer.stderr


@pytest.mark.parametrize(("kind", "header"), [("slurm", "#SBATCH"), ("pbs", "#PBS")])
def test_print_job_shows_the_script_and_submits_nothing(kind, header, tmp_path):
    options = (
        *(f"{ROOT}/tests/sample_problems.py:Slope", "--cluster", kind, "--print-job", "--cluster.queue", "night"),
        *("--cluster.memory", "3GB", "--cluster.walltime", "01:30:00", "--cluster.scratch", "/scratch"),
        *("--cluster.environment", "module load python", "--cluster.directives=--constraint=avx2"),
    )
    answer = solve(*options, "--out", "runs", cwd=tmp_path, env=dict(os.environ))
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = answer.stdout.splitlines()
    assert lines[0].startswith("#!") and any(line.startswith(header) for line in lines)
    for text in (
        "night",
        "01:30:00",
        "module load python",
        f"{header} --constraint=avx2",
        "--local-directory /scratch",
    ):
        assert text in answer.stdout
    assert not list(tmp_path.iterdir())


def test_batch_system_that_is_not_there_is_one_line(tmp_path):
    options = (f"{ROOT}/tests/sample_problems.py:Slope", "--cluster", "pbs", "--runs", 2, "--out", "runs")
    answer = solve(*options, cwd=tmp_path, env=os.environ | {"PATH": str(Path(sys.executable).parent)})
    assert answer.returncode == 2 and "Traceback" not in answer.stderr
    assert answer.stderr.splitlines()[-1].startswith("error: pbs did not take the jobs")

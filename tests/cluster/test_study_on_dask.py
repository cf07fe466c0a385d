"""A study on a real Dask scheduler and workers, one of which is killed in the middle of a task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from opt import find_runs

pytestmark = pytest.mark.xdist_group("cluster")
ROOT = Path(__file__).parents[2]
OPTIONS = (
    *(f"{ROOT}/tests/sample_problems.py:Slope", "--problem.nap", "0.02", "--algo", "nsga2,random"),
    *("--algo.pop_size", "6", "--n-gen", "60", "--runs", "2"),
)


def start(*arguments: object, cwd: Path = ROOT) -> subprocess.Popen:
    command = [sys.executable, "-m", "opt.solve", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def journals(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob("*/*/journal.jsonl"))}


def index(out: Path) -> pd.DataFrame:
    (file,) = out.glob("*/index.csv")
    return pd.read_csv(file, keep_default_na=False)


def wait_until(what, process: subprocess.Popen, *, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def under_way(out: Path) -> list[str]:
    """Tasks that a worker is at, with something in their journals."""
    begun = {path.name.removesuffix(".begun") for path in out.glob("*/.tasks/*.begun")}
    return [path.parent.name for path in out.glob("*/*/journal.jsonl")
            if path.parent.name in begun and path.stat().st_size > 2000]  # fmt: skip


def test_task_of_a_killed_worker_runs_again_and_resumes(dask, tmp_path):
    cluster = dask(2)
    alone = start(*OPTIONS, "--quiet", "--out", tmp_path / "alone")
    _, errors = alone.communicate(timeout=120)
    assert (alone.returncode, errors) == (0, "")
    out = tmp_path / "dask"
    process = start(*OPTIONS, "--backend", "dask", "--scheduler", cluster.address, "--out", out)
    wait_until(lambda: len(under_way(out)) == 2, process)
    cut = {name: (next(out.glob(f"*/{name}")) / "journal.jsonl").read_bytes() for name in under_way(out)}
    cluster.workers[0].send_signal(signal.SIGKILL)
    text, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    rows = index(out)
    assert len(rows) == 4 and len(set(rows["run"])) == 4 and set(rows["status"]) == {"finished"}
    assert text.count(" generations done") == 4, "each run is told once"
    found = journals(out)
    assert found == journals(tmp_path / "alone"), "the journals are those of a study that nothing was killed in"
    assert all(found[name].startswith(part[: part.rfind(b"\n") + 1]) for name, part in cut.items())
    # began once, whoever went on with it
    assert len(find_runs([out])) == 4 and not list(out.glob("*/.tasks/*.begun"))


def test_task_that_the_scheduler_gives_up_is_recorded_and_the_others_go_on(dask, tmp_path):
    cluster = dask(2, environment={"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"})
    process = start(*OPTIONS, "--scheduler", cluster.address, "--out", tmp_path)
    wait_until(lambda: len(under_way(tmp_path)) == 2, process)
    cluster.workers[0].send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2 and "the scheduler gave it up" in errors
    # with the task that it was at, those go that were queued for it
    n_failed = int((index(tmp_path)["status"] == "failed").sum())
    assert n_failed >= 1 and set(index(tmp_path)["status"]) == {"failed", "finished"}
    again = start(*OPTIONS, "--scheduler", cluster.address, "--out", tmp_path)
    text, errors = again.communicate(timeout=120)
    assert (again.returncode, errors) == (0, "") and f"{4 - n_failed} of 4 runs are finished already" in text
    assert set(index(tmp_path)["status"]) == {"finished"}


def test_scheduler_that_goes_away_is_told_and_the_study_can_go_on(dask, tmp_path):
    cluster = dask(1)
    process = start(*OPTIONS, "--scheduler", cluster.address, "--out", tmp_path)
    wait_until(lambda: under_way(tmp_path), process)
    cluster.scheduler.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2 and "the Dask scheduler is gone" in errors
    # the worker goes with its scheduler; what it was at goes on here
    wait_until_ended(cluster.workers[0])
    again = start(*OPTIONS, "--out", tmp_path, "--jobs", 2)
    _, errors = again.communicate(timeout=120)
    assert (again.returncode, errors) == (0, "")
    assert set(index(tmp_path)["status"]) == {"finished"}


def wait_until_ended(worker: subprocess.Popen) -> None:
    worker.kill()
    worker.wait(timeout=60)


def test_signal_to_the_command_stops_its_tasks_on_the_workers(dask, tmp_path):
    cluster = dask(1)
    process = start(*OPTIONS, "--n-gen", 2000, "--scheduler", cluster.address, "--out", tmp_path)
    wait_until(lambda: under_way(tmp_path), process)
    process.send_signal(signal.SIGTERM)
    text, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in errors
    assert "4 of 4 runs are not finished, 3 of them not begun" in text
    assert sorted(index(tmp_path)["status"]) == ["interrupted", "waiting", "waiting", "waiting"]


def test_problem_file_is_found_from_the_folder_of_the_command(dask, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "sphere.py").write_text(
        "from pymoo.core.problem import Problem\n\n\nclass Sphere(Problem):\n"
        "    def __init__(self):\n        super().__init__(n_var=3, n_obj=1, xl=-1.0, xu=1.0)\n\n"
        "    def _evaluate(self, x, out, *args, **kwargs):\n        out['F'] = (x**2).sum(axis=1)\n"
    )
    cluster = dask(1)
    options = ("sphere.py", "--algo", "ga,random", "--n-gen", 3, "--scheduler", cluster.address, "--quiet")
    process = start(*options, "--out", "runs", cwd=tmp_path / "here")
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert set(index(tmp_path / "here" / "runs")["status"]) == {"finished"}


def test_scheduler_that_does_not_answer_is_one_line(tmp_path):
    pytest.importorskip("distributed", reason="the package distributed is not installed")
    process = start(*OPTIONS, "--scheduler", "tcp://127.0.0.1:9", "--out", tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and "no Dask scheduler answers" in errors.splitlines()[-1]
    assert "Traceback" not in errors

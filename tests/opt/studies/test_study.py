"""Studies: many runs under one folder that can be stopped, started again, extended, and whose failures are recorded."""

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
from refusals import refused

from opt import find_runs, load_run

ROOT = Path(__file__).parents[3]
SWEEP = ("--algo", "nsga2,random", "--n-gen", "3", "--runs", "2")

TASK = '''
import os, signal, time
import numpy as np
from opt import CompressionProblem, Objective

class Task(CompressionProblem):
    """A task.

    Args:
        fault: What goes wrong with seed 2.
    """

    objectives = (Objective("a"), Objective("b"))

    def __init__(self, *, fault: str = "", seed: int = 0):
        super().__init__(n_var=3, xl=0, xu=1)
        self.fault = fault if seed == 2 else ""
        self.n = 0
        if self.fault == "constructor":
            raise TypeError("cannot")

    def evaluate(self, X):
        self.n += 1
        if self.n == 3 and self.fault == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "memory":
            X = X + len(np.ones(10**9)) * 0
        if self.fault == "slow":
            time.sleep(0.3)
        if self.fault == "one slow":
            time.sleep(2.0 * (X[:, 0] > 0.8).sum())
        return np.column_stack([X.sum(axis=1), (1 - X).sum(axis=1)])

    def test(self, x):
        if self.fault == "test":
            raise KeyError("held out")
        return {}
'''


@pytest.fixture
def task(tmp_path):
    file = tmp_path / "task.py"
    file.write_text(TASK)
    return file


def index(out: Path) -> pd.DataFrame:
    (folder,) = [path.parent for path in out.glob("*/index.csv")]
    return pd.read_csv(folder / "index.csv", keep_default_na=False)


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.glob("*/*/journal.jsonl"))}


def test_sweep_is_one_folder_with_a_run_of_every_algorithm_and_seed(tmp_path, solve, sample, no_plots):
    out = tmp_path / "runs"
    answer = solve(sample("Slope"), *SWEEP, "--algo.pop_size", 4, "--jobs", 2, "--out", out)
    assert (answer.code, answer.err) == (0, "")
    rows = index(out)
    assert list(rows["run"]) == ["slope-nsga2-s1", "slope-random-s1", "slope-nsga2-s2", "slope-random-s2"]
    assert set(rows["status"]) == {"finished"} and (rows["n_eval"] == 12).all()
    assert answer.out.count(" generations done") == 4 and "next: python -m opt.compare" in answer.out
    for name, run in zip(sorted(rows["run"]), sorted(find_runs([out]), key=lambda r: r.path.name), strict=True):
        assert run.path.name == name
        asked = ("--algo", run.manifest["algo"]["name"], "--seed", run.manifest["seed"], "--algo.pop_size", 4)
        alone = solve(sample("Slope"), *asked, "--n-gen", 3, "--quiet", "--out", tmp_path / "alone" / name)
        assert alone.code == 0
        (single,) = find_runs([tmp_path / "alone" / name])
        assert (single.path / "journal.jsonl").read_bytes() == (run.path / "journal.jsonl").read_bytes()


def test_sweep_started_again_skips_what_is_finished_and_resumes_what_is_not(tmp_path, solve, sample, no_plots):
    out = tmp_path / "runs"
    command = (sample("Slope"), *SWEEP, "--out", out)
    assert solve(*command).code == 0
    before = contents(out)
    (study,) = out.iterdir()
    # one run lost its end, one all of itself, and one nothing but its manifest was written of
    cut = study / "slope-nsga2-s1"
    lines = (cut / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "journal.jsonl").write_bytes(b"".join(lines[:2]))
    manifest = json.loads((cut / "manifest.json").read_text())
    (cut / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    for name in ("slope-random-s1", "slope-nsga2-s2"):
        for path in sorted((study / name).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    (study / "slope-random-s1").rmdir()
    stamp = (study / "slope-random-s2" / "manifest.json").stat().st_mtime_ns
    answer = solve(*command)
    assert answer.code == 0 and "1 of 4 runs are finished already" in answer.out
    assert contents(out) == before
    assert (study / "slope-random-s2" / "manifest.json").stat().st_mtime_ns == stamp
    answer = solve("--resume", study)
    assert answer.code == 0 and "4 of 4 runs are finished already" in answer.out


def test_more_runs_of_the_same_extend_the_study(tmp_path, solve, sample, no_plots):
    out = tmp_path / "runs"
    assert solve(sample("Slope"), *SWEEP, "--out", out).code == 0
    assert solve(sample("Slope"), *SWEEP, "--runs", 3, "--out", out).code == 0
    assert list(index(out)["seed"]) == [1, 1, 2, 2, 3, 3]
    # another budget is another study
    assert solve(sample("Slope"), *SWEEP, "--n-gen", 4, "--out", out).code == 0
    assert len(list(out.iterdir())) == 2


def test_named_study_keeps_the_runs_of_earlier_commands(tmp_path, solve, sample, no_plots):
    out = tmp_path / "runs"
    assert solve(sample("Slope"), *SWEEP, "--name", "mine", "--out", out).code == 0
    answer = solve(sample("Slope"), *SWEEP, "--name", "mine", "--n-gen", "4", "--out", out)
    assert answer.code == 0 and "4 runs of earlier commands stay in it" in answer.out
    rows = index(out)
    assert list(rows["n_gen"]) == [4] * 4 + [3] * 4 and len(set(rows["run"])) == 8


def test_study_file_runs_its_grid(tmp_path, solve, sample, no_plots):
    file = tmp_path / "study.yaml"
    file.write_text(
        f"problem: {{file: '{sample('Slope')}', n_var: [3, 4]}}\nalgo: [nsga2, {{name: ga, pop_size: [4, 6]}}]\n"
        f"n_eval: 30\nname: grid\nout: {tmp_path / 'runs'}\njobs: 2\n"
    )
    assert solve("--study", file, "--quiet").code == 0
    rows = index(tmp_path / "runs")
    assert len(rows) == 6 and (rows["n_eval"] == 30).all()
    assert sorted(map(str, rows["algo.pop_size"])) == ["", "", "4", "4", "6", "6"]
    assert sorted(rows["problem.n_var"]) == [3, 3, 3, 4, 4, 4]
    sizes = {load_run(tmp_path / "runs" / "grid" / row.run).manifest["problem"]["parameters"]["n_var"]
             for row in rows.itertuples()}  # fmt: skip
    assert sizes == {3, 4}


@pytest.mark.parametrize("fault", ["constructor", "death"])
def test_task_that_fails_is_recorded_and_the_others_go_on(fault, task, tmp_path, solve, no_plots):
    out = tmp_path / "runs"
    options = ("--problem.fault", fault, "--problem.seed", "same-as-run", "--algo", "nsga2", "--algo.pop_size", 6)
    answer = solve(task, *options, "--n-gen", 5, "--runs", 4, "--jobs", 2, "--out", out)
    assert answer.code == 2
    rows = index(out).set_index("seed")
    assert list(rows["status"]) == ["finished", "failed", "finished", "finished"]
    reason = {"constructor": "cannot", "death": "SIGKILL"}[fault]
    assert reason in rows.loc[2, "reason"] and reason in answer.err and "Traceback" not in answer.err
    assert answer.err.count("\n") == 1
    if fault == "death":
        run = load_run(next(out.glob("*/task-nsga2-s2")))
        assert run.status == "failed" and "SIGKILL" in run.manifest["stop_reason"]
        assert len(run.journal()) >= 2, "what was evaluated before is kept"


def test_test_that_fails_costs_its_columns_and_no_run(task, tmp_path, solve, no_plots):
    out = tmp_path / "runs"
    options = ("--problem.fault", "test", "--problem.seed", "same-as-run", "--algo", "nsga2", "--algo.pop_size", 6)
    assert solve(task, *options, "--n-gen", 5, "--runs", 4, "--out", out).code == 0
    runs = find_runs([out])
    assert [run.status for run in runs] == ["finished"] * 4
    (complaint,) = [text for run in runs for text in run.manifest.get("complaints", [])]
    assert "held out" in complaint


def test_limit_of_memory_fails_the_evaluation_that_needs_more(task, tmp_path, solve, no_plots):
    out = tmp_path / "runs"
    options = ("--problem.fault", "memory", "--problem.seed", "same-as-run", "--algo.pop_size", 6, "--n-gen", 2)
    answer = solve(task, *options, "--runs", 2, "--jobs", 2, "--task-memory", "3GB", "--out", out)
    assert answer.code == 2
    rows = index(out).set_index("seed")
    assert list(rows["status"]) == ["finished", "failed"]
    assert "MemoryError" in rows.loc[2, "reason"] and "every one of the first" in rows.loc[2, "reason"]


def test_limit_of_a_task_s_time_ends_it_and_keeps_what_it_found(task, tmp_path, solve):
    out = tmp_path / "runs"
    options = ("--problem.fault", "slow", "--problem.seed", "same-as-run", "--algo.pop_size", 6, "--n-gen", 1000)
    began = time.monotonic()
    answer = solve(task, *options, "--seed", 2, "--task-time", "15s", "--out", out)
    assert time.monotonic() - began < 60
    assert answer.code == 2 and "took longer than its limit of 15 s" in answer.err
    (row,) = index(out).itertuples()
    assert row.status == "failed" and "limit" in row.reason
    run = load_run(next(out.glob("*/task-nsga2-s2")))
    assert run.status == "failed" and 0 < run.manifest["n_gen"] < 1000 and len(run.front)


def test_limit_of_an_evaluation_s_time_fails_that_candidate_only(task, tmp_path, solve, no_plots):
    out = tmp_path / "runs"
    options = ("--problem.fault", "one slow", "--problem.seed", "same-as-run", "--seed", 2, "--algo", "random")
    answer = solve(task, *options, "--n-eval", 8, "--algo.pop_size", 8, "--eval-time", "0.2s", "--out", out)
    assert answer.code == 0
    (run,) = find_runs([out])
    assert run.manifest["n_eval"] == 8 and 0 < run.manifest["n_failed"] < 8
    assert list(run.manifest["failures"]) == ["EvaluationTimeoutError: took longer than 0.2 s"]


def start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "opt.solve", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen, out: Path, n: int) -> None:
    end = time.monotonic() + 60
    while sum(p.stat().st_size > 2000 for p in out.glob("*/*/journal.jsonl")) < n:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)


def test_study_whose_command_is_killed_goes_on_where_it_stood(tmp_path, sample, solve, no_plots):
    options = (sample("Slope"), "--problem.nap", "0.02", "--algo.pop_size", 6, "--n-gen", 60, "--algo", "nsga2,ga")
    process = start(*options, "--runs", 2, "--jobs", 2, "--out", tmp_path / "killed")
    wait_for(process, tmp_path / "killed", 2)
    process.kill()
    process.wait()
    # at once: its workers hold their runs for a moment more
    assert solve(*options, "--runs", 2, "--jobs", 2, "--out", tmp_path / "killed", "--quiet").code == 0
    assert set(index(tmp_path / "killed")["status"]) == {"finished"} and len(index(tmp_path / "killed")) == 4
    assert solve(*options, "--runs", 2, "--jobs", 2, "--out", tmp_path / "whole", "--quiet").code == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_signal_to_the_command_alone_ends_its_runs_cleanly(tmp_path, sample):
    options = (sample("Slope"), "--problem.nap", "0.05", "--algo.pop_size", 6, "--n-gen", 400, "--runs", 3)
    process = start(*options, "--jobs", 2, "--out", tmp_path)
    wait_for(process, tmp_path, 2)
    os.kill(process.pid, signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in errors
    assert "3 of 3 runs are not finished, 1 of them not begun" in out and "--resume" in out
    runs = find_runs([tmp_path])
    assert [run.status for run in runs] == ["interrupted"] * 2 and all(len(run.front) for run in runs)


def test_study_in_use_is_refused(tmp_path, sample, solve):
    options = (sample("Slope"), "--problem.nap", "0.05", "--n-gen", 400, "--runs", 2, "--out", tmp_path)
    process = start(*options)
    wait_for(process, tmp_path, 1)
    answer = solve(*options)
    process.kill()
    process.wait()
    assert answer.code == 2 and "in use by another process" in answer.err


def test_what_is_asked_twice_is_done_once(tmp_path, solve, sample, no_plots):
    file = tmp_path / "study.yaml"
    file.write_text(f"problem: '{sample('Slope')}'\nalgo: [random, random]\nseed: [1, 2]\nruns: 2\nn_gen: 2\n")
    for _ in range(2):
        assert solve("--study", file, "--out", tmp_path / "runs", "--quiet").code == 0
        assert list(index(tmp_path / "runs")["run"]) == [f"slope-random-s{seed}" for seed in (1, 2, 3)]


def test_runs_of_a_study_show_no_progress_of_their_own(tmp_path, solve, sample, no_plots):
    answer = solve(sample("Slope"), "--algo", "nsga2,random", "--n-gen", 2, "--out", tmp_path)
    assert answer.code == 0 and "testing and saving" not in answer.out


def test_run_that_takes_the_command_with_it_fails_alone_when_started_again(task, tmp_path):
    options = (task, "--problem.fault", "death", "--problem.seed", "same-as-run", "--runs", 3, "--n-gen", 5)
    process = start(*options, "--quiet", "--out", tmp_path / "runs")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    process = start(*options, "--quiet", "--out", tmp_path / "runs")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2 and "ended by SIGKILL" in errors
    assert list(index(tmp_path / "runs")["status"]) == ["finished", "failed", "finished"]


def test_text_that_a_problem_prints_does_not_spoil_a_task_s_outcome(task, tmp_path, solve, no_plots):
    task.write_text(TASK.replace("        self.n += 1\n", "        self.n += 1\n        print('x', end='')\n"))
    answer = solve(task, "--n-gen", 2, "--task-time", "60s", "--out", tmp_path / "runs")
    assert (answer.code, answer.err) == (0, "")


@pytest.mark.parametrize(
    ("options", "what"),
    refused("study", "bad_sweep_is_one_line"),
)
def test_bad_sweep_is_one_line(options, what, tmp_path, solve, sample):
    answer = solve(sample("Slope"), "--runs", 2, *options, "--out", tmp_path / "runs")
    assert answer.code == 2 and what in answer.err and answer.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_algorithm_that_does_not_fit_is_told_before_anything_starts(tmp_path, solve, sample):
    answer = solve(sample("Switches"), "--algo", "nsga2,pso", "--runs", 2, "--out", tmp_path / "runs")
    assert answer.code == 2 and "pso does not fit" in answer.err and answer.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_altered_study_is_one_line(tmp_path, solve, sample, no_plots):
    assert solve(sample("Slope"), *SWEEP, "--out", tmp_path / "runs", "--quiet").code == 0
    (study,) = (tmp_path / "runs").iterdir()
    answer = solve("--resume", study, "--n-gen", 5)
    assert answer.code == 2 and "leave out --n-gen" in answer.err
    assert solve("--resume", study, "--jobs", 0).code == 2
    answer = solve("--resume", study, "--study", "study.yaml")
    assert answer.code == 2 and "leave out --study" in answer.err
    answer = solve("--resume", study, "--print-job")
    assert answer.code == 2 and "--print-job shows what would be submitted" in answer.err
    known = (study / "study.json").read_text()
    (study / "study.json").write_text(known.replace('"reasons"', '"reason"'))
    answer = solve("--resume", study)
    assert answer.code == 2 and "lacks 'reasons'" in answer.err and answer.err.count("\n") == 1
    (study / "study.json").write_text("{")
    answer = solve("--resume", study)
    assert answer.code == 2 and "study.json cannot be read" in answer.err and answer.err.count("\n") == 1


def test_name_of_a_run_is_refused(tmp_path, solve, sample, no_plots):
    assert solve(sample("Slope"), "--n-gen", 2, "--out", tmp_path, "--quiet").code == 0
    (run,) = tmp_path.iterdir()
    answer = solve(sample("Slope"), *SWEEP, "--out", tmp_path, "--name", run.name)
    assert answer.code == 2 and "is one run" in answer.err and not (run / "study.json").exists()


def test_folder_that_cannot_be_made_is_one_line(solve, sample):
    if not Path("/proc/self").exists():
        pytest.skip("no /proc, in which even root makes no folder")
    answer = solve(sample("Slope"), *SWEEP, "--out", "/proc/none")
    assert answer.code == 2 and "cannot write /proc/none" in answer.err and answer.err.count("\n") == 1


def test_show_tells_how_runs_under_way_stand(tmp_path, sample, capsys):
    from opt.show import main as show

    options = (sample("Slope"), "--problem.nap", "0.05", "--algo.pop_size", 6, "--n-gen", 400, "--runs", 2)
    process = start(*options, "--name", "mine", "--out", tmp_path)
    wait_for(process, tmp_path, 1)
    assert show([str(tmp_path / "mine")]) == 0
    process.kill()
    process.wait()
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("slope-")]
    assert [row[4] for row in rows] == ["running", "waiting"] and int(rows[0][5]) > 0
    assert show([str(tmp_path / "mine")]) == 0
    assert "interrupted" in capsys.readouterr().out


def test_show_lists_a_study_and_its_runs(tmp_path, solve, sample, no_plots, capsys):
    from opt.show import main as show

    assert solve(sample("Slope"), *SWEEP, "--name", "mine", "--out", tmp_path, "--quiet").code == 0
    assert solve(sample("Slope"), "--n-gen", 2, "--out", tmp_path, "--quiet").code == 0
    assert show(["--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"study {tmp_path / 'mine'}: 4 finished" in out and "slope-nsga2-s1-" in out
    assert show([str(tmp_path / "mine")]) == 0
    out = capsys.readouterr().out
    assert out.count("finished") >= 4 and "4 runs, 0 of them not finished" in out and "opt.compare" in out
    assert show([str(tmp_path / "mine"), "--check"]) == 0
    assert capsys.readouterr().out.count("manifest.json") == 4
    (tmp_path / "mine" / "index.csv").unlink()
    assert show([str(tmp_path / "mine")]) == 0  # how the runs stand is read from the runs
    assert "4 runs, 0 of them not finished" in capsys.readouterr().out
    assert show([str(tmp_path / "mine"), "--check"]) == 1
    assert "wrong  index.csv      is missing" in capsys.readouterr().out


def test_plot_takes_a_study(tmp_path, solve, sample):
    from opt.plot import main as plot

    assert solve(sample("Slope"), *SWEEP, "--name", "mine", "--out", tmp_path / "runs", "--quiet").code == 0
    assert plot([str(tmp_path / "runs" / "mine"), "--out", str(tmp_path / "front.png")]) == 0
    assert (tmp_path / "front.png").stat().st_size > 10_000

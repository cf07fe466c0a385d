"""A user's code that tries to end the process, in all the ways there are: an ordinary failure, and the run goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from sample_problems import Acting

from opt import load_run
from opt.problem.user_code import EndAttemptedError, guarded, reason_of
from opt.processes.stop_signals import GivenUpError, on_stop_signals
from opt.search.evaluation import evaluate_batch

ROOT = Path(__file__).parents[3]


def raising(error):
    def end():
        raise error

    return end


ENDINGS = {
    "SystemExit: 0": lambda: sys.exit(0),
    "SystemExit: 3": lambda: sys.exit(3),
    "SystemExit": raising(SystemExit()),
    "GeneratorExit": raising(GeneratorExit()),
    "KeyboardInterrupt: by hand": raising(KeyboardInterrupt("by hand")),
    "BaseException: bare": raising(BaseException("bare")),
    "SystemExit: os._exit(0)": lambda: os._exit(0),
    "SystemExit: os.abort()": lambda: os.abort(),
    "SystemExit: os.execv('/bin/true', ('true',))": lambda: os.execl("/bin/true", "true"),
}


@pytest.mark.parametrize("seconds", [None, 20.0])
@pytest.mark.parametrize("reason", ENDINGS)
def test_code_that_tries_to_end_the_process_is_a_failed_candidate(reason, seconds):
    X = np.array([[0.1], [0.9], [0.2]])
    with on_stop_signals(lambda reason: None):
        F, _, reasons = evaluate_batch(Acting(ENDINGS[reason]), X, seconds=seconds)
    assert reasons == {1: reason}
    assert F[[0, 2], 0].tolist() == [0.1, 0.2] and np.isnan(F[1, 0])


def test_interruption_by_a_signal_passes(interruptible):
    problem = Acting(lambda: signal.raise_signal(signal.SIGINT))

    def give_up(reason):
        assert reason == "stopped by SIGINT"
        raise GivenUpError

    with on_stop_signals(give_up), pytest.raises(GivenUpError):
        evaluate_batch(problem, np.full((2, 1), 0.9))
    # under Python's own handler nobody can say who raised it: it counts as the signal's
    with pytest.raises(KeyboardInterrupt):
        evaluate_batch(Acting(raising(KeyboardInterrupt())), np.full((2, 1), 0.9))


def test_functions_that_end_a_process_work_elsewhere(tmp_path):
    with guarded():
        pass
    file = tmp_path / "written"
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    with guarded():
        # a process that the user's code forks may end itself
        pid = os.fork()
        if pid == 0:
            file.write_text("by the fork")
            os._exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 8 and file.exists()


@pytest.mark.parametrize(("end", "code"), [("pass", 0), ("sys.exit(5)", 5), ("1 / 0", 1)])
def test_fork_that_a_user_s_code_forgets_does_not_go_on_with_the_search(end, code, tmp_path):
    file = tmp_path / "task.py"
    file.write_text(
        textwrap.dedent("""
        import os, sys
        from opt import CompressionProblem, Objective

        class Task(CompressionProblem):
            objectives = (Objective("a"),)

            def __init__(self):
                super().__init__(n_var=1, xl=0, xu=1)

            def evaluate(self, X):
                pid = os.fork()
                if pid == 0:
                    END
                else:
                    print("code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                return X
        """).replace("END", end)
    )
    options = ("--algo", "random", "--algo.pop_size", "3", "--n-gen", "3", "--quiet", "--out", str(tmp_path / "runs"))
    command = [sys.executable, "-m", "opt.solve", str(file), *options]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0
    assert process.stdout.splitlines() == [f"code {code}"] * 3
    (path,) = (tmp_path / "runs").iterdir()
    run = load_run(path)
    assert run.status == "finished" and [r["gen"] for r in run.journal()] == [1, 2, 3]


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)", "leave(0)", "raise KeyboardInterrupt"])
def test_run_whose_every_evaluation_tries_to_end_it_fails_and_says_why(end, tmp_path, solve):
    file = tmp_path / "task.py"
    file.write_text(
        "import os, sys\nfrom os import _exit as leave\nfrom opt import CompressionProblem, Objective\n"
        "class Task(CompressionProblem):\n    objectives = (Objective('a'),)\n"
        "    def __init__(self):\n        super().__init__(n_var=1, xl=0, xu=1)\n"
        f"    def evaluate(self, X):\n        {end}\n"
    )
    answer = solve(file, "--algo", "random", "--n-gen", 2, "--out", tmp_path / "runs", "--quiet")
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert "candidates failed: SystemExit: " in answer.err or "candidates failed: KeyboardInterrupt" in answer.err
    (path,) = (tmp_path / "runs").iterdir()
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["status"] == "failed" and manifest["n_eval"] == manifest["n_failed"] > 0


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)"])
def test_problem_file_that_tries_to_end_the_process_is_one_line(end, tmp_path, solve):
    file = tmp_path / "task.py"
    file.write_text(f"import os, sys\n{end}\n")
    answer = solve(file, "--out", tmp_path / "runs")
    assert answer.code == 2 and "line 2 fails to load: SystemExit" in answer.err and answer.err.count("\n") == 1


def test_reason_is_short_and_fits_any_file():
    class Wordless(Exception):
        def __str__(self):
            raise RuntimeError

    assert reason_of(Wordless()) == "Wordless: (its text raises RuntimeError)"
    assert reason_of(ValueError()) == "ValueError"
    assert reason_of(OSError("no \udcff file")) == "OSError: no \\udcff file"
    assert len(reason_of(ValueError("x" * 10**6))) < 1100
    assert reason_of(EndAttemptedError("SystemExit: 0")) == "SystemExit: 0"


def test_process_that_a_user_s_code_forks_is_stopped_by_signals_as_always():
    struck = []
    reading, writing = os.pipe()
    with on_stop_signals(struck.append):
        pid = os.fork()
        if pid == 0:
            try:
                # a signal that comes before Python has set itself up after a fork is lost to its handlers
                os.write(writing, b"!")
                time.sleep(30)
            finally:
                os._exit(9)
        os.read(reading, 1)
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    assert not struck

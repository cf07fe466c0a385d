"""Evaluations in a process of their own: the same values, and whatever happens there is that candidate's failure."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from running_processes import wait_until_gone
from sample_problems import Acting, Bowl, Fenced, Flaky, Words
from threadpoolctl import threadpool_limits

from opt import UsageError
from opt.search.evaluation import evaluate_batch
from opt.search.evaluation_process import ApartError, EvaluationTimeoutError, check_apart, run_apart

ROOT = Path(__file__).parents[3]


def swallow():
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


def deaf():
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    time.sleep(60)


def compiled():
    ctypes.PyDLL(None).sleep(60)  # as PyDLL it keeps the interpreter's lock


def segfault():
    faulthandler.disable()  # pytest's, which would say a lot
    ctypes.string_at(0)


@pytest.mark.parametrize("action", [swallow, deaf, compiled])
def test_limit_of_time_ends_whatever_does_not_want_to_end(action):
    began = time.monotonic()
    F, _, reasons = evaluate_batch(Acting(action), np.array([[0.1], [0.9], [0.2]]), seconds=0.4)
    assert time.monotonic() - began < 10
    assert reasons == {1: "EvaluationTimeoutError: took longer than 0.4 s"}
    assert F[[0, 2], 0].tolist() == [0.1, 0.2] and np.isnan(F[1, 0])


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (segfault, "its process was ended by SIGSEGV"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "its process was ended by SIGKILL, as the system does when"),
        (lambda: ctypes.CDLL(None).exit(3), "its process ended with code 3"),
        (lambda: os.closerange(3, 256), "its process ended with code 1"),
    ],
)
def test_death_of_its_process_is_a_failed_candidate(action, reason):
    F, _, reasons = evaluate_batch(Acting(action), np.array([[0.1], [0.9]]), seconds=20)
    assert list(reasons) == [1] and reasons[1].startswith(reason)
    assert F[0, 0] == 0.1


@pytest.mark.parametrize("build", [Bowl, Fenced, Flaky, Words])
def test_values_are_those_of_an_evaluation_in_this_process(build):
    problem = build()
    rng = np.random.default_rng(0)
    operators = problem.operators()
    X = operators.sampling(12, rng) if operators else rng.uniform(problem.xl, problem.xu, (12, problem.n_var))
    here, apart = evaluate_batch(problem, X), evaluate_batch(problem, X, seconds=20)
    np.testing.assert_array_equal(here[0], apart[0])
    assert (here[1] is None) == (apart[1] is None)
    if here[1] is not None:
        np.testing.assert_array_equal(here[1], apart[1])
    assert here[2] == apart[2]


def test_empty_batch_needs_no_evaluation():
    for seconds in (None, 5.0):
        F, G, reasons = evaluate_batch(Fenced(), np.empty((0, 2)), seconds=seconds)
        assert F.shape == G.shape == (0, 2) and not reasons


def test_candidates_are_tried_again_as_they_were():
    class Writing(Bowl):
        def evaluate(self, X):
            X *= 2
            if len(X) > 1:
                raise RuntimeError
            return super().evaluate(X)

    X = np.ones((2, 3))
    for seconds in (None, 20.0):
        assert evaluate_batch(Writing(), X, seconds=seconds)[0].tolist() == [[3 * 1.75**2]] * 2
    assert (X == 1).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_torch_and_numpy_work_after_the_fork(threads):
    import torch

    x = torch.randn(400, 400, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def work():
        y = (x @ x).relu().sum()
        (gradient,) = torch.autograd.grad(y, x)
        return gradient.numpy().tobytes() + np.linalg.svd(gradient.numpy())[1].tobytes()

    with threadpool_limits(limits=threads):
        here = work()  # starts the threads that a fork does not have
        for _ in range(2):
            assert run_apart(work, seconds=60) == here


def test_what_the_work_starts_ends_with_it(tmp_path):
    file = tmp_path / "pid"

    def work():
        process = subprocess.Popen(["sleep", "60"])
        file.write_text(str(process.pid))
        return b""

    assert run_apart(work, seconds=20) == b""
    wait_until_gone(int(file.read_text()))


def test_pipe_that_another_process_holds_open_is_not_waited_for():
    def work():
        if os.fork() == 0:
            os.setsid()  # out of the group, and with a copy of the pipe
            time.sleep(5)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)

    began = time.monotonic()
    with pytest.raises(ApartError, match="SIGKILL"):
        run_apart(work, seconds=60)
    assert time.monotonic() - began < 4


def test_long_answers_come_whole_and_late_ones_do_not():
    data = np.random.default_rng(0).bytes(3_000_000)
    assert run_apart(lambda: data, seconds=60) == data
    with pytest.raises(EvaluationTimeoutError):
        run_apart(lambda: time.sleep(60), seconds=0.05)


def test_outside_the_main_thread_it_is_refused():
    errors = []

    def check():
        try:
            check_apart()
        except UsageError as error:
            errors.append(str(error))

    check_apart()
    thread = threading.Thread(target=check)
    thread.start()
    thread.join()
    assert "main thread" in errors[0]


def test_cuda_in_use_is_refused(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(UsageError, match="CUDA"):
        check_apart()


def test_system_without_room_for_a_process_is_one_line(monkeypatch):
    def no_fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", no_fork)
    with pytest.raises(UsageError, match=r"no process could be started .*temporarily unavailable"):
        evaluate_batch(Bowl(), np.zeros((2, 3)), seconds=5)


TASK = """
import os, time
from opt import CompressionProblem, Objective

class Task(CompressionProblem):
    objectives = (Objective("a"), Objective("b"))

    def __init__(self, *, nap: float = 0.0):
        super().__init__(n_var=2, xl=0, xu=1)
        self.nap = nap

    def evaluate(self, X):
        print("evaluated by", os.getpid(), flush=True)
        time.sleep(self.nap)
        return X
"""


@pytest.fixture
def task(tmp_path):
    file = tmp_path / "task.py"
    file.write_text(textwrap.dedent(TASK))
    return file


def test_journal_is_that_of_a_run_without_the_limit(task, tmp_path, solve, no_plots):
    journals = []
    for name, more in (("without", ()), ("with", ("--eval-time", "60s"))):
        answer = solve(task, "--n-gen", 4, "--algo.pop_size", 6, "--quiet", *more, "--out", tmp_path / name)
        assert (answer.code, answer.err) == (0, "")
        journals.append(next((tmp_path / name).glob("*/journal.jsonl")).read_bytes())
    assert journals[0] == journals[1]


def start(task, out, *, nap):
    options = ("--problem.nap", nap, "--eval-time", "60s", "--n-gen", 3, "--algo.pop_size", 4, "--quiet", "--out", out)
    command = [sys.executable, "-m", "opt.solve", *map(str, (task, *options))]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline().split()[-1])


def test_evaluation_ends_with_a_command_that_is_killed(task, tmp_path, solve, no_plots):
    process, worker = start(task, tmp_path / "runs", nap=50)
    assert worker != process.pid
    process.kill()
    process.communicate()
    wait_until_gone(worker, seconds=5)


@pytest.mark.parametrize("n_signals", [1, 2])
def test_signals_mean_with_the_limit_what_they_mean_without(n_signals, task, tmp_path, solve, no_plots):
    process, worker = start(task, tmp_path / "runs", nap=2 if n_signals == 1 else 50)
    for _ in range(n_signals):
        # as Slurm does, to the evaluation too
        os.kill(worker, signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and "Traceback" not in errors
    wait_until_gone(worker, seconds=5)
    (run,) = (tmp_path / "runs").iterdir()
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "interrupted" and manifest["n_failed"] == 0
    assert manifest["n_gen"] == (1 if n_signals == 1 else 0)


def test_help_says_where_evaluations_are_done(solve):
    text = " ".join(solve("--help").out.split())
    assert "Evaluations are then done in a process of their own" in text

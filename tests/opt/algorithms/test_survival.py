"""Runs that are killed, interrupted or out of disk, and go on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from opt.solve import main

ROOT = Path(__file__).parents[3]
N_GEN = 60
OPTIONS = ["--algo", "nsga2", "--algo.pop_size", "6", "--n-gen", str(N_GEN), "--seed", "5", "--quiet"]
PROBLEM = [f"{ROOT}/tests/sample_problems.py:Slope", "--problem.nap", "0.015"]
DEADLINE = 60.0


def start(*arguments: str, file_size_limit: int | None = None) -> subprocess.Popen:
    def limit() -> None:
        if file_size_limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size_limit, file_size_limit))

    return subprocess.Popen(
        [sys.executable, "-m", "opt.solve", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """(exit code, stderr)."""
    _, errors = process.communicate(timeout=DEADLINE)
    return process.returncode, errors


def wait_for_journal(process: subprocess.Popen, out: Path, size: int) -> Path:
    """The run's directory, once its journal holds `size` bytes."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        for journal in out.glob("*/journal.jsonl"):
            if journal.stat().st_size >= size:
                return journal.parent
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    raise AssertionError(f"no journal of {size} bytes within {DEADLINE} s")


def contents(run: Path) -> dict[str, object]:
    """Everything that a resumed run must have in common with the uninterrupted one."""
    found: dict[str, object] = {name: (run / name).read_bytes() for name in ("journal.jsonl", "front.csv")}
    found |= {f"solutions/{p.name}": p.read_bytes() for p in (run / "solutions").iterdir()}
    history = pd.read_csv(run / "history.csv").drop(columns="seconds")
    found["history"] = history.to_csv()
    manifest = json.loads((run / "manifest.json").read_text())
    keys = ("status", "stop_reason", "n_gen", "n_eval", "n_failed", "hypervolume", "ref_point", "n_solutions")
    return found | {key: manifest[key] for key in keys}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    code, errors = finish(start(*PROBLEM, *OPTIONS, "--out", str(out)))
    assert (code, errors) == (0, "")
    (run,) = out.iterdir()
    assert contents(run)["status"] == "finished"
    return run


def test_run_killed_at_ten_random_moments_equals_the_uninterrupted_one(uninterrupted, tmp_path):
    rng = random.Random(20)
    whole = (uninterrupted / "journal.jsonl").stat().st_size
    sizes = sorted(rng.uniform(0.02, 0.95) for _ in range(7))
    # the other three moments are by the clock, while modules load or the journal is replayed; they come early,
    # so that a fast machine does not finish the run before its time is up
    moments: list[tuple[str, float]] = [("size", whole * share) for share in sizes]
    for _ in range(3):
        moments.insert(rng.randrange(1, 4), ("time", rng.uniform(0.3, 1.5)))
    run = None
    previous = b""
    for kind, amount in moments:
        process = start("--resume", str(run), "--quiet") if run else start(*PROBLEM, *OPTIONS, "--out", str(tmp_path))
        if kind == "size":
            run = wait_for_journal(process, tmp_path, round(amount))
            time.sleep(rng.uniform(0.0, 0.01))
        else:
            time.sleep(amount)
        os.kill(process.pid, signal.SIGKILL)
        assert finish(process)[0] == -signal.SIGKILL
        now = (run / "journal.jsonl").read_bytes()
        assert now.startswith(previous[: previous.rfind(b"\n") + 1]), "a record was lost"
        previous = now
    assert len(previous) < whole
    code, errors = finish(start("--resume", str(run), "--quiet"))
    assert (code, errors) == (0, "")
    assert contents(run) == contents(uninterrupted)
    # times of the parts are kept: no part's clock starts again
    assert pd.read_csv(run / "history.csv")["seconds"].is_monotonic_increasing
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_a_run_cleanly(number, code, uninterrupted, tmp_path, no_plots, capsys):
    process = start(*PROBLEM, *OPTIONS, "--out", str(tmp_path))
    run = wait_for_journal(process, tmp_path, 3000)
    process.send_signal(number)
    found, errors = finish(process)
    assert found == code
    assert "Traceback" not in errors
    assert number.name in errors
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "interrupted"
    assert manifest["stop_reason"] == f"stopped by {number.name}"
    assert 0 < manifest["n_gen"] < N_GEN
    # what is saved is the front of what was evaluated
    n_records = len((run / "journal.jsonl").read_bytes().splitlines()) - 1
    assert n_records == manifest["n_gen"] == len(pd.read_csv(run / "history.csv"))
    assert len(pd.read_csv(run / "front.csv")) == manifest["n_solutions"] > 0

    assert main(["--resume", str(run), "--quiet"]) == 0
    assert contents(run) == contents(uninterrupted)


def test_second_signal_gives_up_the_batch_under_way(tmp_path):
    process = start(f"{ROOT}/tests/sample_problems.py:Slope", "--problem.nap", "50", *OPTIONS, "--out", str(tmp_path))
    run = wait_for_journal(process, tmp_path, 1)
    time.sleep(0.3)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(1.2)
    began = time.monotonic()
    code, errors = finish(process)
    assert time.monotonic() - began < 20
    assert code == 130
    assert "Traceback" not in errors
    assert json.loads((run / "manifest.json").read_text())["status"] == "interrupted"
    assert pd.read_csv(run / "front.csv").columns.tolist() == ["id", "cost", "gain"]


@pytest.mark.parametrize("share", [0.2, 0.6, 1.2])
def test_full_disk_is_one_line_and_the_run_goes_on(share, uninterrupted, tmp_path, no_plots):
    size = round((uninterrupted / "journal.jsonl").stat().st_size * share)
    code, errors = finish(start(*PROBLEM, *OPTIONS, "--out", str(tmp_path), file_size_limit=size))
    assert code == 2
    assert errors.startswith("error: cannot write ")
    assert errors.count("\n") == 1
    (run,) = tmp_path.iterdir()
    # from where everything but the pictures fits, the run is finished and only they are to be drawn
    assert (f"--resume {run}" if share < 1 else f"opt.plot {run}") in errors
    before = (run / "journal.jsonl").read_bytes()
    assert len(before) <= size
    assert (uninterrupted / "journal.jsonl").read_bytes().startswith(before)

    assert main(["--resume", str(run), "--quiet"]) == 0
    assert contents(run) == contents(uninterrupted)


def test_disk_full_from_the_start_leaves_nothing_behind(tmp_path):
    code, errors = finish(start(*PROBLEM, *OPTIONS, "--out", str(tmp_path / "runs"), file_size_limit=0))
    assert code == 2
    assert errors.splitlines()[-1].startswith("error: cannot write ")
    assert "Traceback" not in errors
    assert not list((tmp_path / "runs").glob("*"))


def test_runs_killed_at_random_moments_equal_those_never_killed(tmp_path):
    # the short form of a script that can be run for as long as one likes: of every algorithm and task
    options = ("--n", "6", "--seed", "2", "--only", "slope", "--without-plots", "--moments", "record,generation")
    command = [sys.executable, f"{ROOT}/tests/kill_runs.py", *options, "--out", str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE)
    assert process.returncode == 0, process.stdout + process.stderr
    assert re.search(r"^[6-9] kills \(.*0 of the resumed runs differ$", process.stdout, re.DOTALL | re.MULTILINE)


def test_runs_that_differ_are_told_apart(uninterrupted, tmp_path):
    import kill_runs

    shown = kill_runs.contents(uninterrupted)
    assert not kill_runs.differences(shown, kill_runs.contents(uninterrupted))
    for name, difference in (
        ("journal.jsonl", "journal.jsonl"),
        ("front.csv", "front.csv"),
        ("history.csv", "history.csv"),
        ("manifest.json", "manifest hypervolume"),
    ):
        copy = shutil.copytree(uninterrupted, tmp_path / name)
        text = (copy / name).read_text()
        changed = (
            re.sub(r'"hypervolume": .', r'"hypervolume": 9', text)
            if name == "manifest.json"
            else text.replace("1", "2")
        )
        (copy / name).write_text(changed)
        assert kill_runs.differences(shown, kill_runs.contents(copy)) == [difference]
    copy = shutil.copytree(uninterrupted, tmp_path / "more")
    (copy / "plots" / ".front.png.1").touch()
    assert kill_runs.differences(shown, kill_runs.contents(copy)) == ["files", "plots/.front.png.1"]

"""What a user can get wrong: one line on stderr, exit code 2, no traceback, nothing made and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sample_problems as samples
from refusals import refused

import opt
from opt.runs.journal import HEADER, encode

ROOT = Path(__file__).parents[2]
ECOMP = ROOT / "problems" / "ecomp.py"
SMALL = ("--algo.pop_size", "6", "--n-gen", "4", "--quiet")

GOOD = """
import numpy as np
from opt import CompressionProblem, Objective
class Good(CompressionProblem):
    objectives = (Objective("a"), Objective("b"))
    def __init__(self, *, width: int = 3):
        if width > 100:
            raise ValueError(f"width must be at most 100,\\n got {width}")
        super().__init__(n_var=width, xl=0, xu=1)
    def evaluate(self, X):
        return np.column_stack([X.sum(axis=1), ((1 - X) ** 2).sum(axis=1)])
"""


@pytest.fixture
def good(tmp_path):
    file = tmp_path / "good.py"
    file.write_text(GOOD)
    return file


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(p): (p.read_bytes() if p.is_file() else b"", p.stat().st_mtime_ns if p.is_file() else 0)
        for p in sorted(folder.rglob("*"))
        if "__pycache__" not in str(p)
    }


@pytest.fixture
def refuse(tmp_path, solve):
    """Check that a command line is refused in one line that holds `part`, and that nothing changed."""

    def check(*arguments, part: str) -> None:
        before = snapshot(tmp_path)
        answer = solve(*arguments)
        assert answer.code == 2
        assert answer.err.startswith("error: ") and answer.err.count("\n") == 1 and answer.err.endswith("\n")
        assert len(answer.err) < 1200
        assert part in answer.err
        assert "Traceback" not in answer.err + answer.out
        assert snapshot(tmp_path) == before, "something was made, changed or lost"

    return check


@pytest.fixture
def half(good, tmp_path, solve, no_plots):
    """An unfinished run: two of four generations."""
    assert solve(good, *SMALL, "--out", tmp_path / "runs").code == 0
    (path,) = (tmp_path / "runs").iterdir()
    lines = (path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (path / "journal.jsonl").write_bytes(b"".join(lines[:3]))
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    return path


def test_unknown_algorithm(good, tmp_path, refuse):
    refuse(good, "--algo", "nsga22", "--out", tmp_path / "runs", part="did you mean 'nsga2'")
    refuse(good, "--algo", "", "--out", tmp_path / "runs", part="--algo must be an algorithm")


def test_algorithm_that_does_not_fit(sample, tmp_path, refuse):
    refuse(sample("Words"), "--algo", "cma-es", "--out", tmp_path / "runs", part="these fit: deap-ga")


def test_problem_file_that_does_not_exist(good, tmp_path, refuse):
    refuse(tmp_path / "god.py", part=f"did you mean '{good}'")
    refuse("", part="does not exist")
    refuse("x" * 5000 + ".py", part="")


def test_no_problem_file(refuse):
    refuse(part="expected a problem file")
    refuse("--seed", "1", part="expected a problem file")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "defines no problem class"),
        ("class Other: pass", "defines no problem class"),
        (GOOD + GOOD.replace("Good", "Better"), "defines 2 problem classes (Better, Good); choose one with"),
        ("def (", "line 1 fails to load: SyntaxError"),
        ("import nothing_of_that_name", "fails to load: ModuleNotFoundError"),
        ("raise RuntimeError('first\\nsecond')", "fails to load: RuntimeError: first second"),
        (GOOD.replace("objectives = ", "x = "), "Good cannot be built: Good.objectives must name at least one"),
    ],
)
def test_problem_file_that_cannot_be_used(text, part, tmp_path, refuse):
    file = tmp_path / "task.py"
    file.write_text(text)
    refuse(file, "--out", tmp_path / "runs", part=part)


def test_problem_that_refuses_its_parameters(good, tmp_path, refuse):
    refuse(good, "--problem.width", "101", "--out", tmp_path / "runs", part="width must be at most 100, got 101")
    refuse(good, "--problem.width", "101", "--runs", "2", "--out", tmp_path / "runs", part="at most 100, got 101")


def test_misspelt_parameters(good, tmp_path, refuse):
    out = ("--out", tmp_path / "runs")
    refuse(good, "--problem.widht", "3", *out, part="did you mean '--problem.width'")
    refuse(good, "--algo.popsize", "3", *out, part="did you mean '--algo.pop_size'")
    refuse(good, "--sede", "3", *out, part="did you mean '--seed'")
    refuse(good, "-s", "3", *out, part="unknown option -s")


def test_object_genomes_without_operators_or_fingerprint(tmp_path, refuse):
    file = tmp_path / "task.py"
    file.write_text(GOOD.replace("n_var=width, xl=0, xu=1", "n_var=1, representation='object'"))
    refuse(file, "--out", tmp_path / "runs", part="must override fingerprint(x)")
    file.write_text(file.read_text() + "    def fingerprint(self, x):\n        return b''\n")
    refuse(file, "--out", tmp_path / "runs", part="must override operators()")


def test_real_variables_without_bounds(tmp_path, refuse):
    file = tmp_path / "task.py"
    file.write_text(GOOD.replace(", xl=0, xu=1", ""))
    refuse(file, "--out", tmp_path / "runs", part="needs finite bounds xl and xu")
    refuse(file, "--algo", "de", "--out", tmp_path / "runs", part="these fit: ")


@pytest.mark.parametrize(
    ("options", "part"),
    refused("bad_input", "budget_of_nothing"),
)
def test_budget_of_nothing(options, part, good, tmp_path, refuse):
    refuse(good, *options, "--out", tmp_path / "runs", part=part)


@pytest.mark.parametrize(
    ("options", "part"),
    refused("bad_input", "weights_that_do_not_fit"),
)
def test_weights_that_do_not_fit(options, part, good, tmp_path, refuse):
    refuse(good, "--algo", "ga", *options, "--out", tmp_path / "runs", part=part)


def test_weights_for_an_algorithm_that_takes_none(good, tmp_path, refuse):
    refuse(good, "--algo", "nsga2", "--weights", "1,1", "--out", tmp_path / "runs", part="nsga2 optimises every")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"a: [1", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"just text", "must hold names and values"),
        (b"- 1\n- 2\n", "must hold names and values"),
        (b"n_gen: many\n", "--n-gen must be a whole number"),
        (b"n_gen: [1, 2]\n", "--n-gen must be a whole number"),
        (b"1: 2\n", "unknown option --1"),
        (b"problem: 3\n", "unknown option --problem"),
    ],
)
def test_config_file_that_cannot_be_used(content, part, good, tmp_path, refuse):
    config = tmp_path / "config.yaml"
    config.write_bytes(content)
    refuse(good, "--config", config, "--out", tmp_path / "runs", part=part)


def test_config_file_that_does_not_exist(good, tmp_path, refuse):
    refuse(good, "--config", tmp_path / "none.yaml", part="cannot read config file")
    refuse(good, "--config", tmp_path, part="cannot read config file")


def test_out_that_cannot_be_written(good, tmp_path, refuse):
    (tmp_path / "file").write_text("kept")
    refuse(good, *SMALL, "--out", tmp_path / "file", part="cannot write a run under")
    refuse(good, *SMALL, "--out", tmp_path / "file" / "runs", part="cannot write a run under")
    refuse(good, *SMALL, "--out", "/proc/runs", part="cannot write a run under /proc/runs")
    refuse(good, *SMALL, "--out", tmp_path / ("x" * 300), part="cannot write a run under")
    refuse(good, *SMALL, "--out", "/dev/null", part="cannot write a run under")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_out_without_permission(good, tmp_path, refuse):
    (tmp_path / "locked").mkdir(mode=0o500)
    refuse(good, *SMALL, "--out", tmp_path / "locked", part="cannot write a run under")


def test_resume_of_what_is_no_run(tmp_path, good, refuse):
    refuse("--resume", tmp_path, part="has no manifest.json")
    refuse("--resume", tmp_path / "none", part="does not exist")
    refuse("--resume", good, part="is a file")
    refuse("--resume", part="option --resume needs a value")


def test_resume_with_other_wishes(half, good, refuse):
    refuse("--resume", half, "--seed", "3", part="leave out --seed")
    refuse(good, "--resume", half, part="leave out")


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("manifest.json", b"", "cannot be read"),
        ("manifest.json", b'{"format": "opt-run", "version": 2}', "run version 2"),
        ("manifest.json", b'{"format": "opt-run", "version": 1}', "lacks status"),
        ("journal.jsonl", encode(HEADER | {"version": 7}), "journal version 7"),
        ("journal.jsonl", b"not a journal", "is not a journal"),
        ("journal.jsonl", encode({"format": "log", "version": 1}) + encode({"gen": 1}), "is not a journal"),
        ("journal.jsonl", encode(HEADER) + b'{"crc":"00000000","record":{}}\n' + encode({}), "line 2 fails its check"),
        (
            "journal.jsonl",
            encode(HEADER) + encode({"gen": 1, "x": "00", "n": 6, "new": 6, "F": [[1.0, 2.0]] * 6}),
            "does not replay",
        ),
        (
            "journal.jsonl",
            encode(HEADER) + encode({"gen": 1, "x": "00", "n": 6, "new": 6, "F": [[1.0, 2.0]] * 5}),
            "does not replay",
        ),
    ],
)
def test_run_that_is_damaged_or_of_another_version(name, content, part, half, tmp_path, refuse, solve):
    kept = tmp_path / "kept"
    shutil.copytree(half, kept)
    (half / name).write_bytes(content)
    if "replay" in part:
        # opened for writing: the manifest says running again, but every record and row is kept
        answer = solve("--resume", half, "--trust", "--quiet")
        assert answer.code == 2 and part in answer.err and answer.err.count("\n") == 1
        assert (half / name).read_bytes() == content
        assert (half / "history.csv").read_bytes().startswith((kept / "history.csv").read_bytes()[:200])
    else:
        refuse("--resume", half, "--trust", "--quiet", part=part)
    (half / name).write_bytes((kept / name).read_bytes())
    assert solve("--resume", half, "--trust", "--quiet").code == 0


def test_resume_when_the_problem_file_is_gone_or_broken(half, good, refuse, solve):
    text = good.read_text()
    good.unlink()
    refuse("--resume", half, "--trust", part="does not exist")
    good.write_text("def (")
    refuse("--resume", half, "--trust", part="fails to load")
    good.write_text(text.replace("width", "breadth"))
    refuse("--resume", half, "--trust", part="Good cannot be built")
    good.write_text(text.replace('Objective("b")', 'Objective("c")'))
    refuse("--resume", half, "--trust", part="made for objectives a, b, not a, c")
    good.write_text(text)
    assert solve("--resume", half, "--trust", "--quiet").code == 0


def test_data_and_checkpoints_that_cannot_be_read(tmp_path, refuse):
    out = ("--out", tmp_path / "runs")
    refuse(ECOMP, "--problem.data", "digitz", *out, part="digits")
    refuse(ECOMP, "--problem.data", tmp_path / "nowhere", *out, part="nowhere")
    (tmp_path / "empty").mkdir()
    refuse(ECOMP, "--problem.data", tmp_path / "empty", *out, part="empty")
    folder = tmp_path / "corrupt"
    folder.mkdir()
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{part}-ubyte").write_bytes(b"\x00\x00\x08\x03 torn")
    refuse(ECOMP, "--problem.data", folder, *out, part="corrupt")
    refuse(ECOMP, "--problem.checkpoint", tmp_path / "none.safetensors", *out, part="none.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    refuse(ECOMP, "--problem.checkpoint", tmp_path / "torn.safetensors", *out, part="torn.safetensors")
    refuse(ECOMP, "--problem.checkpoint", tmp_path, *out, part=str(tmp_path))
    (tmp_path / "pickled.pt").write_bytes(b"PK\x03\x04")
    refuse(ECOMP, "--problem.checkpoint", tmp_path / "pickled.pt", *out, part="pickled.pt")


@pytest.mark.parametrize(
    "arguments", [("nowhere.py",), (f"{ROOT}/tests/sample_problems.py:Bowl", "--algo", "nsga2"), ("--bogus",)]
)
def test_the_real_command_answers_in_one_line(arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "opt.solve", *arguments, "--out", str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m opt.solve --list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0 and done.stderr == ""


def test_problem_file_of_a_very_long_name_is_searched(tmp_path, solve, no_plots):
    file = tmp_path / f"{'é' * 120}.py"
    file.write_text(GOOD)
    for more in ((), ("--runs", "2")):
        answer = solve(file, *SMALL, "--out", tmp_path / "runs", *more)
        assert (answer.code, answer.err) == (0, "")


@pytest.mark.parametrize("value", [6.0, "6", None, [6], True])
def test_parameter_of_an_algorithm_of_another_type(value, tmp_path):
    with pytest.raises(opt.UsageError, match=r"--algo\.pop_size must be int, got"):
        opt.minimize(samples.Slope(), pop_size=value, out=tmp_path)
    with pytest.raises(opt.UsageError, match=r"--algo\.end_ratio must be float, got"):
        opt.minimize(samples.Slope(), "sa", end_ratio="0.5", out=tmp_path)
    assert opt.minimize(samples.Slope(), "sa", n_gen=1, end_ratio=1, out=tmp_path).status == "finished"

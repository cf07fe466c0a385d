"""The command line and config files: names, types, round trips."""

from __future__ import annotations

import json

import pytest
import yaml
from refusals import refused

from opt import load_run
from opt.flags.command_line import scan

TASK = '''
from __future__ import annotations
from pathlib import Path
from typing import Literal
import numpy as np
from opt import CompressionProblem, Objective

class Task(CompressionProblem):
    """A task.

    Args:
        n_var: Number of variables.
        kind: Which kind.
        scale: Factor, or none.
        flip: Whether the sign is flipped.
        name: A text.
        shifts: Offsets.
        folder: A folder.
    """

    objectives = (Objective("a"), Objective("b"))

    def __init__(self, *, n_var: int = 2, kind: Literal["plain", "odd"] = "plain", scale: float | None = None,
                 flip: bool = False, name: str = "12", shifts: list[float] | None = None,
                 folder: Path | None = None, limit: float = float("inf")):
        assert type(n_var) is int and limit == np.inf and type(flip) is bool and type(name) is str
        assert scale is None or type(scale) is float
        assert folder is None or isinstance(folder, Path)
        super().__init__(n_var=n_var, xl=0, xu=1)
        self.options = (kind, scale, flip, name, shifts, folder, limit)
        self.scale = 1.0 if scale is None else scale
        self.shift = sum(shifts or [0.0])

    def evaluate(self, X):
        return self.scale * np.column_stack([X.sum(axis=1) + self.shift, (1 - X).sum(axis=1)])
'''

PLAIN = """
from pymoo.problems.multi.zdt import ZDT1
class Plain(ZDT1):
    def __init__(self, n_var=4, **kwargs):
        super().__init__(n_var=n_var, **kwargs)
"""


@pytest.fixture
def task(tmp_path):
    file = tmp_path / "task.py"
    file.write_text(TASK)
    return str(file)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "runs"


def journals(out):
    return [path.read_bytes() for path in sorted(out.glob("*/journal.jsonl"))]


SMALL = ("--algo.pop_size", "4", "--n-gen", "3", "--quiet")
OPTIONS = (
    "--problem.n_var", "3", "--problem.kind=odd", "--problem.scale", "2", "--problem.flip", "true",
    "--problem.name", "07", "--problem.shifts", "[1, 2.5]", "--problem.folder", "/data/some where",
)  # fmt: skip


def test_values_reach_the_problem_with_their_types(task, out, solve, no_plots):
    answer = solve(task, *OPTIONS, *SMALL, "--out", out)
    assert (answer.code, answer.err) == (0, "")
    (path,) = out.iterdir()
    manifest = load_run(path).manifest
    assert manifest["problem"]["parameters"] == {
        "n_var": 3, "kind": "odd", "scale": 2.0, "flip": True, "name": "07", "shifts": [1.0, 2.5],
        "folder": "/data/some where", "limit": ".inf",
    }  # fmt: skip
    assert manifest["algo"] == {
        "name": "nsga2",
        "parameters": {"pop_size": 4, "n_offsprings": None, "crossover_prob": 0.9, "mutation_prob": 0.9},
    }


def test_such_a_run_is_resumed(task, out, solve, no_plots):
    assert solve(task, *OPTIONS, *SMALL, "--out", out).code == 0
    (path,) = out.iterdir()
    whole = (path / "journal.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    (path / "journal.jsonl").write_bytes(b"".join(lines[:2]))
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    answer = solve("--resume", path, "--trust", "--quiet")
    assert (answer.code, answer.err) == (0, "")
    assert (path / "journal.jsonl").read_bytes() == whole


@pytest.mark.parametrize("more", [(), ("--fail-fast",), ("--algo", "ga", "--weights", "1,2", "--seed", "9")])
def test_printed_config_gives_the_same_run(task, out, solve, no_plots, tmp_path, more):
    options = (*OPTIONS, "--algo.pop_size", "4", "--n-gen", "3", "--out", out, "--quiet", *more)
    printed = solve(task, *options, "--print-config")
    assert (printed.code, printed.err) == (0, "")
    assert not out.exists()
    config = tmp_path / "config.yaml"
    config.write_text(printed.out)
    assert solve(task, *options).code == 0
    answer = solve(task, "--config", config)
    assert (answer.code, answer.err) == (0, "")
    first, second = journals(out)
    assert first == second
    a, b = (json.loads(p.read_text()) for p in sorted(out.glob("*/manifest.json")))
    for key in ("problem", "algo", "seed", "budget", "request"):
        assert a[key] == b[key]
    # printing what was read from a config gives it again
    assert solve(task, "--config", config, "--print-config").out == printed.out


@pytest.mark.parametrize(
    "text",
    [
        "algo: {name: ga, pop_size: 4}\nproblem: {n_var: 3}\nn_gen: 2\nweights: [1, 2]\nseed: 4\n",
        "algo: ga\nalgo.pop_size: 4\nproblem.n_var: 3\nn-gen: 2\nweights: 1,2\nseed: 4\n",
    ],
)
def test_config_file_in_either_form(task, out, solve, no_plots, tmp_path, text):
    config = tmp_path / "c.yaml"
    config.write_text(text)
    answer = solve(task, "--config", config, "--seed", "5", "--out", out, "--quiet")
    assert (answer.code, answer.err) == (0, "")
    (path,) = out.iterdir()
    manifest = load_run(path).manifest
    assert manifest["algo"]["name"] == "ga" and manifest["algo"]["parameters"]["pop_size"] == 4
    assert manifest["request"]["weights"] == [1.0, 2.0]
    assert manifest["budget"]["n_gen"] == 2
    assert manifest["seed"] == 5, "the command line goes before the file"


@pytest.mark.parametrize(
    ("arguments", "part"),
    refused("parser", "wrong_argument_is_one_line_that_says_what_to_do"),
)
def test_wrong_argument_is_one_line_that_says_what_to_do(task, out, solve, arguments, part):
    answer = solve(task, *arguments, "--out", out)
    assert answer.code == 2
    assert part in answer.err
    assert answer.err.count("\n") == 1 and answer.err.startswith("error: ")
    assert answer.out == ""
    assert not out.exists()


def test_misspelt_name_in_a_config_file_is_refused(task, out, solve, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"problem": {"n_vra": 3}, "n_gen": 2}))
    answer = solve(task, "--config", config, "--out", out)
    assert answer.code == 2
    assert "did you mean '--problem.n_var'" in answer.err
    assert not out.exists()


@pytest.mark.parametrize("text", [PLAIN, PLAIN.replace("n_var=4", "n_var: 'Nowhere' = 4")])
def test_untyped_parameters_of_a_plain_problem(text, tmp_path, out, solve, no_plots):
    file = tmp_path / "plain.py"
    file.write_text(text)
    answer = solve(file, "--problem.n_var", "6", *SMALL, "--out", out)
    assert (answer.code, answer.err) == (0, "")
    (path,) = out.iterdir()
    assert load_run(path).manifest["problem"]["parameters"] == {"n_var": 6}
    assert "x6" in load_run(path).front.columns and "x7" not in load_run(path).front.columns


def test_required_parameter_is_asked_for(tmp_path, out, solve):
    file = tmp_path / "needy.py"
    file.write_text(TASK.replace("n_var: int = 2", "n_var: int"))
    answer = solve(file, "--out", out)
    assert answer.code == 2
    assert "--problem.n_var" in answer.err and answer.err.count("\n") == 1
    assert not out.exists()


def test_help_lists_parameters_with_their_documentation(task, solve):
    text = solve(task, "--help").out
    for name, words in (("n_var", "Number of variables."), ("flip", "Whether the sign is flipped."), ("kind", "Which")):
        assert f"--problem.{name}" in text and words in text
    one_line = " ".join(text.split())
    assert "--algo.pop_size POP_SIZE Number of survivors kept each generation (1 to 100,000)." in one_line
    assert "with seeds SEED, SEED + 1, ... (1 to 10,000)." in one_line
    assert "problem_" not in text
    assert solve("--help").code == 0


def test_list_names_every_algorithm(solve):
    from opt.algorithms import algorithms

    text = solve("--list").out
    assert all(f" {name} " in text for name in algorithms())


def test_scan_keeps_values_that_look_like_options():
    scanned = scan(["p.py", "--ref=-1,2", "--problem.low", "-3", "--algo=sa"])
    assert scanned.problem == "p.py" and scanned.algo == "sa"
    assert "--ref=-1,2" in scanned.tokens and "--problem.low=-3" in scanned.tokens


LONG = "9" * 5000


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--threads", LONG), "--threads must be a whole number: Exceeds the limit"),
        (("--threads", "1" + "0" * 30), "--threads must be at most 1024, got a number of 31 digits"),
        (("--threads", ""), "--threads must be a whole number, got ''"),
        (("--seed", str(2**63)), f"--seed must be at most {2**63 - 1}"),
        (("--seed", str(2**63 - 1), "--runs", "2"), f"--seed must be at most {2**63 - 1}, got {2**63}"),
        (("--runs", "10001"), "--runs must be at most 10000"),
        (("--n-gen", "1" + "0" * 30), "--n-gen must be at most"),
        (("--patience", "-1" + "0" * 30), "--patience must be at least 1, got a number of 31 digits"),
        (("--cluster", ""), "--cluster must be one of slurm, pbs or null, got ''"),
        (("--algo.pop_size", "1" + "0" * 30), "--algo.pop_size must be at most"),
        (("--algo.pop_size", "1000000000"), "--algo.pop_size must be at most"),
        (("--problem.n_var", "1" + "0" * 30), "--problem.n_var must be at most"),
        (("--problem.limit", "1" + "0" * 400), "--problem.limit takes numbers of fewer digits"),
        (("--problem.shifts", "[" * 5000), "--problem.shifts"),
        (("--time", "99999999999999999d"), "--time must be at most 3650d"),
        (("--time", "9" * 400), "--time must be at most 3650d"),
        (("--eval-time", "1e400"), "--eval-time must be like 90s"),
        (("--task-memory", "9" * 400 + "GB"), "--task-memory must lie between"),
        (("--task-memory", "1"), "--task-memory must lie between 10 MB, which Python itself takes, and"),
        (("--tolerance", ".nan"), "--tolerance must be finite"),
        (("--name", "a" * 300), "--name must have at most 255 bytes, got 300"),
        (("--name", "é" * 200), "--name must have at most 255 bytes, got 400"),
        (("--name", "a\nb"), "--name must be a folder's name"),
        (("--algo", ","), "--algo must be an algorithm, or several with commas between them, got ','"),
        (("--algo", "nsga2,"), "--algo must be an algorithm"),
    ],
)
def test_number_or_text_out_of_all_bounds_is_one_line(task, out, solve, arguments, part):
    answer = solve(task, *arguments, "--out", out)
    assert answer.code == 2
    assert part in answer.err
    assert answer.err.count("\n") == 1 and answer.err.startswith("error: ") and len(answer.err) < 1000
    assert not out.exists()


def test_seed_of_a_problem_takes_what_every_generator_takes(tmp_path, out, solve, no_plots):
    file = tmp_path / "seeded.py"
    file.write_text(TASK.replace("n_var: int = 2", "n_var: int = 2, model_seed: int = 0"))
    for wrong in ("-1", str(2**63), "1" + "0" * 30):
        answer = solve(file, "--problem.model_seed", wrong, "--out", out)
        assert answer.code == 2 and "--problem.model_seed must be" in answer.err
    assert solve(file, "--problem.model_seed", 2**63 - 1, "--seed", 2**63 - 1, *SMALL, "--out", out).code == 0


def test_lists_of_a_study_file_that_make_too_many_runs_are_refused_at_once(task, tmp_path, solve):
    study = tmp_path / "study.yaml"
    many = list(range(1, 400))
    study.write_text(yaml.safe_dump({"problem": task, "n_gen": many, "patience": many, "keep": many}))
    answer = solve("--study", study)
    assert answer.code == 2 and "make 63521199 combinations (keep 399, n-gen 399, patience 399)" in answer.err
    study.write_text(yaml.safe_dump({"problem": task, "runs": 6_000, "n_gen": [2, 3]}))
    answer = solve("--study", study)
    assert answer.code == 2 and "--runs must be at most 10000, got 12000" in answer.err


def test_parameter_that_is_a_mapping_goes_through_config_print_and_resume(tmp_path, out, solve, no_plots):
    file = tmp_path / "mapped.py"
    text = TASK.replace("n_var: int = 2", "n_var: int = 2, table: dict[str, float] | None = None, anything=None")
    check = "assert table == {'a': 1.0, 'b': np.inf} and anything == {'c': {'d': [np.inf, 'x']}}, (table, anything)"
    file.write_text(text.replace("        assert type(n_var)", f"        {check}\n        assert type(n_var)"))
    config = tmp_path / "c.yaml"
    config.write_text(
        "problem: {table: {a: 1, b: .inf}, anything: {c: {d: [.inf, x]}}}\nalgo: {pop_size: 4}\nn_gen: 3\n"
    )
    printed = solve(file, "--config", config, "--print-config")
    assert (printed.code, printed.err) == (0, "")
    (tmp_path / "printed.yaml").write_text(printed.out)
    assert solve(file, "--config", tmp_path / "printed.yaml", "--print-config").out == printed.out
    answer = solve(file, "--config", tmp_path / "printed.yaml", "--out", out, "--quiet")
    assert (answer.code, answer.err) == (0, "")
    (path,) = out.iterdir()
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    answer = solve("--resume", path, "--trust", "--quiet")
    assert (answer.code, answer.err) == (0, "")
    # a mapping in place of a number is that option's mistake
    config.write_text("problem: {n_var: {a: {b: 3}}}\n")
    assert "--problem.n_var must be a whole number, got" in solve(file, "--config", config).err
    config.write_text("seed: {a: 3}\n")
    assert "--seed must be a whole number, got" in solve(file, "--config", config).err

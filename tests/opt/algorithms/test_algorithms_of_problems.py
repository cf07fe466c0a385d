"""Algorithms that a problem brings itself: found by name, listed, run, resumed, and unknown elsewhere."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import sample_problems as samples

import opt
from opt import solve
from opt.algorithms import AlgorithmSpec, algorithms, find_algorithm
from opt.algorithms.random_search import random_search
from opt.console.errors import UsageError

FILE = '''
from sample_problems import Bowl
from test_algorithms_of_problems import own_specs


class Own(Bowl):
    """A bowl with an algorithm of its own."""

    own_algorithms = own_specs()
'''


def build_own(problem, *, pop_size: int = 5):
    """Random search under another name.

    Args:
        pop_size: Candidates a generation.
    """
    return random_search(problem, pop_size=pop_size)


def own_specs():
    return (AlgorithmSpec("own-way", build_own, "any"),)


class Own(samples.Bowl):
    own_algorithms = own_specs()


class Clashing(samples.Bowl):
    own_algorithms = (AlgorithmSpec("nsga2", build_own, "any"),)


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    path = tmp_path / "own.py"
    path.write_text(FILE)
    yield str(path)
    sys.modules.pop("test_algorithms_of_problems", None)


def test_own_algorithm_is_found_with_its_problem_only():
    assert find_algorithm("own-way", Own).build is build_own
    assert find_algorithm("own-way", Own()).build is build_own
    assert set(algorithms(Own)) == {*algorithms(), "own-way"}
    with pytest.raises(UsageError, match="unknown algorithm 'own-way'"):
        find_algorithm("own-way", samples.Bowl)
    with pytest.raises(UsageError, match="names of their own, 'nsga2' is taken"):
        find_algorithm("ga", Clashing)


def test_own_algorithm_runs_and_resumes(tmp_path, no_plots):
    run = opt.minimize(Own(), "own-way", n_gen=3, pop_size=4, out=tmp_path)
    assert run.manifest["algo"] == {"name": "own-way", "parameters": {"pop_size": 4}}
    journal = (run.path / "journal.jsonl").read_bytes()
    cut = tmp_path / "cut"
    shutil.copytree(run.path, cut)
    (cut / "journal.jsonl").write_bytes(b"".join(journal.splitlines(keepends=True)[:3]))
    (cut / "manifest.json").write_text(json.dumps(run.manifest | {"status": "interrupted"}))
    assert (opt.minimize(Own(), resume=cut).path / "journal.jsonl").read_bytes() == journal


def test_own_algorithm_on_the_command_line(tmp_path, file, capsys, no_plots):
    assert solve.main([file, "--algo", "own-way", "--algo.pop_size", "3", "--n-gen", "2", "--out", str(tmp_path)]) == 0
    assert "6 evaluations" in capsys.readouterr().out
    assert solve.main([file, "--list"]) == 0
    assert "own-way" in capsys.readouterr().out
    assert solve.main(["--list"]) == 0
    assert "own-way" not in capsys.readouterr().out

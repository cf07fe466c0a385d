"""Seeds of a problem that follow the run's."""

from __future__ import annotations

import json

import pytest

from opt import UsageError, load_run
from opt.flags.seeding import is_seed, resolved
from opt.solve import main

TASK = '''
from __future__ import annotations
import numpy as np
from opt import CompressionProblem, Objective

class Task(CompressionProblem):
    """A task.

    Args:
        model_seed: Seed of the model.
        seed: Another, or none.
        width: No seed.
    """

    objectives = (Objective("a"), Objective("b"))

    def __init__(self, *, model_seed: int = 0, seed: int | None = None, width: int = 2):
        assert type(model_seed) is int
        super().__init__(n_var=width, xl=0, xu=1)
        self.shift = model_seed

    def evaluate(self, X):
        return np.column_stack([X[:, 0] + self.shift, 1 - X[:, 0]])
'''
OPTIONS = ["--n-gen", "2", "--algo.pop_size", "4", "--quiet"]


@pytest.fixture
def task(tmp_path):
    file = tmp_path / "task.py"
    file.write_text(TASK)
    return str(file)


def runs_in(folder):
    return [load_run(path) for path in sorted([*folder.glob("task-*"), *folder.glob("*/task-*")])]


@pytest.mark.parametrize("n_jobs", ["1", "2"])
def test_same_as_run_gives_every_run_its_own_seed(task, tmp_path, n_jobs):
    arguments = [task, "--problem.model_seed", "same-as-run", "--seed", "5", "--runs", "3", "--jobs", n_jobs]
    assert main([*arguments, *OPTIONS, "--out", str(tmp_path)]) == 0
    runs = runs_in(tmp_path)
    assert [int(run.front["a"].min()) for run in runs] == [5, 6, 7]
    # the manifest keeps the word: runs of one command are one setting
    assert {run.manifest["problem"]["parameters"]["model_seed"] for run in runs} == {"same-as-run"}


def test_same_as_run_survives_a_config_file_and_a_resume(task, tmp_path, capsys):
    assert main([task, "--problem.seed=same-as-run", "--problem.model_seed=same-as-run", "--print-config"]) == 0
    config = tmp_path / "config.yaml"
    config.write_text(capsys.readouterr().out)
    assert "model_seed: same-as-run" in config.read_text()
    assert main([task, "--config", str(config), "--seed", "9", *OPTIONS, "--out", str(tmp_path)]) == 0
    (run,) = runs_in(tmp_path)
    before = (run.path / "front.csv").read_bytes()
    (run.path / "manifest.json").write_text(json.dumps(run.manifest | {"status": "interrupted"}))
    assert main(["--resume", str(run.path), "--trust", "--quiet"]) == 0
    assert (run.path / "front.csv").read_bytes() == before and int(load_run(run.path).front["a"].min()) == 9


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--problem.width=same-as-run", "same-as-run is for seeds of the problem only"),
        ("--problem.model_seed=same", "--problem.model_seed must be a whole number or same-as-run, got same"),
        ("--seed=same-as-run", "--seed must be a whole number"),
    ],
)
def test_same_as_run_where_it_does_not_fit_is_told(task, option, message):
    with pytest.raises(UsageError) as caught:
        main([task, option, *OPTIONS])
    assert message in str(caught.value)


def test_resolved_replaces_seeds_and_nothing_else():
    given = {"seed": "same-as-run", "model_seed": 3, "split_seed": "same-as-run", "name": "same-as-run"}
    assert resolved(given, seed=7) == {"seed": 7, "model_seed": 3, "split_seed": 7, "name": "same-as-run"}
    assert given["seed"] == "same-as-run"


def test_is_seed_takes_whole_numbers_by_name():
    assert is_seed("seed", int) and is_seed("model_seed", int | None)
    assert not is_seed("seed", str) and not is_seed("reseed", int) and not is_seed("seeds", int)

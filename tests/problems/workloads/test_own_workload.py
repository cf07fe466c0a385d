"""A user's workload by the name of its file or module, and what is told where it cannot be had."""

from __future__ import annotations

import pytest

from opt import UsageError
from opt.execution.named_code import Code, function_digests
from problems.threshold import Threshold
from problems.workloads.own_workload import own_workload

FILE = """
import torch
from torch import nn
from problems.workloads.workload import Workload

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))

def workload():
    return Workload(nn.Linear(4, 2), (X, X[:, :2]))

def build(width=3):
    return Workload(nn.Linear(4, 2), (X, X[:, :2]), name=f"of width {width}")

ready = Workload(nn.Linear(4, 2), (X, X[:, :2]), name="ready")

def needy(width):
    return None

def broken():
    raise RuntimeError("no such file: weights.pt")

def wrong():
    return nn.Linear(4, 2)

def exits():
    raise SystemExit(3)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("target", "name"), [("", "Linear"), (":workload", "Linear"), (":build", "of width 3"), (":ready", "ready")]
)
def test_functions_and_workloads_are_found_by_name(file, target, name):
    assert own_workload(f"{file}{target}", seed=0).name == name


def test_a_module_may_hold_it_too(file, monkeypatch):
    monkeypatch.syspath_prepend(str(file.parent))
    file.rename(file.with_name("my_workloads.py"))
    assert own_workload("my_workloads:ready", seed=0).name == "ready"


def test_what_a_function_draws_follows_the_seed(file):
    weights = [own_workload(f"{file}:workload", seed=seed).network[0].weight for seed in (1, 1, 2)]
    assert (weights[0] == weights[1]).all() and (weights[0] != weights[2]).any()


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (":workloud", "has no 'workloud'; did you mean 'workload'"),
        (":needy", r"needs arguments \(width\)"),
        (":broken", "fails: RuntimeError: no such file"),
        (":exits", "fails: SystemExit"),
        (":wrong", "must return a Workload, got the network Linear"),
        (":X", "has no 'X'"),
    ],
)
def test_what_is_no_workload_is_one_line(file, target, told):
    with pytest.raises(UsageError, match=told) as error:
        own_workload(f"{file}{target}", seed=0)
    assert "\n" not in str(error.value)


def test_a_missing_file_names_the_nearest(file):
    with pytest.raises(UsageError, match=r"mime\.py does not exist; did you mean .*mine\.py"):
        own_workload(str(file.with_name("mime.py")), seed=0)
    with pytest.raises(UsageError, match=r"module:function|package\.module"):
        own_workload("mine", seed=0)


def test_a_workload_brings_its_own_network(file):
    with pytest.raises(UsageError, match=r"leave out --problem\.network"):
        Threshold(workload=f"{file}:workload", network="some:network")


def test_the_file_is_a_part_of_the_runs_code(file):
    codes = [Code(parameters=({"workload": f"{file}:workload"},))]
    before = function_digests(codes)
    assert list(before) == [f"{file}:workload"]
    file.write_text(FILE + "\n# changed\n")
    assert function_digests(codes) != before

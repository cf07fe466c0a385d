"""Arguments of a user's workload function as options of the command line: types, help, mistakes, resuming."""

from __future__ import annotations

import pytest

from opt import UsageError, load_run
from opt.solve import main
from problems.threshold import Threshold
from problems.workloads.own_workload import own_workload

FILE = '''
import torch
from torch import nn
from problems.workloads.workload import Workload

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))

def build(width: int = 3, noise=0.5, *, kind="relu", is_deep: bool = False):
    """A small network.

    Args:
        width: Hidden units.
    """
    torch.manual_seed(0)
    act = {"relu": nn.ReLU, "tanh": nn.Tanh}[kind]()
    network = nn.Sequential(nn.Linear(4, width), act, nn.Linear(width, 2))
    return Workload(network, (X, X[:, :2] * noise), name=f"{width} {noise} {kind} {is_deep}")

def needy(width: int):
    return build(width)

def any_name(**more):
    return build(**more)

class Network(nn.Module):
    pass

ready = build()
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def solve(file, tmp_path, *tokens, target=":build"):
    command = ["problems/threshold.py", "--problem.workload", f"{file}{target}", "--out", str(tmp_path / "runs")]
    return main([*command, "--quiet", "--n-eval", "8", "--algo", "random", *tokens])


def test_arguments_take_the_types_of_the_signature(file, tmp_path):
    given = {"width": 5, "noise": 2.0, "kind": "tanh", "is_deep": True}
    tokens = [f"--problem.workload.{name}={str(value).lower()}" for name, value in given.items()]
    assert solve(file, tmp_path, *tokens) == 0
    (path,) = (tmp_path / "runs").iterdir()
    recorded = load_run(path).manifest["problem"]["parameters"]
    assert recorded["workload_arguments"] == given
    assert own_workload(f"{file}:build", seed=0, arguments=given).name == "5 2.0 tanh True"
    before = (path / "journal.jsonl").read_bytes()
    (path / "front.csv").unlink()
    assert main(["--resume", str(path), "--trust", "--quiet"]) == 0
    assert (path / "journal.jsonl").read_bytes() == before and (path / "front.csv").exists()


def test_required_arguments_may_be_given(file, tmp_path):
    assert solve(file, tmp_path, "--problem.workload.width", "4", target=":needy") == 0
    with pytest.raises(UsageError, match=r"needs arguments \(width\)"):
        solve(file, tmp_path, target=":needy")


@pytest.mark.parametrize(
    ("target", "token", "told"),
    [
        (":build", "--problem.workload.widht=5", "no argument 'widht'; did you mean 'width'"),
        (":build", "--problem.workload.width=wide", r"--problem.workload.width must be int, got 'wide'"),
        (":build", "--problem.workload.noise=loud", r"--problem.workload.noise must be float, got 'loud'"),
        (":build", "--problem.workload.is_deep=perhaps", "must be bool"),
        (":ready", "--problem.workload.width=5", "no argument 'width'; it has none"),
        (":biuld", "--problem.workload.width=5", "has no 'biuld'; did you mean 'build'"),
        (":Network", "--seed=1", "must return a Workload, got the network Network; give a network alone as"),
    ],
)
def test_wrong_arguments_are_one_line(file, tmp_path, target, token, told):
    with pytest.raises(UsageError, match=told) as error:
        solve(file, tmp_path, token, target=target)
    assert "\n" not in str(error.value)


def test_arguments_need_a_function():
    with pytest.raises(UsageError, match=r"is an argument of the function that --problem.workload names; give that"):
        main(["problems/threshold.py", "--problem.workload.width", "5"])
    with pytest.raises(UsageError, match="workload_arguments are for a function that workload names"):
        Threshold(workload_arguments={"width": 5})


def test_help_shows_the_arguments(file, capsys):
    assert main(["problems/threshold.py", "--problem.workload", f"{file}:build", "--help"]) == 0
    text = capsys.readouterr().out
    assert f"arguments of {file}:build (--problem.workload.X):" in text
    assert "--problem.workload.width WIDTH  Hidden units. (default: 3)" in text


def test_from_python_arguments_are_checked_too(file):
    work = own_workload(f"{file}:any_name", seed=0, arguments={"width": 2})
    assert work.name.startswith("2 ")
    with pytest.raises(UsageError, match="has no argument 'widht'; did you mean 'width'"):
        own_workload(f"{file}:build", seed=0, arguments={"widht": 2})
    with pytest.raises(UsageError, match="a Workload takes no arguments, got width"):
        own_workload(work, seed=0, arguments={"width": 2})

"""The command as a user calls it, in this process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from opt.console.command import execute
from opt.solve import main

SAMPLES = str(Path(__file__).parents[1] / "sample_problems.py")


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str


@pytest.fixture
def solve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., Answer]:
    """`solve("file.py", "--seed", "1")`: python -m opt.solve, without a process of its own."""

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["opt.solve", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            execute(main)
        return Answer(caught.value.code, *capsys.readouterr())

    return call


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as it is at a terminal, where the tests were begun in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def sample() -> Callable[[str], str]:
    """`sample("Bowl")`: the problem of that name as a target of the command."""
    return lambda name: f"{SAMPLES}:{name}"

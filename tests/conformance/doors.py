"""The program as a user meets it, in this process: its commands by their names, and `import opt`.

What is tested through here alone holds wherever a module lies inside the program.
"""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[2]

_PICTURES = "opt.plot"
"""The module whose `plot_runs` a run calls at its end; where that is another, runs draw and take longer."""


@dataclass(frozen=True)
class Answer:
    """What a command gave back.

    Args:
        code: Its exit code.
        out: What it said.
        err: What it said on stderr.
    """

    code: int
    out: str
    err: str


def command(name: str, *arguments: object) -> Answer:
    """`python -m opt.NAME ARGUMENTS`, without a process of its own."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    code: object = 0
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", [f"opt.{name}", *map(str, arguments)]),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=".*found in sys.modules", category=RuntimeWarning)
        try:
            runpy.run_module(f"opt.{name}", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code
    said, complained = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    return Answer(code if isinstance(code, int) else int(code is not None), said, complained)


def algorithms(problem: str | None = None) -> list[str]:
    """Names of all algorithms, as `--list` shows them; with a problem file, its own among them."""
    answer = command("solve", *([] if problem is None else [problem]), "--list")
    assert answer.code == 0, answer.err
    names = [line.split("│")[1].strip() for line in answer.out.splitlines() if line.startswith("│")]
    return [name for name in names if name]


@contextlib.contextmanager
def without_pictures() -> Iterator[None]:
    """Runs draw nothing: that would take most of the time."""
    stand_in = types.ModuleType(_PICTURES)
    stand_in.plot_runs = lambda runs, *, out=None: runs[0].path  # type: ignore[attr-defined]
    before = sys.modules.get(_PICTURES)
    sys.modules[_PICTURES] = stand_in
    try:
        yield
    finally:
        del sys.modules[_PICTURES]
        if before is not None:
            sys.modules[_PICTURES] = before

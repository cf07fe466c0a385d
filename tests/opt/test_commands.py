"""python -m opt, and the commands that an installation has."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import opt.__main__ as commands
from opt.console.command import execute, spelled

ROOT = Path(__file__).parents[2]


def call(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["opt", *arguments])
    with pytest.raises(SystemExit) as caught:
        execute(commands.main)
    return caught.value.code, *capsys.readouterr()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_commands_are_listed_a_line_each(monkeypatch, capsys, arguments):
    code, out, err = call(monkeypatch, capsys, *arguments)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    for name, line in zip(("solve", "plot", "show", "compare"), lines, strict=False):
        assert line.split()[:4] == [f"opt-{name}", "python", "-m", f"opt.{name}"] and len(line.split()) > 8


def test_unknown_word_is_told_with_the_nearest(monkeypatch, capsys):
    code, out, err = call(monkeypatch, capsys, "sho")
    assert (code, out) == (2, "")
    assert err == "error: no command is called 'sho'; did you mean 'show'?; commands: solve, plot, show, compare\n"


def test_named_command_is_run(monkeypatch, capsys, tmp_path):
    (tmp_path / "runs").mkdir()
    code, out, _ = call(monkeypatch, capsys, "show", "--runs", str(tmp_path / "runs"))
    assert code == 0 and "no runs in" in out


def test_module_is_called_as_the_others_are(tmp_path):
    command = [sys.executable, "-m", "opt"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0 and answer.stdout.startswith("opt-solve ")


def test_every_command_is_installed():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts == {f"opt-{name}": f"opt.__main__:{name}" for name in commands.COMMANDS}
    assert all(callable(getattr(commands, name)) for name in commands.COMMANDS)


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("/x/bin/opt-solve", "opt-plot"),
        ("opt-show.exe", "opt-plot"),
        ("/x/opt/solve.py", "python -m opt.plot"),
        ("-c", "python -m opt.plot"),
    ],
)
def test_other_commands_are_named_as_this_one_was_called(monkeypatch, program, text):
    monkeypatch.setattr(sys, "argv", [program])
    assert spelled("plot") == text


def test_present_folder_comes_last(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["opt-solve", "--list"])
    before = list(sys.path)
    with pytest.raises(SystemExit):
        commands.solve()
    assert sys.path == [*before, str(tmp_path)]

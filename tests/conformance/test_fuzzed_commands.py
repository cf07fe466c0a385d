"""No command line ends in a traceback or a hang: 200 that are drawn from the parsers themselves."""

from __future__ import annotations

import os
import sys
from collections import Counter

import command_fuzzer
import command_lines
import pytest

N = 200
# another seed, or more lines: python tests/conformance/command_fuzzer.py --n 5000 --seed 7
SEED = int(os.environ.get("FUZZ_SEED", "1"))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return command_fuzzer.fuzz(n=N, seed=SEED, folder=tmp_path_factory.mktemp("fuzzer"))


def test_every_line_ends_as_a_command_should(outcomes):
    assert len(outcomes) == N
    faults = [outcome for outcome in outcomes if outcome.fault]
    assert not faults, command_fuzzer.summary(outcomes)


def test_lines_are_of_all_kinds(outcomes):
    commands = Counter(outcome.line.split()[2] for outcome in outcomes)
    assert set(commands) == {command_lines.SOLVE, *command_lines.COMMANDS}
    for name in command_lines.PROBLEMS:
        of_problem = [outcome for outcome in outcomes if f"{name}.py" in outcome.line]
        assert any(outcome.code == 0 for outcome in of_problem), f"{name} was never built"
        assert any(outcome.code == 2 for outcome in of_problem), f"{name} never refused anything"


def test_a_line_is_the_same_whenever_it_is_drawn():
    places = {"run": ["a"], "study": ["b"]}
    assert command_lines.draw(SEED, 3, places) == command_lines.draw(SEED, 3, places)
    assert len({command_lines.draw(SEED, k, places).shown() for k in range(40)}) > 30


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("raise RuntimeError('broken')", "RuntimeError: broken"),
        ("raise SystemExit(3)", "exit code 3"),
        ("raise SystemExit('text')", "exit code 'text'"),
        ("return 2", "0 error lines"),
        ("complain('one'); raise UsageError('two')", "2 error lines"),
        ("raise UsageError('Parser key x')", "not a user's words: Parser key"),
        ("print('Traceback', file=sys.stderr)", "a traceback on stderr"),
        ("return 0", ""),
        ("raise UsageError('one line')", ""),
    ],
)
def test_what_is_no_end_of_a_command_is_a_fault(body, fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "a_command", raising=False)
    imports = "import sys\nfrom opt.console.command import complain\nfrom opt.console.errors import UsageError\n"
    (tmp_path / "a_command.py").write_text(f"{imports}def main(argv):\n    {body}\n")
    assert command_fuzzer.run_line(1, command_lines.Line("a_command", (), {})).fault == fault

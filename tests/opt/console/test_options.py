"""Options of the small commands: wrong ones are told with the nearest, groups bring type, limits, default and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from refusals import refused

from opt.console.errors import UsageError
from opt.console.option_groups import option_group
from opt.console.options import OptionParser
from opt.console.ranges import Range


@option_group
class Options:
    """Of a command.

    Args:
        kind: What is drawn, 100 % of it.
        n_steps: How many steps.
        share: Of them; by default all.
        out: Folder.
        is_quiet: Say nothing.
    """

    kind: Literal["curve", "bars"] = "curve"
    n_steps: Annotated[int, Range(1, 10)] = 3
    share: Annotated[float, Range(0.0, 1.0)] | None = None
    out: Path = Path("made")
    is_quiet: bool = False


def read(*argv):
    parser = OptionParser(prog="command", description="Draws.")
    parser.add_group(Options)
    return parser.group_of(parser.read(argv), Options)


def test_group_is_read_from_options():
    assert read() == Options()
    given = read("--kind", "bars", "--n-steps=7", "--share", "0.5", "--out", "x", "--is-quiet")
    assert given == Options(kind="bars", n_steps=7, share=0.5, out=Path("x"), is_quiet=True)


@pytest.mark.parametrize(
    ("argv", "message"),
    refused("options", "wrong_option_is_told_by_the_name_that_was_typed"),
)
def test_wrong_option_is_told_by_the_name_that_was_typed(argv, message):
    with pytest.raises(UsageError) as error:
        read(*argv)
    assert str(error.value).startswith(message)


def test_help_shows_default_limits_and_choices(capsys):
    with pytest.raises(SystemExit):
        read("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "--kind {curve,bars} What is drawn, 100 % of it. (default: curve)" in text
    assert "--n-steps N How many steps. (default: 3; 1 to 10)" in text
    assert "--share SHARE Of them; by default all. (0 to 1)" in text
    assert "--is-quiet Say nothing." in text


def test_choice_of_a_positional_is_told_too():
    parser = OptionParser(prog="command", description="Draws.")
    parser.add_argument("what", choices=("front", "trace"))
    with pytest.raises(UsageError, match="what must be one of front, trace, got 'traces'; did you mean 'trace'"):
        parser.read(["traces"])

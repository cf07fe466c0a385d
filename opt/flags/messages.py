"""What jsonargparse says against a value, in the words of the other errors: what was expected, and what came."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from jsonargparse import ArgumentError, ArgumentParser

from opt.flags.config import GROUPS
from opt.flags.seeding import SAME_AS_RUN

_LONGEST_SHOWN = 100


def outward(option: str) -> str:
    """The option as a user types it: --problem_data is shown as --problem.data."""
    for prefix in (f"--{group}_" for group in GROUPS):
        if option.startswith(prefix):
            return f"{prefix[:-1]}.{option[len(prefix) :]}"
    return option


def readable(parser: ArgumentParser, message: str) -> str:
    """A message of jsonargparse in the words of the other errors."""
    message = re.sub(r"\b(problem|algo|cluster)_(?=\w)", r"--\1.", message) if "required" in message else message
    line = " ".join(message.split())
    told = re.search(r'[Kk]ey "([\w-]+)"(?:.*(?:Got|Given) value:? ?(.*)|: (.*))', line)
    action = next((a for a in parser._actions if told and a.dest == told[1]), None)
    if told is None or action is None:
        return outward(line)
    value = told[2] or ""
    option = outward(action.option_strings[0])
    hint = f"; {SAME_AS_RUN} is for seeds of the problem only" if value.strip() == SAME_AS_RUN else ""
    expected = f"{option} must be {_expected(getattr(action, '_typehint', action.type))}"
    return f"{expected}: {told[3]}" if told[3] else f"{expected}, got {_cut(value) or repr('')}{hint}"


def too_large(parser: ArgumentParser, tokens: Sequence[str]) -> str:
    """Which token holds a number or a nesting that cannot be read."""
    for token in tokens:
        try:
            parser.parse_args([token])
        except (OverflowError, RecursionError) as error:
            name, _, value = token.partition("=")
            what = "numbers of fewer digits" if isinstance(error, OverflowError) else "fewer brackets within brackets"
            return f"{outward(name)} takes {what}, got {_cut(value)}"
        except ArgumentError:  # such as a required option that this token does not give
            continue
    return "an option holds a number of too many digits, or too many brackets within brackets"


def _cut(text: str) -> str:
    """A value in a message, shortened where it is long."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:40]}... ({len(text)} characters)"


def _expected(kind: Any) -> str:
    if get_origin(kind) is Literal:
        if len(get_args(kind)) == 1:
            return str(get_args(kind)[0])
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if get_args(kind):
        return " or ".join(_expected(part) for part in get_args(kind))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return names.get(kind, f"a {getattr(kind, '__name__', kind)}")

"""Options of the small commands: argparse, with every mistake told in one line and the nearest name offered."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

from opt.console.errors import UsageError, check_choice, nearest
from opt.console.parameters import Parameter, parameters_of

T = TypeVar("T")

LONGEST_MESSAGE = 500
"""argparse's own messages hold the whole of what was given."""


class OptionParser(argparse.ArgumentParser):
    """An argument parser that raises UsageError instead of printing its usage and exiting.

    Args:
        prog: How the command is called, as in `python -m opt.plot`.
        description: What it does.
    """

    def __init__(self, *, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting."""
        text = message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "..."
        raise UsageError(f"{text}; `{self.prog} --help` shows what it takes")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None:
            check_choice(action.option_strings[-1] if action.option_strings else action.dest, value, action.choices)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """The options in argv; an unknown one is refused with the nearest known name."""
        options, unknown = self.parse_known_args(list(argv))
        if unknown:
            name = unknown[0].split("=")[0]
            known = [text for action in self._actions for text in action.option_strings if text.startswith("--")]
            self.error(f"unknown option {name!r}{nearest(name, known)}")
        return options

    # -- options that a group holds ---------------------------------------------------------------

    def add_group(self, group: type) -> None:
        """Add the options of a group (`opt.console.option_groups`): `n_steps` as `--n-steps`.

        Type, choices, limits, default and help are the group's own. A switch, a bool that is False by default, takes no
        value.
        """
        for parameter in parameters_of(group).values():
            self.add_argument(_flag(parameter.name), **_as_argument(parameter))

    def group_of(self, options: argparse.Namespace, group: type[T]) -> T:
        """The group that was added, made of the options that were read.

        Raises:
            UsageError: A number lies outside the limits of its option.
        """
        given = {field.name: getattr(options, field.name) for field in dataclasses.fields(group)}  # type: ignore[arg-type]
        for name, parameter in parameters_of(group).items():
            parameter.check(given[name], name=_flag(name))
        return group(**given)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _as_argument(parameter: Parameter) -> dict[str, Any]:
    """What argparse is told of a parameter."""
    kinds = [kind for kind in get_args(parameter.kind) or (parameter.kind,) if kind is not type(None)]
    if parameter.kind is bool:
        return {"action": "store_true", "help": _escaped(parameter.help)}
    notes = [] if parameter.default is None else [f"default: {parameter.default}"]
    notes += [parameter.limits.words] if parameter.limits is not None and parameter.limits.words else []
    about = {"default": parameter.default, "help": _escaped(f"{parameter.help} ({'; '.join(notes)})")}
    if not notes:
        about["help"] = _escaped(parameter.help)
    if get_origin(parameter.kind) is Literal:
        return about | {"choices": get_args(parameter.kind)}
    metavar = "N" if kinds[0] is int else parameter.name.rpartition("_")[2].upper()
    return about | {"type": kinds[0], "metavar": metavar}


def _escaped(text: str) -> str:
    """Help as argparse takes it, which fills in what stands behind a percent sign."""
    return text.replace("%", "%%")

"""Options of a function that another option names: `--problem.workload mine.py:build --problem.workload.width 5`.

They are found by the function's signature, and become one option, a mapping of its keyword arguments by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from opt.console.errors import UsageError, nearest
from opt.console.parameters import Parameter, parameters_of
from opt.flags.config import plain

_TYPES = (bool, int, float, str)


def gathered(parameters: Mapping[str, Parameter], tokens: Sequence[str]) -> list[str]:
    """The tokens with arguments of functions gathered into the option that takes them.

    Args:
        parameters: What each option is, by its name in the parsed namespace.
        tokens: Of the form `--name=value`.

    Raises:
        UsageError: No function is named, it is not found, has no such argument, or a value is of the wrong type.
    """
    for dest, parameter in parameters.items():
        if parameter.arguments is None:
            continue
        option = f"--problem.{parameter.name}"
        own = [token for token in tokens if token.startswith(f"{option}.")]
        if not own:
            continue
        values = [token.partition("=")[2] for token in tokens if token.startswith(f"{option}=")]
        if not values or values[-1] in ("null", ""):
            name = own[0].partition("=")[0]
            raise UsageError(f"{name} is an argument of the function that {option} names; give that too")
        found = _parsed(option, values[-1], own, parameter.arguments.find(values[-1]))
        taken = f"--{dest.removesuffix(parameter.name)}{parameter.arguments.into}".replace("problem_", "problem.", 1)
        tokens = [token for token in tokens if token not in own and not token.startswith(f"{taken}=")]
        tokens = [*tokens, f"{taken}={json.dumps(plain(found))}"]
    return list(tokens)


def arguments_help(parameters: Mapping[str, Parameter], tokens: Sequence[str]) -> str:
    """Help for the arguments of the functions that tokens name; "" where there are none."""
    lines = []
    for parameter in parameters.values():
        option = f"--problem.{parameter.name}"
        values = [token.partition("=")[2] for token in tokens if token.startswith(f"{option}=")]
        if parameter.arguments is None or not values:
            continue
        function = parameter.arguments.find(values[-1])
        own = {} if function is None else parameters_of(function)
        lines.append(f"\narguments of {values[-1]} ({option}.X){':' if own else ': none'}")
        for name, argument in own.items():
            is_given = argument.default is not Parameter(name).default
            default = f" (default: {argument.default})" if is_given else " (required)"
            lines.append(f"  {option}.{name} {name.upper()}  {argument.help}{default}")
    return "\n".join(lines)


def _parsed(option: str, target: str, tokens: Sequence[str], function: Callable[..., Any] | None) -> dict[str, Any]:
    """The arguments of a function by name, in the types of its signature."""
    own = {} if function is None else parameters_of(function)
    parser = ArgumentParser(exit_on_error=False, add_help=False)
    for name, parameter in own.items():
        _add(parser, name, _kind(parameter))
    values = {}
    for token in tokens:
        name, _, text = token.removeprefix(f"{option}.").partition("=")
        if name not in own:
            has = f"; it has {', '.join(own)}" if own else "; it has none"
            raise UsageError(f"{target} has no argument {name!r}{nearest(name, own)}{has}")
        try:
            values[name] = getattr(parser.parse_args([f"--{name}={text}"]), name)
        except ArgumentError:
            kind = getattr(_kind(own[name]), "__name__", str(_kind(own[name])))
            raise UsageError(f"{option}.{name} must be {kind}, got {text!r:.100}") from None
        own[name].check(values[name], name=f"{option}.{name}")
    return values


def _kind(parameter: Parameter) -> Any:
    """The type of an argument: its annotation, or that of its default."""
    default = parameter.default
    return type(default) if parameter.kind is Any and isinstance(default, _TYPES) else parameter.kind


def _add(parser: ArgumentParser, name: str, kind: Any) -> None:
    try:
        parser.add_argument(f"--{name}", type=kind, default=None)
    except (ValueError, TypeError):  # an annotation that is no option's type, such as an array's
        parser.add_argument(f"--{name}", type=Any, default=None)

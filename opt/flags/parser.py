"""The options of opt.solve, built from the problem's and the algorithm's own signatures and docstrings."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from pymoo.core.problem import Problem

from opt.algorithms import AlgorithmSpec
from opt.console.command import spelled
from opt.console.errors import UsageError, nearest
from opt.console.option_groups import former_names, of_former
from opt.console.parameters import REQUIRED, Parameter, parameters_of
from opt.console.ranges import SEED, check_words
from opt.flags.command_line import USAGE
from opt.flags.config import as_text, plain
from opt.flags.job_options import JobOptions
from opt.flags.messages import outward, readable, too_large
from opt.flags.own_arguments import gathered
from opt.flags.search_options import OPTIONS, SWITCHES
from opt.flags.seeding import is_seed, with_same_as_run

_MORE_HELP = """
besides:
  --list                 every algorithm, those of PROBLEM.py too: what it is, what it needs
  --config FILE.yaml     options from a file, or by its name from an installed one; the command line goes before it
  --print-config         print such a file and search nothing
  --study FILE.yaml      a grid of problems, algorithms and settings
  --resume RUN_OR_STUDY  go on with what is not finished, mend what is damaged
  --force                go on though code, data, parameters or versions have changed since
  --trust                run the code that a run of somebody else's names
  --print-job            print the job that --cluster would submit
"""


class SolveParser(ArgumentParser):
    """The parser for one problem class and one algorithm.

    Attributes:
        parameters: What each option is, by its name in the parsed namespace.
        former: Options that had other names, with what they are now.
    """

    parameters: dict[str, Parameter]
    former: dict[str, str]


def build_parser(problem: type[Problem] | None, spec: AlgorithmSpec | None) -> SolveParser:
    """The parser for one problem class and one algorithm, or for neither."""
    parser = SolveParser(prog=spelled("solve"), usage=USAGE, exit_on_error=False, add_help=False)
    parser.parameters, parser.former = {}, {}
    for name, parameter in sorted(OPTIONS.items(), key=lambda item: item[0] in SWITCHES):
        parser.parameters[name.replace("-", "_")] = parameter
        if name in SWITCHES:
            parser.add_argument(f"--{name}", action="store_true", help=_help(parameter))
        else:
            kind = _command_kind(parameter.kind)
            parser.add_argument(f"--{name}", type=kind, default=parameter.default, help=_help(parameter))
    if problem is not None:
        _add_group(parser, "problem", problem.__name__, _with_seeds(parameters_of(problem)))
        names = former_names(problem.__init__).items()
        parser.former = {f"--problem.{was}": f"--problem.{now}" for was, now in names}
    if spec is not None:
        _add_group(parser, "algo", spec.name, spec.parameters)
    _add_group(parser, "cluster", "a job of slurm or pbs", parameters_of(JobOptions))
    return parser


def _help(parameter: Parameter) -> str:
    words = parameter.limits.words if parameter.limits else ""
    if not words:
        return parameter.help
    text = parameter.help if parameter.help.endswith("...") else parameter.help.removesuffix(".")
    return f"{text} ({words})."


def _command_kind(kind: Any) -> Any:
    """The type on the command line of an option that Python takes as text or as something else."""
    parts = get_args(kind) if isinstance(kind, types.UnionType) else ()
    return (str | None if type(None) in parts else str) if str in parts else kind


def _with_seeds(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """A problem's parameters; a seed takes what every generator takes, or the run's own."""
    return {
        name: replace(p, kind=with_same_as_run(p.kind), limits=p.limits or SEED) if is_seed(name, p.kind) else p
        for name, p in parameters.items()
    }


def _add_group(parser: SolveParser, prefix: str, title: str, parameters: Mapping[str, Parameter]) -> None:
    group = parser.add_argument_group(f"parameters of {title} (--{prefix}.X)")
    for name, parameter in parameters.items():
        kind, required = parameter.kind, parameter.default is REQUIRED
        # jsonargparse keeps `algo` for the name, so the groups live under keys of their own
        shown: dict[str, Any] = {} if get_origin(kind) is Literal or kind is bool else {"metavar": name.upper()}
        parser.parameters[f"{prefix}_{name}"] = parameter
        group.add_argument(
            f"--{prefix}_{name}",
            type=kind,
            **shown,
            default=None if required else parameter.default,
            required=required,
            help=_help(parameter),
        )


def parse(parser: SolveParser, tokens: Sequence[str]) -> Namespace:
    """Parse tokens of the form `--name=value`.

    Raises:
        UsageError: An unknown option (the nearest is offered), a value of the wrong type or outside its limits.
    """
    translated = _translated(parser, tokens)
    try:
        values = parser.parse_args(translated)
    except ArgumentError as error:
        raise UsageError(readable(parser, str(error))) from None
    except (OverflowError, RecursionError):
        raise UsageError(too_large(parser, translated)) from None
    for action in parser._actions:
        value, option = getattr(values, action.dest, None), outward(action.option_strings[0])
        if action.dest in parser.parameters and not isinstance(value, str):
            parser.parameters[action.dest].check(value, name=option)
        # whatever it means, the problem itself knows: it fits 64 bits
        check_words(option, value)
    return values


def _translated(parser: SolveParser, tokens: Sequence[str]) -> list[str]:
    """The tokens with options as the parser calls them."""
    options = {outward(option): option for action in parser._actions for option in action.option_strings}
    translated = []
    for token in gathered(parser.parameters, tokens):
        name, equals, value = token.partition("=")
        if name.removeprefix("--") in SWITCHES and equals:
            if value not in ("true", "false"):
                raise UsageError(f"{name} must be true or false, got {value}")
            if value == "false":
                continue
            equals = value = ""
        if name in parser.former:
            raise UsageError(f"{name} is now {parser.former[name]}")
        if name not in options:
            raise UsageError(f"unknown option {name}{nearest(name, options)}; {spelled('solve')} --help lists them")
        translated.append(options[name] + equals + value)
    return translated


def group(values: Namespace, prefix: str) -> dict[str, Any]:
    """The parsed parameters of one group, by their own names."""
    start = f"{prefix}_"
    return {k[len(start) :]: v for k, v in vars(values).items() if k.startswith(start)}


def reread(problem: type[Problem], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a problem as its constructor takes them, from `plain` ones, which may have former names."""
    parameters = of_former(problem.__init__, parameters)
    known = parameters_of(problem)
    tokens = [f"--problem.{name}={as_text(name, value)}" for name, value in parameters.items() if name in known]
    return dict(parameters) | group(parse(build_parser(problem, None), tokens), "problem")


def as_yaml(values: Namespace, algo: str) -> str:
    """The parsed options as a config file that gives the same run."""
    own = {name.replace("-", "_"): getattr(values, name.replace("-", "_")) for name in OPTIONS if name != "algo"}
    config = {
        "algo": {"name": algo, **plain(group(values, "algo"))},
        "problem": plain(group(values, "problem")),
        **{k: v for k, v in own.items() if v is not None and v is not False},
    }
    return yaml.safe_dump(config, sort_keys=False)


def help_text(parser: SolveParser) -> str:
    """The parser's help with options as a user types them."""
    text = parser.format_help()
    for action in parser._actions:
        for option in action.option_strings:
            text = text.replace(option, outward(option))
    return text + _MORE_HELP

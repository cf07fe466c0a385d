"""The options of opt.solve, built from the problem's and the algorithm's own signatures and docstrings."""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from pymoo.core.problem import Problem

from opt.algorithms import AlgorithmSpec
from opt.console.command import spelled
from opt.console.errors import UsageError, nearest
from opt.console.ranges import OPTIONS, SEED, check_option, check_words
from opt.files.yaml_file import read_yaml
from opt.problem.installed import config_file
from opt.search.seeding import SAME_AS_RUN, is_seed, with_same_as_run
from opt.studies.cluster import JobSettings

USAGE = f"{spelled('solve')} PROBLEM.py [--algo NAME,...] [--seed N] [--n-gen N | --n-eval N | --time T] [options]"
FLAGS = (
    "--list",
    "--help",
    "-h",
    "--print-config",
    "--print_config",
    "--print-job",
    "--fail-fast",
    "--quiet",
    "--force",
    "--trust",
)
FILES = ("--config", "--resume", "--study")
_GENERAL: tuple[tuple[str, Any, Any, str], ...] = (
    ("algo", str, "nsga2", "Algorithm, or several with commas between them; --list shows all of them."),
    ("seed", int, 1, "Seed of the run; everything random descends from it."),
    ("runs", int, 1, "Number of runs of each algorithm, with seeds SEED, SEED + 1, ..."),
    ("jobs", int, 1, "Number of runs side by side; with --cluster, number of jobs."),
    ("n-gen", int | None, None, "Budget in generations; 50 when no budget is given."),
    ("n-eval", int | None, None, "Budget in evaluations of distinct candidates."),
    ("time", str | None, None, "Budget in wall-clock time: 90s, 10m, 1h30m."),
    ("patience", int | None, None, "Stop after so many generations without a gain in hypervolume."),
    ("tolerance", float, 1e-4, "Smallest relative gain in hypervolume that --patience counts."),
    ("weights", str | None, None, "Weights of the objectives for single-objective algorithms: 0,2,1."),
    ("scalarise", str, "sum", "One objective from several: sum, asf, or problem for its own way."),
    ("ref", str | None, None, "Reference point of asf, one value per objective: 0.1,5,0.3."),
    ("start", str | None, None, "Warm start: a saved run, whose front is the first candidates of the search."),
    ("out", str, "runs", "Folder under which run directories are made."),
    ("threads", int, 1, "Threads of linear algebra in each run."),
    ("keep", int, 200, "Most solutions of the front saved as safetensors."),
    ("cache-size", int, 100_000, "Distinct candidates whose values are remembered."),
    (
        "eval-time",
        str | None,
        None,
        "Longest time of one candidate's evaluation, such as 20s; it fails beyond. Evaluations are then done in a "
        "process of their own, forked for each batch and killed if it is late: what evaluate keeps in memory is lost.",
    ),
    ("name", str | None, None, "Several runs: name of their study's folder."),
    ("task-time", str | None, None, "Several runs: longest time of one, such as 30m; it fails beyond, and is kept."),
    ("task-memory", str | None, None, "Several runs: most memory of one's process, such as 2GB."),
    ("backend", Literal["loky", "dask"], "loky", "Several runs: processes here, or the workers of --scheduler."),
    ("scheduler", str | None, None, "Address of a Dask scheduler, such as tcp://host:8786."),
    ("cluster", Literal["slurm", "pbs"] | None, None, "Batch system whose jobs carry out the runs."),
)
WHOLE_NAMES = ("out", "jobs", "quiet", "name", "task-time", "task-memory", "backend", "scheduler", "cluster")
"""Options of a study as a whole, not of one run."""
_SWITCHES = (
    ("fail-fast", "Stop on the first candidate that cannot be evaluated."),
    ("quiet", "Show no progress and no table."),
)
_MORE_HELP = """
besides:
  --list                 every algorithm, those of PROBLEM.py too: what it is, what it needs
  --config FILE.yaml     options from a file; the command line goes before it
  --print-config         print such a file and search nothing
  --study FILE.yaml      a grid of problems, algorithms and settings
  --resume RUN_OR_STUDY  go on with what is not finished, mend what is damaged
  --force                go on though code, data, parameters or versions have changed since
  --trust                run the code that a run of somebody else's names
  --print-job            print the job that --cluster would submit
"""
_GROUPS = ("problem", "algo", "cluster")
_LONGEST_SHOWN = 100
SWITCHES = tuple(f"--{name}" for name, _ in _SWITCHES)
GENERAL_NAMES = tuple(name for name, *_ in _GENERAL) + tuple(name for name, _ in _SWITCHES)


@dataclass(frozen=True)
class Scanned:
    """What must be known of a command line before its options can be built."""

    problem: str | None
    algo: str
    resume: str | None
    study: str | None
    is_list: bool
    is_help: bool
    is_print_config: bool
    is_print_job: bool
    is_forced: bool
    is_trust: bool
    tokens: tuple[str, ...]


def scan(argv: Sequence[str]) -> Scanned:
    """Find the problem file and the algorithm; put the config file's entries before the command line's.

    Raises:
        UsageError: Two problem files, an option without its value, or an unreadable config file.
    """
    values: dict[str, str] = {}
    flags: set[str] = set()
    positional: list[str] = []
    rest: list[str] = []
    i = 0
    while i < len(argv):
        token = argv[i]
        i += 1
        if not token.startswith("-"):
            positional.append(token)
            continue
        name, has_value, value = token.partition("=")
        if name in FLAGS:
            if has_value and name not in SWITCHES:
                raise UsageError(f"{name} takes no value, got {token}")
            flags.add(name)
            if name in SWITCHES:
                rest.append(token)
            continue
        if not has_value:
            if i == len(argv) or argv[i].startswith("--"):
                raise UsageError(f"option {name} needs a value; {spelled('solve')} --help lists the options")
            value = argv[i]
            i += 1
        if name in FILES:
            values[name] = value
        else:
            values[name] = value
            rest.append(f"{name}={value}")
    if len(positional) > 1:
        raise UsageError(f"expected one problem file, got {len(positional)}: {' '.join(positional)}")
    config = _config_tokens(config_file(values["--config"])) if "--config" in values else []
    named = [t.removeprefix("--algo=") for t in (*config, *rest) if t.startswith("--algo=")]
    return Scanned(
        problem=positional[0] if positional else None,
        algo=named[-1] if named else "nsga2",
        resume=values.get("--resume"),
        study=values.get("--study"),
        is_list="--list" in flags,
        is_help=bool(flags & {"--help", "-h"}),
        is_print_config=bool(flags & {"--print-config", "--print_config"}),
        is_print_job="--print-job" in flags,
        is_forced="--force" in flags,
        is_trust="--trust" in flags,
        tokens=(*config, *rest),
    )


def _config_tokens(path: Path) -> list[str]:
    loaded = read_yaml(path, "config file")
    if loaded is None:
        return []
    if not isinstance(loaded, dict):
        raise UsageError(f"config file {path} must hold names and values, got {type(loaded).__name__}")
    return [f"--{name}={as_text(name, value)}" for name, value in flatten(loaded)]


def flatten(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The entries of a config file by the options' names: `problem: {data: digits}` is `problem.data`.

    `algo` and `cluster` may hold their own name, under `name`, beside their parameters. A mapping deeper than
    that is the value of its parameter.
    """
    pairs: list[tuple[str, Any]] = []
    for key, value in node.items():
        name = f"{prefix}{key}" if prefix or "." in str(key) else str(key).replace("_", "-")
        if not isinstance(value, Mapping) or name not in _GROUPS:
            pairs.append((name, value))
        elif name in ("algo", "cluster") and "name" in value:
            own = {k: v for k, v in value.items() if k != "name"}
            pairs = [(name, value["name"]), *pairs, *flatten(own, f"{name}.")]
        else:
            pairs += flatten(value, f"{name}.")
    return pairs


def as_text(name: str, value: Any) -> str:
    """A value as the command line takes it for the option `name`."""
    if name in ("weights", "ref") and isinstance(value, list):
        return ",".join(str(v) for v in value)
    if isinstance(value, str):
        return value
    text = json.dumps(plain(value))
    for number in (".nan", ".inf", "-.inf"):  # JSON has no such numbers, and YAML, in which options are read, has
        text = text.replace(f'"{number}"', number)
    return text


def plain(value: Any) -> Any:
    """A parameter's value as JSON and YAML can hold it, in a form that the parser reads again."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, Enum):
        return value.name
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def reread(problem: type[Problem], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a problem as its constructor takes them, from `plain` ones."""
    known = parameters_of(problem.__init__)
    tokens = [f"--problem.{name}={as_text(name, value)}" for name, value in parameters.items() if name in known]
    return dict(parameters) | group(parse(build_parser(problem, None), tokens), "problem")


def parameters_of(callable_: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that a user may set by name, in order; `self` and catch-alls left out."""
    try:
        found = inspect.signature(callable_, eval_str=True).parameters
    except NameError:
        found = inspect.signature(callable_).parameters
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {name: p for name, p in found.items() if p.kind in kinds and name != "self"}


def build_parser(problem: type[Problem] | None, spec: AlgorithmSpec | None) -> ArgumentParser:
    """The parser for one problem class and one algorithm."""
    parser = ArgumentParser(prog=spelled("solve"), usage=USAGE, exit_on_error=False, add_help=False)
    for name, kind, default, text in _GENERAL:
        parser.add_argument(f"--{name}", type=kind, default=default, help=text)
    for name, text in _SWITCHES:
        parser.add_argument(f"--{name}", action="store_true", help=text)
    if problem is not None:
        documented = (inspect.getdoc(problem.__init__), inspect.getdoc(problem))
        _add_group(parser, "problem", problem.__name__, parameters_of(problem.__init__), documented)
    if spec is not None:
        _add_group(parser, "algo", spec.name, spec.parameters, (inspect.getdoc(spec.build),))
    jobs = parameters_of(JobSettings.__init__)
    _add_group(parser, "cluster", "a job of slurm or pbs", jobs, (inspect.getdoc(JobSettings),))
    return parser


def _add_group(
    parser: ArgumentParser,
    prefix: str,
    title: str,
    parameters: Mapping[str, inspect.Parameter],
    documented: Sequence[str | None],
) -> None:
    helps = {p.arg_name: p.description or "" for text in documented for p in parse_docstring(text or "").params}
    group = parser.add_argument_group(f"parameters of {title} (--{prefix}.X)")
    for name, parameter in parameters.items():
        # an annotation that cannot be resolved, or none, takes anything
        unknown = parameter.annotation is inspect.Parameter.empty or isinstance(parameter.annotation, str)
        kind = Any if unknown else parameter.annotation
        required = parameter.default is inspect.Parameter.empty
        if prefix == "problem" and is_seed(name, kind):
            kind = with_same_as_run(kind)
        # jsonargparse keeps `algo` for the name, so the groups live under keys of their own
        shown: dict[str, Any] = {} if get_origin(kind) is Literal or kind is bool else {"metavar": name.upper()}
        group.add_argument(
            f"--{prefix}_{name}",
            type=kind,
            **shown,
            default=None if required else parameter.default,
            required=required,
            help=" ".join(helps.get(name, "").split()),
        )


def parse(parser: ArgumentParser, tokens: Sequence[str]) -> Namespace:
    """Parse tokens of the form `--name=value`.

    Raises:
        UsageError: An unknown option (the nearest is offered) or a value of the wrong type.
    """
    known = {o for action in parser._actions for o in action.option_strings}
    shown = {_outward(option): option for option in known}
    translated = []
    for token in tokens:
        name, equals, value = token.partition("=")
        if name in SWITCHES and equals:
            if value not in ("true", "false"):
                raise UsageError(f"{name} must be true or false, got {value}")
            if value == "false":
                continue
            equals = value = ""
        if name not in shown:
            raise UsageError(f"unknown option {name}{nearest(name, shown)}; {spelled('solve')} --help lists them")
        translated.append(shown[name] + equals + value)
    try:
        values = parser.parse_args(translated)
    except ArgumentError as error:
        raise UsageError(_readable(parser, str(error))) from None
    except (OverflowError, RecursionError):
        raise UsageError(_too_large(parser, translated)) from None
    _check_numbers(parser, values)
    return values


def _check_numbers(parser: ArgumentParser, values: Namespace) -> None:
    """Refuse numbers that an option of every run does not take, and of a problem or an algorithm what no machine does.

    A number of the problem's may be anything that fits 64 bits, or for a seed what every generator takes; what it
    means, the problem itself knows.
    """
    for name in OPTIONS:
        check_option(name, getattr(values, name.replace("-", "_")))
    for action in parser._actions:
        value, option = getattr(values, action.dest, None), _outward(action.option_strings[0])
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if is_whole and option.startswith("--problem.") and is_seed(option.removeprefix("--problem."), int):
            SEED.check(option, value)
        check_words(option, value)


def _too_large(parser: ArgumentParser, tokens: Sequence[str]) -> str:
    """Which token holds a number or a nesting that cannot be read."""
    for token in tokens:
        try:
            parser.parse_args([token])
        except (OverflowError, RecursionError) as error:
            name, _, value = token.partition("=")
            what = "numbers of fewer digits" if isinstance(error, OverflowError) else "fewer brackets within brackets"
            return f"{_outward(name)} takes {what}, got {_cut(value)}"
        except ArgumentError:  # such as a required option that this token does not give
            continue
    return "an option holds a number of too many digits, or too many brackets within brackets"


def _cut(text: str) -> str:
    """A value in a message, shortened where it is long."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:40]}... ({len(text)} characters)"


def _outward(option: str) -> str:
    """The option as a user types it: --problem_data is shown as --problem.data."""
    for prefix in ("--problem_", "--algo_", "--cluster_"):
        if option.startswith(prefix):
            return f"{prefix[:-1]}.{option[len(prefix) :]}"
    return option


def group(values: Namespace, prefix: str) -> dict[str, Any]:
    """The parsed parameters of one group, by their own names."""
    start = f"{prefix}_"
    return {k[len(start) :]: v for k, v in vars(values).items() if k.startswith(start)}


def numbers(text: str | None, flag: str) -> tuple[float, ...] | None:
    """`0,2,1` as a tuple of floats; None stays None."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{flag} needs numbers separated by commas, such as 0,2,1, got {text!r}") from None


def as_yaml(values: Namespace, algo: str) -> str:
    """The parsed options as a config file that gives the same run."""
    general = {
        name.replace("-", "_"): getattr(values, name.replace("-", "_"))
        for name, _, default, _ in _GENERAL
        if name != "algo"
    }
    general |= {name.replace("-", "_"): getattr(values, name.replace("-", "_")) for name, _ in _SWITCHES}
    config = {
        "algo": {"name": algo, **plain(group(values, "algo"))},
        "problem": plain(group(values, "problem")),
        **{k: v for k, v in general.items() if v is not None and v is not False},
    }
    return yaml.safe_dump(config, sort_keys=False)


def help_text(parser: ArgumentParser) -> str:
    """The parser's help with options as a user types them."""
    text = parser.format_help()
    for action in parser._actions:
        for option in action.option_strings:
            text = text.replace(option, _outward(option))
    return text + _MORE_HELP


def _readable(parser: ArgumentParser, message: str) -> str:
    """A message of jsonargparse in the words of the other errors: what was expected, and what came."""
    message = re.sub(r"\b(problem|algo|cluster)_(?=\w)", r"--\1.", message) if "required" in message else message
    line = " ".join(message.split())
    told = re.search(r'[Kk]ey "([\w-]+)"(?:.*(?:Got|Given) value:? ?(.*)|: (.*))', line)
    action = next((a for a in parser._actions if told and a.dest == told[1]), None)
    if told is None or action is None:
        return _outward(line)
    value = told[2] or ""
    option = _outward(action.option_strings[0])
    hint = f"; {SAME_AS_RUN} is for seeds of the problem only" if value.strip() == SAME_AS_RUN else ""
    expected = f"{option} must be {_expected(getattr(action, '_typehint', action.type))}"
    return f"{expected}: {told[3]}" if told[3] else f"{expected}, got {_cut(value) or repr('')}{hint}"


def _expected(kind: Any) -> str:
    if get_origin(kind) is Literal:
        if len(get_args(kind)) == 1:
            return str(get_args(kind)[0])
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if get_args(kind):
        return " or ".join(_expected(part) for part in get_args(kind))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
    return names.get(kind, f"a {getattr(kind, '__name__', kind)}")

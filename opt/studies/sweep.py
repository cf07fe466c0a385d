"""Sweeps: what a command line or a study file asks for, every combination of problem, algorithm and settings.

A study file is YAML with the options of `opt.solve` as its keys. A list is expanded, all lists to
a grid. `problem` and `algo` take a name or a mapping with the parameters of that one, or a list of
these:

    problem:
      - file: problems/ecomp.py
        data: [digits, fashion-mnist]
    algo:
      - nsga2
      - {name: ga, pop_size: [50, 100]}
    n_eval: 2000
    runs: 10
"""

from __future__ import annotations

import itertools
import math
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin

from jsonargparse import Namespace
from pymoo.core.problem import Problem

from opt.algorithms import AlgorithmSpec, find_algorithm
from opt.console.errors import UsageError, nearest
from opt.console.parameters import parameters_of
from opt.files.yaml_file import read_yaml
from opt.flags.algorithm_names import algorithm_names
from opt.flags.config import as_text, flatten
from opt.flags.job_options import JobOptions
from opt.flags.parser import SolveParser, build_parser, parse
from opt.flags.search_options import OPTIONS, WHOLE_NAMES, check_option
from opt.problem.loading import load_problem_class

SCALAR_ONLY = ("weights", "scalarise", "ref")
"""Options that only algorithms of a single objective take."""
MOST_SETTINGS = OPTIONS["runs"].limits.high if OPTIONS["runs"].limits else 0
"""Combinations of one study file, of which each is a run at least."""
_LISTS = (list, tuple, set, frozenset)
Named = tuple[str, dict[str, Any]]
"""A problem's file or an algorithm's name, and the parameters of that one."""


@dataclass(frozen=True)
class SweepSetting:
    """One combination: what `opt.solve` would be given for it, without the seed.

    Args:
        problem: The problem file.
        algo: Name of the algorithm.
        tokens: Options as `--name=value`.
        varying: The options in which the combinations differ, as text.
    """

    problem: str
    algo: str
    tokens: tuple[str, ...]
    varying: tuple[tuple[str, str], ...] = ()


def parsed(settings: Sequence[SweepSetting]) -> list[Namespace]:
    """The options of every setting; a problem's and an algorithm's parser is built once.

    Raises:
        UsageError: As `parse`, and together they ask for more runs than one command may.
    """
    parsers: dict[tuple[str, str], SolveParser] = {}
    for problem, algo in dict.fromkeys((s.problem, s.algo) for s in settings):
        cls = load_problem_class(problem)
        parsers[problem, algo] = build_parser(cls, find_algorithm(algo, cls))
    options = [parse(parsers[setting.problem, setting.algo], setting.tokens) for setting in settings]
    check_option("runs", sum(values.runs for values in options))
    return options


def settings_of_command(problem: str, algos: Sequence[str], tokens: Sequence[str]) -> list[SweepSetting]:
    """One setting for each algorithm; an option of some algorithms only goes to those.

    Raises:
        UsageError: An algorithm is unknown or named twice, or none of them takes an option.
    """
    repeated = [name for name in algos if algos.count(name) > 1]
    if repeated:
        raise UsageError(f"--algo names {repeated[0]} twice; name each algorithm once")
    cls = load_problem_class(problem)
    specs = {name: find_algorithm(name, cls) for name in algos}
    rest = [token for token in tokens if not token.startswith("--algo=")]
    if len(algos) == 1:
        return [SweepSetting(problem, algos[0], tuple(rest))]
    return [
        SweepSetting(problem, name, tuple(t for t in rest if _is_for(t, spec, specs))) for name, spec in specs.items()
    ]


def settings_of_study(path: Path, overriding: Sequence[str] = ()) -> list[SweepSetting]:
    """What a study file asks for.

    Args:
        path: The YAML file.
        overriding: Options of the command line as `--name=value`; they go before the file's.

    Raises:
        UsageError: The file cannot be read, names no problem, or holds what no option is called.
    """
    entries = _read(path)
    problems, algos = _problems_and_algos(entries, path)
    shared = dict(flatten(entries))
    classes = {name: load_problem_class(name) for name, _ in problems}
    specs = {problem: {algo: find_algorithm(algo, cls) for algo, _ in algos} for problem, cls in classes.items()}
    _check_names(shared, classes, [spec for of_problem in specs.values() for spec in of_problem.values()], path)
    settings: list[SweepSetting] = []
    for (problem, problem_parameters), (algo, algo_parameters) in itertools.product(problems, algos):
        cls, spec = classes[problem], specs[problem][algo]
        axes = {name: value for name, value in shared.items() if _takes(name, cls, spec)}
        axes |= {f"problem.{name}": value for name, value in problem_parameters.items()}
        axes |= {f"algo.{name}": value for name, value in algo_parameters.items()}
        more = [t for t in overriding if _is_for(t, spec, specs[problem]) and _is_of(t, cls, classes)]
        settings += _grid(problem, algo, axes, more, cls, spec)
    return _told_apart(settings)


def _problems_and_algos(entries: dict[str, Any], path: Path) -> tuple[list[Named], list[Named]]:
    """The problems and the algorithms of a study file, taken out of its entries."""
    problems = [_named(entry, "file", path) for entry in _as_list(entries.pop("problem", None), _file_names)]
    if not problems:
        raise UsageError(f"study file {path} names no problem; give it a line such as problem: problems/ecomp.py")
    algos = [_named(entry, "name", path) for entry in _as_list(entries.pop("algo", "nsga2"), algorithm_names)]
    if not algos:
        raise UsageError(f"study file {path} names no algorithm; give it a line such as algo: [nsga2, ga]")
    return problems, algos


def _told_apart(settings: Sequence[SweepSetting]) -> list[SweepSetting]:
    """The settings with `varying`: the options in which those of the same problem and algorithm differ."""
    options = [dict(token.removeprefix("--").split("=", 1) for token in s.tokens if "=" in token) for s in settings]
    sizes = Counter((s.problem, s.algo) for s in settings)
    shared = Counter(
        (s.problem, s.algo, *pair) for s, own in zip(settings, options, strict=True) for pair in own.items()
    )
    told_apart = []
    for s, own in zip(settings, options, strict=True):
        differing = [
            (name, value)
            for name, value in own.items()
            if name not in ("seed", "runs") and shared[s.problem, s.algo, name, value] < sizes[s.problem, s.algo]
        ]
        told_apart.append(replace(s, varying=tuple(differing)))
    return told_apart


def _grid(
    problem: str, algo: str, axes: Mapping[str, Any], more: list[str], cls: type[Problem], spec: AlgorithmSpec
) -> list[SweepSetting]:
    """Every combination of the lists among `axes`, each with `more` options."""
    overridden = {token.partition("=")[0].removeprefix("--") for token in more}
    axes = {name: value for name, value in axes.items() if name not in overridden}
    choices = {name: _choices(name, value, cls, spec) for name, value in axes.items()}
    n = math.prod(map(len, choices.values()))
    if n > MOST_SETTINGS:
        lists = ", ".join(f"{name} {len(values)}" for name, values in choices.items() if len(values) > 1)
        raise UsageError(f"the lists of the study file make {n} combinations ({lists}); give shorter ones")
    return [
        SweepSetting(
            problem=problem,
            algo=algo,
            tokens=(
                *(f"--{name}={as_text(name, value)}" for name, value in zip(choices, combination, strict=True)),
                *more,
            ),
        )
        for combination in itertools.product(*choices.values())
    ]


def _choices(name: str, value: Any, cls: type[Problem], spec: AlgorithmSpec) -> list[Any]:
    """The values that an entry stands for: a list's own, unless the option itself takes a list."""
    if not isinstance(value, list) or name in WHOLE_NAMES or name.startswith("cluster."):
        return [value]
    if _is_list_valued(name, cls, spec) and not any(isinstance(item, list) for item in value):
        return [value]
    if not value:
        raise UsageError(f"{name} is an empty list in the study file; give it at least one value")
    return value


def _is_list_valued(name: str, cls: type[Problem], spec: AlgorithmSpec) -> bool:
    if name in ("weights", "ref"):
        return True
    group, _, own = name.partition(".")
    parameters = {"problem": parameters_of(cls), "algo": spec.parameters}.get(group, {})
    parameter = parameters.get(own)
    return parameter is not None and _holds_list(parameter.kind)


def _holds_list(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    if origin in _LISTS or origin in (Sequence, typing.Any):
        return origin is not typing.Any
    return any(_holds_list(part) for part in get_args(kind) if get_origin(kind) is not typing.Literal)


def _is_for(token: str, spec: AlgorithmSpec, specs: Mapping[str, AlgorithmSpec]) -> bool:
    """Whether a token is for this algorithm of several; refuses one that is for none."""
    name = token.partition("=")[0].removeprefix("--")
    if name in SCALAR_ONLY and any(s.objectives == "one" for s in specs.values()):
        return spec.objectives == "one"
    if not name.startswith("algo."):
        return True
    own = name.removeprefix("algo.")
    names = {p for s in specs.values() for p in s.parameters}
    if own not in names:
        raise UsageError(f"none of {', '.join(specs)} has a parameter --{name}{nearest(own, names)}")
    return own in spec.parameters


def _is_of(token: str, cls: type[Problem], classes: Mapping[str, type[Problem]]) -> bool:
    """Whether a token is for this problem of several; one that is for none is left for the parser to refuse."""
    name = token.partition("=")[0].removeprefix("--")
    own = name.removeprefix("problem.")
    return (
        own == name or own in parameters_of(cls) or not any(own in parameters_of(other) for other in classes.values())
    )


def _takes(name: str, cls: type[Problem], spec: AlgorithmSpec) -> bool:
    group, _, own = name.partition(".")
    if name in SCALAR_ONLY:
        return spec.objectives == "one"
    return {"algo": own in spec.parameters, "problem": own in parameters_of(cls)}.get(group, True)


def _check_names(
    shared: Mapping[str, Any], classes: Mapping[str, type[Problem]], specs: Sequence[AlgorithmSpec], path: Path
) -> None:
    """Refuse what is no option, and a parameter that no problem, or no algorithm, of the study has."""
    names = {*OPTIONS, *(f"cluster.{name}" for name in parameters_of(JobOptions))}
    names |= {f"problem.{p}" for cls in classes.values() for p in parameters_of(cls)}
    names |= {f"algo.{p}" for spec in specs for p in spec.parameters}
    for name in shared:
        if name not in names:
            hint = nearest(name, sorted(names | {"problem", "algo"}))
            raise UsageError(f"study file {path}: no option, problem or algorithm of it has {name!r}{hint}")


def _read(path: Path) -> dict[str, Any]:
    loaded = read_yaml(path, "study file")
    if not isinstance(loaded, dict):
        raise UsageError(f"study file {path} must hold names and values, got {type(loaded).__name__}")
    return {str(key): value for key, value in loaded.items()}


def _named(entry: Any, key: str, path: Path) -> Named:
    """An entry of `problem` or `algo`."""
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and isinstance(entry.get(key), str):
        return entry[key], {str(k): v for k, v in entry.items() if k != key}
    what = "problem" if key == "file" else "algo"
    form = f"a {key}, or a mapping with {key} and parameters"
    raise UsageError(f"study file {path}: {what} must be {form}, got {entry!r}")


def _as_list(value: Any, split: Callable[[str], list[str]]) -> list[Any]:
    if isinstance(value, str):
        return split(value)
    return [] if value is None else value if isinstance(value, list) else [value]


def _file_names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]

"""Command lines drawn from the parsers of our commands: ordinary ones, and ones that no careful user would type."""

from __future__ import annotations

import argparse
import functools
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from odd_values import SLOW, SPECIAL, TEXTS, values_of

from opt.algorithms import algorithms
from opt.flags.command_line import FILES, FLAGS
from opt.flags.parser import build_parser
from opt.problem.loading import load_problem_class

ROOT = Path(__file__).parents[2]
SOLVE = "opt.solve"
COMMANDS = (
    "opt.plot",
    "opt.show",
    "opt.compare",
    "problems.figures.threshold",
    "problems.figures.masks",
    "problems.figures.mask_training",
    "problems.figures.cgp",
    "problems.networks.layers.sparse",
    "problems.lowrank.retraining.prune_retrain",
)
SAMPLES = ("Bowl", "Slope", "Steps", "Switches", "Tour", "Words", "Fenced", "Drifting", "Parts")

# What makes a problem small; an option that is drawn goes before it.
SMALLER: dict[str, dict[str, Any]] = {
    "ecomp": {
        "network": "mlp-8-8",
        "epochs": 1,
        "n_search": 60,
        "similarity_points": 20,
        "perplexity": 5,
        "n_refit": 60,
    },
    "threshold": {"epochs": 1, "n_search": 60, "n_calibration": 60},
    "masks": {"width": 0.05, "final_epochs": 1, "n_images": 60, "slope_images": 20, "references": "random,magsign"},
    "cgp": {"epochs": 1, "rows": 4, "cols": 4},
    "cgp_layers": {"epochs": 1, "generations": 20, "rows": 4, "cols": 4, "thresholds": "0,9", "n_search": 60},
    "alds": {"n_search": 60, "rivals": "false", "n_calibration": 20},
}
PROBLEMS = {name: str(ROOT / "problems" / f"{name}.py") for name in SMALLER}


@dataclass(frozen=True)
class Option:
    """One option of a command as its parser knows it.

    Args:
        name: As a user types it.
        values: What may be drawn for it; empty for a switch.
        ordinary: Of them, those that the parser takes for sure.
    """

    name: str
    values: tuple[str, ...]
    ordinary: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One command line.

    Args:
        command: The module that is called.
        arguments: What stands behind it.
        files: Files that it reads, by name: their content.
    """

    command: str
    arguments: tuple[str, ...]
    files: Mapping[str, str]

    def shown(self) -> str:
        """As one would type it, files behind it."""
        files = "".join(f"  # {name}: {text!r}" for name, text in self.files.items())
        return f"python -m {self.command} " + " ".join(map(ascii, self.arguments)) + files


def draw(seed: int, number: int, places: Mapping[str, Sequence[str]]) -> Line:
    """The command line of that number; the same for the same arguments.

    Args:
        seed: Of all lines.
        number: Which of them.
        places: Paths of what exists: `run`, `study`, `solution` and so on.
    """
    rng = np.random.default_rng([seed, number])
    if rng.random() < 0.3:
        return _small(rng, places)
    return _solve(rng, number, places)


def _small(rng: np.random.Generator, places: Mapping[str, Sequence[str]]) -> Line:
    command = str(rng.choice(COMMANDS))
    options, positional = _options_of_command(command)
    arguments: list[str] = []
    for option in _some(rng, options, 3):
        arguments += _written(rng, option)
    for option in options:
        # what is needed is there most of the time
        if option.name == "--out" and not any(a.startswith("--out") for a in arguments) and rng.random() < 0.9:
            arguments += ["--out", "made.safetensors" if command.endswith("sparse") else "made"]
            arguments[-1] += ".png" if command == "opt.plot" else ""
    if positional:
        known = [path for kind in places.values() for path in kind]
        fitting = places.get(command.rpartition(".")[2], known)
        for _ in range(int(rng.integers(0, 4))):
            pool = fitting if rng.random() < 0.7 else known if rng.random() < 0.5 else TEXTS
            arguments.insert(int(rng.integers(0, len(arguments) + 1)), str(rng.choice(np.array(pool, dtype=object))))
    if command.endswith("mask_training"):
        arguments = ["--epochs=1", *arguments]
    if command.endswith("prune_retrain"):
        arguments = ["--n-train=40", "--n-ratios=1", "--start-epoch=4.99", "--first=0.5", "--last=0.5", *arguments]
    return Line(command, tuple(_mutated(rng, arguments)), {})


def _solve(rng: np.random.Generator, number: int, places: Mapping[str, Sequence[str]]) -> Line:
    kind = rng.random()
    if kind < 0.08:
        arguments = ["--resume", str(rng.choice([*places["run"], *places["study"], *TEXTS[:12]]))]
        for option in _some(rng, _general_options(), 1):
            arguments += _written(rng, option)
        return Line(SOLVE, tuple(_mutated(rng, arguments)), {})
    kinds = rng.random()
    if kinds < 0.45:
        name = list(PROBLEMS)[number % len(PROBLEMS)]  # each in its turn
        target = PROBLEMS[name]
    elif kinds < 0.65:
        name, target = "typed", f"{Path(__file__).with_name('typed_problem.py')}:Typed"
    else:
        name = str(rng.choice(SAMPLES))
        target = f"{ROOT}/tests/sample_problems.py:{name}"
    names = list(algorithms(load_problem_class(target)))
    # most often one that fits, else whichever
    algo = str(rng.choice(_fitting(target))) if rng.random() < 0.85 else str(rng.choice(names))
    options = _solve_options(target, algo)
    drawn = _some(rng, options, 3)
    small = {f"--problem.{k}": str(v) for k, v in SMALLER.get(name, {}).items()}
    small |= {"--algo": algo, "--n-eval": "3", "--time": "1s"}
    taken = {option.name for option in options}
    small |= {f"--algo.{k}": "4" for k in ("pop_size", "n_offsprings", "mu", "n_chains") if f"--algo.{k}" in taken}
    small |= {f"--algo.{k}": v for k, v in (("chunk", "20"), ("generations", "20")) if f"--algo.{k}" in taken}
    basis = [f"{k}={v}" for k, v in small.items()]
    if kind < 0.2:
        return _with_file(rng, target, basis, drawn, is_study=kind < 0.14)
    arguments = [argument for option in drawn for argument in _written(rng, option)]
    arguments = [target, *basis, *_mutated(rng, arguments)] if rng.random() < 0.9 else [*basis, *arguments, target]
    if rng.random() < 0.2:
        arguments.append(str(rng.choice([f for f in FLAGS if f not in ("--help", "-h", "--list")])))
    if rng.random() < 0.03:
        arguments.append(str(rng.choice(["--help", "-h", "--list"])))
    return Line(SOLVE, tuple(arguments), {})


def _with_file(
    rng: np.random.Generator, target: str, basis: Sequence[str], drawn: Sequence[Option], *, is_study: bool
) -> Line:
    """The same options in a config file or a study file, some of them nested more deeply than they should be."""
    tree: dict[str, Any] = {}
    pairs = [argument.removeprefix("--").split("=", 1) for argument in basis]
    for option in drawn:
        if option.values:
            name = option.name.removeprefix("--")
            pairs = [pair for pair in pairs if pair[0] != name]
            pairs.append([name, str(rng.choice(np.array(option.values, dtype=object)))])
    for name, text in pairs:
        value = _as_yaml_value(rng, text)
        group, _, own = name.partition(".")
        if own and isinstance(tree.setdefault(group, {}), dict):
            tree[group][own] = value
        elif own:
            tree[group] = {"name": tree[group], own: value}
        else:
            tree[name] = {"name": value, **tree[name]} if isinstance(tree.get(name), dict) else value
    if is_study:
        problem = tree.get("problem", {})
        tree["problem"] = {"file": target, **(problem if isinstance(problem, dict) else {})}
    name = "study.yaml" if is_study else "config.yaml"
    text = yaml.safe_dump(tree, sort_keys=False)
    if rng.random() < 0.1:
        text = text[: int(rng.integers(0, len(text)))]
    arguments = [f"--study={name}"] if is_study else [target, f"--config={name}"]
    return Line(SOLVE, tuple(arguments), {name: text})


def _as_yaml_value(rng: np.random.Generator, text: str) -> Any:
    """A text as it is, as what YAML reads in it, or wrapped into lists and mappings."""
    value: Any = text.encode("utf-8", "replace").decode()
    if rng.random() < 0.6:
        try:
            value = yaml.safe_load(value)
            json.dumps(value)
        except (yaml.YAMLError, ValueError, TypeError):
            pass
    wrap = rng.random()
    if wrap < 0.06:
        return [value, value]
    if wrap < 0.1:
        return {"a": {"b": value}}
    if wrap < 0.12:
        return [[value], [[value]]]
    if wrap < 0.14:
        return {1: value, None: value}
    return value


def _mutated(rng: np.random.Generator, arguments: Sequence[str]) -> list[str]:
    """The arguments, now and then with one misspelt, doubled, swapped, lost, or without its value."""
    result = list(arguments)
    if not result or rng.random() > 0.25:
        return result
    k = int(rng.integers(0, len(result)))
    way = int(rng.integers(0, 7))
    if way == 0:
        result.insert(k, result[k])
    elif way == 1:
        del result[k]
    elif way == 2:
        rng.shuffle(result)
    elif way == 3:
        result[k] = result[k][:-1] + "x"
    elif way == 4:
        result[k] = result[k].partition("=")[0]
    elif way == 5:
        result.insert(k, str(rng.choice(["-", "--", "-x", "---", "--=", "=", "--=1", "--problem", "--algo.", "-1"])))
    else:
        result[k] = result[k].replace("--", "-", 1) if result[k].startswith("--") else "--" + result[k]
    return result


def _some(rng: np.random.Generator, options: Sequence[Option], most: int) -> list[Option]:
    n = int(rng.integers(0, most + 1))
    return [options[int(k)] for k in rng.choice(len(options), size=min(n, len(options)), replace=False)]


def _written(rng: np.random.Generator, option: Option) -> list[str]:
    if not option.values:
        return [option.name] if rng.random() < 0.9 else [f"{option.name}=maybe"]
    pool = option.ordinary if option.ordinary and rng.random() < 0.25 else option.values
    value = str(rng.choice(np.array(pool, dtype=object)))
    return [f"{option.name}={value}"] if rng.random() < 0.6 else [option.name, value]


@functools.cache
def _fitting(target: str) -> list[str]:
    """Algorithms that fit by the number of objectives: what else they need shows when they are tried."""
    cls = load_problem_class(target)
    n_obj = len(getattr(cls, "objectives", ())) or 2
    return [name for name, spec in algorithms(cls).items() if n_obj > 1 or spec.objectives != "several"]


@functools.cache
def _general_options() -> list[Option]:
    return [_option(action) for action in build_parser(None, None)._actions if action.option_strings]


@functools.cache
def _solve_options(target: str, algo: str) -> list[Option]:
    cls = load_problem_class(target)
    options = [_option(a) for a in build_parser(cls, algorithms(cls)[algo])._actions if a.option_strings]
    # what a batch system's jobs are given matters in a few lines only
    jobs = [o for o in options if o.name.startswith("--cluster.")]
    others = [o for o in options if not o.name.startswith("--cluster.")]
    own = [o for o in others if o.name.startswith(("--problem.", "--algo."))]
    files = [Option(name, tuple(SPECIAL.get(name, TEXTS))) for name in FILES]
    return others + own + jobs[:3] + files


@functools.cache
def _options_of_command(command: str) -> tuple[list[Option], bool]:
    """(its options, whether it takes paths) of a small command."""
    actions = [a for a in _parser_of(command)._actions if not isinstance(a, argparse._HelpAction)]
    named = [_option(action) for action in actions if action.option_strings]
    return [o for o in named if o.name != "--data-dir"], any(not a.option_strings for a in actions)


class _ParserSeenError(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def _parser_of(command: str) -> argparse.ArgumentParser:
    """The parser that a command builds: its main is stopped where it reads its options."""
    main: Callable[[Sequence[str]], Any] = importlib.import_module(command).main
    before = argparse.ArgumentParser.parse_known_args

    def read(self: argparse.ArgumentParser, *arguments: Any, **more: Any) -> Any:
        raise _ParserSeenError(self)

    argparse.ArgumentParser.parse_known_args = read  # type: ignore[method-assign,assignment]
    try:
        main([])
    except _ParserSeenError as seen:
        return seen.parser
    finally:
        argparse.ArgumentParser.parse_known_args = before  # type: ignore[method-assign]
    raise AssertionError(f"{command} reads its options without argparse")


def _option(action: argparse.Action) -> Option:
    text = action.option_strings[0]
    for prefix in ("--problem_", "--algo_", "--cluster_"):
        if text.startswith(prefix):
            text = f"{prefix[:-1]}.{text[len(prefix) :]}"
    if action.nargs == 0:
        return Option(text, ())
    kind = getattr(action, "_typehint", None) or action.type
    ordinary = () if action.default in (None, argparse.SUPPRESS) else (str(action.default),)
    if text in SPECIAL:
        return Option(text, tuple(SPECIAL[text]), ordinary)
    if action.choices:
        choices = [str(choice) for choice in action.choices if choice not in SLOW]
        return Option(text, (*choices, "", "xx", choices[0].upper()), ordinary)
    return Option(text, tuple(dict.fromkeys(values_of(kind))), ordinary)

"""The runs that `kill_runs` kills: every algorithm on sample problems, every task in small settings."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "conformance")]

import sample_problems  # noqa: E402
import test_algorithms  # noqa: E402
import test_problems  # noqa: E402
from pymoo.core.problem import Problem  # noqa: E402

from opt.algorithms import AlgorithmSpec, algorithms  # noqa: E402
from opt.flags.config import as_text  # noqa: E402
from opt.problem.adapt import as_compression_problem  # noqa: E402
from opt.problem.loading import load_problem_class  # noqa: E402

N_EVAL = 60


@dataclass(frozen=True)
class Case:
    """One run as the command takes it.

    Args:
        name: Problem and algorithm.
        arguments: The command line without --out.
    """

    name: str
    arguments: tuple[str, ...]


def sample_cases() -> list[Case]:
    """Every algorithm on every sample problem that it fits."""
    cases = []
    for name, cls in vars(sample_problems).items():
        if not (isinstance(cls, type) and issubclass(cls, Problem) and cls.__module__ == "sample_problems"):
            continue
        if name in ("Broken", "Acting"):  # fails for every candidate, or needs a function: no run to go on with
            continue
        problem = as_compression_problem(cls())
        target = f"{ROOT}/tests/sample_problems.py:{name}"
        cases += [
            _case(f"{name.lower()} {spec.name}", target, spec, {})
            for spec in algorithms().values()
            if spec.misfit(problem) is None
        ]
    return cases


def task_cases(rng: random.Random) -> list[Case]:
    """Every task, small, in one of its settings, with each of its own algorithms and two others."""
    cases = []
    for file in test_problems.PROBLEM_FILES:
        cls = load_problem_class(str(file))
        settings = {file.stem: {}} | {
            n: more for n, (stem, more) in test_problems.VARIANTS.items() if stem == file.stem
        }
        name = rng.choice(sorted(settings))
        parameters = test_problems.SMALLER.get(file.stem, {}) | settings[name]
        own = [algo for algo in algorithms(cls) if algo not in algorithms()]
        # whether one fits is known only once the task is built; the first of these fits all of them
        for algo in (*own, rng.choice(["random", "sa"]), rng.choice(sorted(algorithms()))):
            cases.append(_case(f"{name} {algo}", str(file), algorithms(cls)[algo], parameters))
    return list({case.name: case for case in cases}.values())


def _case(name: str, target: str, spec: AlgorithmSpec, parameters: dict[str, object]) -> Case:
    small = {k: v for k, v in test_algorithms.SMALL.items() if k in spec.parameters}
    options = [f"--algo={spec.name}", f"--n-eval={N_EVAL}", "--seed=3", "--quiet", "--keep=20"]
    options += [f"--algo.{k}={v}" for k, v in small.items()]
    options += [f"--problem.{k}={as_text(k, v)}" for k, v in parameters.items()]
    return Case(name, (target, *options))


def in_turn(seed: int, only: str) -> Iterator[Case]:
    """Cases without end: in each round every algorithm on one sample problem that it fits, and every task.

    Raises:
        SystemExit: No case has `only` in its name.
    """
    rng = random.Random(seed)
    samples = sample_cases()
    for n_round in itertools.count(1):
        rng.shuffle(samples)
        by_algorithm = {case.name.split()[1]: case for case in samples if only in case.name}
        cases = [*by_algorithm.values(), *(case for case in task_cases(rng) if only in case.name)]
        if not cases and n_round == 100:
            sys.exit(f"no case has {only!r} in its name; names are such as {samples[0].name!r}")
        rng.shuffle(cases)
        yield from cases


def not_among(names: set[str]) -> list[str]:
    """Algorithms and tasks that none of the cases of these names is about."""
    algos = {name.split()[1] for name in names}
    problems = {name.split()[0].partition("-")[0] for name in names}
    tasks = [file.stem for file in test_problems.PROBLEM_FILES]
    return [name for name in sorted(algorithms()) if name not in algos] + [n for n in tasks if n not in problems]

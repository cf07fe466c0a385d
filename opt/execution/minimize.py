"""`opt.minimize`: a search from Python, after pymoo's function of the same name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.problem import Problem

from opt.algorithms import AlgorithmSpec, find_algorithm
from opt.algorithms.pymoo_object import budget_of, is_budget, name_of_algorithm, spec_of
from opt.console.errors import UsageError, nearest
from opt.console.option_groups import flat_options, option_group
from opt.console.parameters import checked
from opt.console.ranges import Seed
from opt.execution.mending import mend
from opt.execution.named_code import Code
from opt.execution.request import SearchRequest
from opt.execution.runner import run_search
from opt.execution.saved_run import Run, load_run
from opt.execution.saved_start import start_from
from opt.execution.trust import check_code, recorded_by
from opt.flags.search_options import SearchOptions
from opt.problem import CompressionProblem
from opt.problem.adapt import PlainProblem, as_compression_problem
from opt.problem.hooks import problem_name
from opt.problem.loading import name_of
from opt.search.budget import Budget, parse_seconds

_REFUSED = {
    "algorithm": "it is the second argument, algo",
    "save_history": "every value of every generation is in the run's journal: run.journal(), run.history",
    "copy_termination": "a termination is read and never changed; leave it out",
    "display": "verbose=True shows the progress",
    "output": "verbose=True shows the progress",
    "progress": "verbose=True shows the progress",
    "evaluator": "the engine evaluates; override the problem's evaluate",
    "return_least_infeasible": "the front holds feasible solutions; infeasible ones are in run.journal()",
    "archive": "the run's front is the archive of everything evaluated",
    "crossover": "operators belong to the problem's operators(), or to a pymoo algorithm given as algo",
    "mutation": "operators belong to the problem's operators(), or to a pymoo algorithm given as algo",
    "selection": "operators belong to a pymoo algorithm given as algo",
    "survival": "it belongs to a pymoo algorithm given as algo",
    "repair": "operators belong to the problem's operators(), or to a pymoo algorithm given as algo",
    "ref_dirs": "nsga3 and moead lay out pop_size directions; others belong to a pymoo algorithm given as algo",
    "eliminate_duplicates": "equal candidates, by the problem's fingerprint, are evaluated once",
}
"""Habits from pymoo that are not taken, each with what to do instead."""


@option_group
class ResumeOptions:
    """Going on with a run from Python.

    Args:
        resume: An unfinished run of the same problem and request to go on with; the rest of the arguments then come
            from that run. An algorithm object, and objects given as `sampling`, are given again.
        force: Go on with it though the problem's code, data, parameters or versions have changed.
        trust: Resume although an algorithm's parameter in the run's manifest names a function, such as annealing's
            `schedule`, that is not under the present folder or not on record as what it was.
    """

    resume: Run | str | Path | None = None
    force: bool = False
    trust: bool = False


@checked
@flat_options
def minimize(
    problem: Problem,
    algo: str | Algorithm = "nsga2",
    termination: Any = None,
    *,
    seed: Seed | None = None,
    options: SearchOptions,
    sampling: Any = None,
    callback: Callable[[Any], Any] | None = None,
    earlier: ResumeOptions,
    copy_algorithm: bool = True,
    verbose: bool = False,
    **parameters: Any,
) -> Run:
    """Search `problem` with an algorithm; after pymoo's function of the same name.

    Args:
        problem: A CompressionProblem or any pymoo Problem.
        algo: A name from `python -m opt.solve --list`, or a pymoo Algorithm object, which is copied.
        termination: As in pymoo: `("n_gen", 40)`, `("n_eval", 1000)`, `("time", "00:10:00")`, or such an object.
        seed: Everything random descends from it; 1 when not given.
        options: Each by its own name, such as `n_eval=1000`, or all of them as one `SearchOptions`.
        sampling: Warm start: candidates to begin with, as an array (n, n_var), a pymoo Population, or the front of
            a saved run (the run or its path). As many as the first generation holds, the best or best spread
            first; the problem's own sampling gives the rest.
        callback: pymoo's: called with the algorithm after each generation, the replayed ones of a resumed run too.
        earlier: Each by its own name, or as one `ResumeOptions`.
        copy_algorithm: As in pymoo; only True, since a run must not depend on what an object did before.
        verbose: Show progress.
        **parameters: The algorithm's own parameters, such as `pop_size=40`; each name is checked. A function,
            such as annealing's `schedule`, must stand at the top of a module, by whose name the run knows it.

    Returns:
        The saved run, with `.front` as a DataFrame and `.plot()`.

    Raises:
        UsageError: As `run_search`.
    """
    task = as_compression_problem(problem)
    _check_habits(task, algo, parameters, callback, copy_algorithm=copy_algorithm)
    is_scalarised = options.weights is not None or options.ref is not None or options.scalarise != "sum"
    spec = _spec(algo, parameters, is_scalarised=is_scalarised)
    common: dict[str, Any] = {
        "origin": _origin(problem, task),
        "out": Path(options.out),
        "silent": not verbose,
        "start": None if sampling is None else start_from(sampling, task, trust=earlier.trust),
        "callback": callback,
    }
    if earlier.resume is not None:
        return _gone_on(earlier, task, spec, **common)
    request = _request(algo, parameters, seed, termination, options)
    return Run.of(run_search(task, request, spec=spec, **common))


def _check_habits(
    task: CompressionProblem, algo: Any, parameters: Mapping[str, Any], callback: Any, *, copy_algorithm: bool
) -> None:
    """Refuse what pymoo's `minimize` takes and this one does not."""
    own = find_algorithm(algo, task).parameters if isinstance(algo, str) else {}
    for name in parameters:
        if name in _REFUSED and name not in own:
            raise UsageError(f"opt.minimize takes no {name}: {_REFUSED[name]}")
    if not copy_algorithm:
        raise UsageError("copy_algorithm=False is not taken: a run must not depend on what the object did before")
    if callback is not None and not callable(callback):
        raise UsageError(f"callback must be callable, as pymoo's Callback is, got {type(callback).__name__}")


def _request(
    algo: str | Algorithm, parameters: Mapping[str, Any], seed: int | None, termination: Any, options: SearchOptions
) -> SearchRequest:
    """What is asked, as plain data: NumPy's numbers are Python's, functions go by their names."""
    return SearchRequest(
        algo=algo if isinstance(algo, str) else name_of_algorithm(algo),
        parameters={k: name_of(v, k) if callable(v) else _plain(v) for k, v in parameters.items()},
        seed=int(_seed(seed, algo)),
        budget=Budget.of(**_limits(options, termination, algo)),
        scalarise=options.scalarise,
        weights=_numbers("weights", options.weights),
        ref=_numbers("ref", options.ref),
        threads=int(options.threads),
        keep=int(options.keep),
        cache_size=int(options.cache_size),
        fail_fast=bool(options.fail_fast),
        eval_seconds=_seconds("eval_time", options.eval_time),
        no_verify=bool(options.no_verify),
    )


def _gone_on(earlier: ResumeOptions, task: CompressionProblem, spec: AlgorithmSpec | None, **more: Any) -> Run:
    """A run that is resumed, or where it is finished, mended."""
    assert earlier.resume is not None
    path = earlier.resume.path if isinstance(earlier.resume, Run) else earlier.resume
    how: dict[str, Any] = {"trust": earlier.trust, "is_forced": earlier.force}
    run = load_run(path)
    asked = SearchRequest.from_manifest(run.manifest)
    codes = [Code(parameters=(asked.parameters,))]
    check_code(run.path, codes, recorded_by(run, ""), **how)

    def go_on() -> Run:
        return Run.of(run_search(task, asked, resume=run, spec=_resumed(run, spec, task), **how, **more))

    if run.status != "finished":
        return go_on()
    mend(run, go_on)
    return load_run(path)


def _limits(options: SearchOptions, termination: Any, algo: str | Algorithm) -> dict[str, Any]:
    """What `Budget.of` takes, from the options, a termination, or an algorithm object's own."""
    limits = {name: getattr(options, name) for name in ("n_gen", "n_eval", "patience")}
    given: dict[str, Any] = {name: int(value) for name, value in limits.items() if value is not None}
    if (seconds := _seconds("time", options.time)) is not None:
        given["time"] = seconds
    told = budget_of(termination)
    if twice := sorted(set(told) & set(given)):
        raise UsageError(f"termination and {twice[0]} say the same; give one of them")
    own_termination = None if isinstance(algo, str) else algo.termination
    if not given and not told and is_budget(own_termination):
        told = budget_of(own_termination)
    return given | told | {"tolerance": float(options.tolerance)}


def _spec(algo: Any, parameters: dict[str, Any], *, is_scalarised: bool) -> AlgorithmSpec | None:
    """The entry of a pymoo object; None for a name."""
    if isinstance(algo, str):
        return None
    if not isinstance(algo, (Algorithm, type)):
        raise UsageError(f"algo must be a name or a pymoo Algorithm object, got {type(algo).__name__}")
    spec = spec_of(algo, is_scalarised=is_scalarised)
    if parameters:
        name = next(iter(parameters))
        if hint := nearest(name, inspect.signature(minimize).parameters):
            raise UsageError(f"opt.minimize has no {name!r}{hint}")
        raise UsageError(f"{name} belongs into the object: {spec.name}({name}=...); with one, no parameters are taken")
    return spec


def _resumed(run: Run, spec: AlgorithmSpec | None, task: CompressionProblem) -> AlgorithmSpec | None:
    """The algorithm of a run that goes on: the object given again, or None for a name of the registry.

    Raises:
        UsageError: The run was made with an object, and none of its class is given.
    """
    name = run.manifest["request"]["algo"]
    if not run.manifest["algo"].get("object"):
        find_algorithm(name, task)
        return None
    if spec is None or spec.name != name:
        raise UsageError(f"{run.path} was begun with a pymoo object; give the same again, algo={name}(...)")
    return replace(spec, objectives=run.manifest["algo"]["object"])


def _seconds(name: str, value: Any) -> float | None:
    """Seconds from a number or from text such as 10m; None stays None."""
    if value is None:
        return None
    return parse_seconds(value, name) if isinstance(value, str) else _number(name, value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    raise UsageError(f"{name} must be a number, got {value!r:.60}")


def _numbers(name: str, values: Any) -> tuple[float, ...] | None:
    if values is None:
        return None
    if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)):
        raise UsageError(f"{name} must be a sequence of numbers, one an objective, got {values!r:.60}")
    return tuple(_number(name, value) for value in values)


def _plain(value: Any) -> Any:
    """A parameter as a manifest can hold it: NumPy's numbers become Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _seed(seed: int | None, algo: str | Algorithm) -> int:
    """The seed that is given, or the one that a pymoo object brings, or 1."""
    if seed is None and not isinstance(algo, str):
        seed = algo.seed
    return 1 if seed is None else seed


def _origin(problem: Problem, task: CompressionProblem) -> dict[str, Any]:
    """Where a problem made in Python comes from; its parameters are not known."""
    inner = problem if not isinstance(task, PlainProblem) else task.inner
    try:
        file = inspect.getsourcefile(type(inner))
    except TypeError:
        file = None
    return {"name": problem_name(task), "file": file, "class": type(inner).__qualname__, "parameters": None}

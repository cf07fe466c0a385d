"""Starts from what is saved: candidates of another run's front, and a run's own start when it goes on."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymoo.core.individual import Individual
from pymoo.core.population import Population

from opt import atomic
from opt.algorithms import find_algorithm
from opt.budget import Budget
from opt.engine import Search
from opt.errors import UsageError
from opt.hooks import fingerprint_of
from opt.problem import CompressionProblem
from opt.run import Run, load_run
from opt.scalarise import Scalariser
from opt.search_state import State
from opt.trust import Code, check_code, recorded_by
from opt.warm_start import Start

FOLDER = "start"
"""Inside a run: the candidates that it began with."""
_RECORDS = ("manifest.json", "journal.jsonl")
_PLAIN = ("real", "integer", "binary", "permutation")


def start_from(given: Any, problem: CompressionProblem) -> Start:
    """A start from what a user gives.

    Args:
        given: (n, n_var) candidates, or (n_var,) one; a pymoo Population or Individual; a saved run, or its path.
        problem: What they are candidates of.

    Raises:
        UsageError: It is none of these, the candidates do not fit the problem, or the run does not replay.
    """
    if isinstance(given, (str, Path)):
        given = load_run(given)
    if isinstance(given, Run):
        return _from_run(given, problem)
    if isinstance(given, Individual):
        given = Population.create(given)
    X = given.get("X") if isinstance(given, Population) else given
    if not isinstance(X, (np.ndarray, Sequence)) or isinstance(X, str):
        hint = "operators belong to the problem, or to a pymoo algorithm"
        raise UsageError(f"sampling takes an array, a population or a saved run, got {type(given).__name__}; {hint}")
    return Start(_fitting(X, problem))


def _fitting(X: Any, problem: CompressionProblem) -> np.ndarray:
    """Candidates, each once, in the type that the problem's own have.

    Raises:
        UsageError: They have another shape or type, or lie outside the bounds.
    """
    try:
        is_object = problem.representation not in _PLAIN
        rows = np.asarray(X, dtype=object if is_object else None)
        rows = rows.reshape(-1, 1) if is_object else np.atleast_2d(rows)
    except (TypeError, ValueError) as error:
        raise UsageError(f"sampling must be an array of candidates: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != problem.n_var or not len(rows):
        raise UsageError(f"sampling must have shape (n, {problem.n_var}) with n >= 1, got {rows.shape}")
    if not is_object:
        rows = _typed(rows, problem)
    fingerprint = fingerprint_of(problem)
    first = {fingerprint(x): i for i, x in reversed(list(enumerate(rows)))}
    return rows[sorted(first.values())]


def _typed(rows: np.ndarray, problem: CompressionProblem) -> np.ndarray:
    kind: Any = {"real": np.float64, "binary": np.bool_}.get(problem.representation, np.int64)
    try:
        typed = rows.astype(kind)
        is_same = bool((typed == rows).all())
    except (TypeError, ValueError, OverflowError):
        is_same = False
    if not is_same:
        raise UsageError(f"sampling must hold {problem.representation} values, got dtype {rows.dtype} with others")
    if problem.representation == "permutation":
        outside = (np.sort(typed, axis=1) != np.arange(problem.n_var)).any(axis=1)
    elif problem.representation == "binary" or not problem.has_bounds():
        outside = np.zeros(len(typed), dtype=bool)
    else:
        outside = ~((typed >= problem.xl) & (typed <= problem.xu)).all(axis=1)
    if outside.any():
        what = "is no permutation" if problem.representation == "permutation" else "lies outside the bounds"
        raise UsageError(f"sampling: candidate {int(outside.argmax())} {what}")
    return typed


# -- the front of another run ------------------------------------------------------------------------


def _from_run(run: Run, problem: CompressionProblem) -> Start:
    """The front of a saved run as candidates of the problem.

    Plain vectors are read from its solutions, anything else is found again by replaying its journal.
    """
    found = _from_solutions(run, problem) if problem.representation in _PLAIN else None
    if found is None:
        found = _replayed(run, problem)
    if not len(found.X):
        raise UsageError(f"{run.path} has no solution to start from")
    return found


def _from_solutions(run: Run, problem: CompressionProblem) -> Start | None:
    """From the solutions' files; None where they are not all there, or hold no vector."""
    try:
        front = run.front
        X = np.array([run.solution(str(name))["x"] for name in front["id"]])
        F = np.column_stack([front[o.name].to_numpy(dtype=float) * o.sign for o in run.objectives])
        if X.shape != (len(front), problem.n_var) or F.shape[1] != problem.n_obj or not np.isfinite(F).all():
            return None
        typed = _typed(X, problem)
    except (UsageError, KeyError, TypeError, ValueError):
        return None
    return Start(typed, F)


class _Recorded:
    """A recorder that only gives what a journal holds."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.records = records
        self.seconds: dict[int, float] = {}

    def append(self, record: dict[str, Any]) -> None:
        """Nothing comes behind the last record."""

    def history(self, row: list[float]) -> None:
        """Not kept."""

    def trace(self, row: dict[str, float | str]) -> None:
        """Not kept."""

    def update(self, **fields: Any) -> None:
        """Not kept."""


def _replayed(run: Run, problem: CompressionProblem) -> Start:
    """The archive of a run's journal, found again by the run's algorithm with recorded values."""
    records = run.journal()
    if not records:
        return Start(np.empty((0, problem.n_var), dtype=object))
    asked = run.manifest["request"]
    check_code(run.path, [Code(parameters=(asked["parameters"],))], recorded_by(run, ""), trust=False)
    try:
        own = problem.scalarise if type(problem).scalarise is not CompressionProblem.scalarise else None
        search = Search(
            problem,
            find_algorithm(asked["algo"], problem),
            dict(asked["parameters"]),
            seed=asked["seed"],
            budget=Budget(**asked["budget"]),
            scalariser=Scalariser.of(
                problem.objectives, kind=asked["scalarise"], weights=asked["weights"], ref=asked["ref"], own=own
            ),
            recorder=_Recorded(records),
            cache_size=asked["cache_size"],
            start=saved_start(run, problem),
        )

        def stop_at_the_end(state: State) -> None:
            search.stop_requested = "replayed" if state.n_gen == len(records) else ""

        search.on_generation = stop_at_the_end
        search.run()
    except UsageError as error:
        raise UsageError(f"cannot start from {run.path}: {error}") from None
    archive = search.archive
    X = np.empty((len(archive), problem.n_var), dtype=archive.X[0].dtype if len(archive) else object)
    for i, x in enumerate(archive.X):
        X[i] = x
    return Start(X, archive.F, source=run.path)


# -- a run's own start -----------------------------------------------------------------------------


def save_start(path: Path, start: Start) -> None:
    """Keep in a run directory what the run begins with: arrays as they are, objects by the journal they come from.

    Objects that were given from Python cannot be kept; they must be given again when the run goes on.

    Args:
        path: The run directory.
        start: What it begins with.
    """
    folder = path / FOLDER
    folder.mkdir(exist_ok=True)
    if start.X.dtype != object:
        for name, array in (("X", start.X), ("F", start.F)):
            if array is not None:
                buffer = io.BytesIO()
                np.save(buffer, array, allow_pickle=False)
                atomic.write_bytes(folder / f"{name}.npy", buffer.getvalue())
    elif start.source is not None:
        for name in _RECORDS:
            atomic.write_bytes(folder / name, (start.source / name).read_bytes())
        if (start.source / FOLDER).is_dir():
            shutil.copytree(start.source / FOLDER, folder / FOLDER, dirs_exist_ok=True)


def saved_start(run: Run, problem: CompressionProblem, *, given: Start | None = None) -> Start | None:
    """What a run began with; None where it began from the problem's sampling.

    Args:
        run: The run.
        problem: Its problem.
        given: What a user gives again, where the run could not keep it.

    Raises:
        UsageError: It cannot be read, or is not kept and not given.
    """
    folder = run.path / FOLDER
    if not folder.is_dir():
        if given is not None:
            raise UsageError(f"{run.path} was begun without a start; leave it out when the run goes on")
        return None
    if (folder / "X.npy").exists():
        try:
            X = np.load(folder / "X.npy", allow_pickle=False)
            F = np.load(folder / "F.npy", allow_pickle=False) if (folder / "F.npy").exists() else None
        except (OSError, ValueError, EOFError) as error:
            raise UsageError(f"{folder} cannot be read ({error}); restore it from a copy, or start a new run") from None
        return Start(_fitting(X, problem) if F is None else _typed(X, problem), F)
    if (folder / "manifest.json").exists():
        return _replayed(load_run(folder), problem)
    if given is None:
        raise UsageError(f"{run.path} was begun with objects that cannot be kept; give the same sampling= again")
    return given

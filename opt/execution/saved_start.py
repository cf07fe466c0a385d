"""Warm starts from what is saved: candidates of another run's front, and a run's own start when it goes on."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymoo.core.individual import Individual
from pymoo.core.population import Population

from opt.algorithms import find_algorithm
from opt.algorithms.interface.warm_start import Source, Start
from opt.console.errors import UsageError
from opt.execution.named_code import Code
from opt.execution.trust import check_code, recorded_by
from opt.files import atomic
from opt.problem import CompressionProblem
from opt.problem.adapt import PlainProblem
from opt.problem.hooks import fingerprint_of, scalarise_of
from opt.problem.mixed_variables import typed_values
from opt.runs import journal
from opt.runs import manifest as manifests
from opt.runs.run import Run, load_run
from opt.search.budget import Budget
from opt.search.engine import Search
from opt.search.evaluation import EvaluationFailed
from opt.search.scalarise import Scalariser
from opt.search.search_state import State

FOLDER = "start"
"""Inside a run: the candidates that it began with."""
_PLAIN = ("real", "integer", "binary", "permutation")


def start_from(given: Any, problem: CompressionProblem, *, trust: bool = False) -> Start:
    """A start from what a user gives.

    Args:
        given: (n, n_var) candidates, or (n_var,) one; a pymoo Population or Individual; a saved run, or its path.
        problem: What they are candidates of.
        trust: Import functions that the run's manifest names, whatever they are.

    Raises:
        UsageError: It is none of these, the candidates do not fit the problem, or the run does not replay.
    """
    if isinstance(given, (str, Path)):
        given = load_run(given)
    if isinstance(given, Run):
        return _from_run(given, problem, trust=trust)
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
        rows = _objects(X, problem) if is_object else np.atleast_2d(np.asarray(X))
    except (TypeError, ValueError) as error:
        raise UsageError(f"sampling must be an array of candidates: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != problem.n_var or not len(rows):
        raise UsageError(f"sampling must have shape (n, {problem.n_var}) with n >= 1, got {rows.shape}")
    if not is_object:
        rows = _typed(rows, problem)
    fingerprint = fingerprint_of(problem)
    first = {fingerprint(x): i for i, x in reversed(list(enumerate(rows)))}
    return rows[sorted(first.values())]


def _objects(X: Any, problem: CompressionProblem) -> np.ndarray:
    """Object genomes, (n, n_var) dtype object, from such an array or a sequence of them; mixed values typed."""
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 2:
        rows = X.copy()
    else:
        rows = np.empty((len(X), 1), dtype=object)
        for i, genome in enumerate(X):
            is_row = isinstance(genome, np.ndarray) and genome.dtype == object and genome.shape == (1,)
            rows[i, 0] = genome[0] if is_row else genome
    if problem.representation == "mixed":
        for i in range(len(rows)):
            rows[i, 0] = typed_values(problem.vars, rows[i, 0])
    return rows


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


def _from_run(run: Run, problem: CompressionProblem, *, trust: bool) -> Start:
    """The front of a saved run as candidates of the problem.

    Plain vectors are read from its solutions, anything else is found again by replaying its journal.
    """
    # other tensors than the default ones may hold something else under the same name
    is_plain = problem.representation in _PLAIN
    has_vectors = is_plain and type(problem).tensors in (CompressionProblem.tensors, PlainProblem.tensors)
    start = _from_solutions(run, problem) if has_vectors else None
    if start is None:
        start = _replayed(run, problem, trust=trust)
    if not len(start.X):
        raise UsageError(f"{run.path} has no solution to start from")
    return start


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


def _replayed(run: Run, problem: CompressionProblem, *, trust: bool) -> Start:
    """The archive of a run's journal, found again by the run's algorithm with recorded values.

    A journal holds no genomes: from the run's seed the algorithm draws the same ones again, and is told the values.
    """
    records = run.journal()
    if not records:
        return Start(np.empty((0, problem.n_var), dtype=object))
    request = run.manifest["request"]
    check_code(run.path, [Code(parameters=(request["parameters"],))], recorded_by(run, ""), trust=trust)
    try:
        own = scalarise_of(problem)
        search = Search(
            problem,
            find_algorithm(request["algo"], problem),
            dict(request["parameters"]),
            seed=request["seed"],
            budget=Budget(**request["budget"]),
            scalariser=Scalariser.of(
                problem.objectives, kind=request["scalarise"], weights=request["weights"], ref=request["ref"], own=own
            ),
            recorder=_Recorded(records),
            cache_size=request["cache_size"],
            start=saved_start(run, problem, trust=trust),
        )

        def stop_at_the_end(state: State) -> None:
            search.stop_requested = "replayed" if state.n_gen == len(records) else ""

        search.on_generation = stop_at_the_end
        search.run()
    except (UsageError, EvaluationFailed) as error:
        raise UsageError(f"cannot start from {run.path}: {error}") from None
    archive = search.archive
    X = np.empty((len(archive), problem.n_var), dtype=archive.X[0].dtype if len(archive) else object)
    for i, x in enumerate(archive.X):
        X[i] = x
    return Start(X, archive.F, source=Source(run.path, run.manifest, records))


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
        # the records that were replayed, and not those that the run may have by now
        manifests.write(folder, start.source.manifest)
        lines = b"".join(map(journal.encode, [journal.HEADER, *start.source.records]))
        atomic.write_bytes(folder / "journal.jsonl", lines)
        if (start.source.path / FOLDER).is_dir():
            shutil.copytree(start.source.path / FOLDER, folder / FOLDER, dirs_exist_ok=True)


def saved_start(
    run: Run, problem: CompressionProblem, *, given: Start | None = None, trust: bool = False
) -> Start | None:
    """What a run began with; None where it began from the problem's sampling.

    Args:
        run: The run.
        problem: Its problem.
        given: What a user gives again, where the run could not keep it.
        trust: As of `start_from`.

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
        except Exception as error:  # a header that is damaged makes NumPy raise almost anything
            raise UsageError(f"{folder} cannot be read ({error}); restore it from a copy, or start a new run") from None
        if X.ndim != 2 or X.shape[1] != problem.n_var or (F is not None and F.shape != (len(X), problem.n_obj)):
            raise UsageError(f"{folder} holds candidates of another shape; restore it from a copy, or start a new run")
        return Start(_typed(X, problem), F)
    if (folder / "manifest.json").exists():
        return _replayed(load_run(folder), problem, trust=trust)
    if given is None:
        raise UsageError(f"{run.path} was begun with objects that cannot be kept; give the same sampling= again")
    return given

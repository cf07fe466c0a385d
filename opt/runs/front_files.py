"""Writing a finished search's Pareto front: front.csv, references.csv and the solutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pandas as pd
from safetensors.numpy import save

from opt.files import atomic, csv_table
from opt.fronts.archive import Archive, farthest_first
from opt.problem import CompressionProblem, Reference
from opt.problem.hooks import (
    Complaints,
    description_of,
    metadata_of,
    problem_name,
    references_of,
    tensors_of,
    tests_of,
)
from opt.runs.front_so_far import in_order
from opt.runs.run_directory import RunDirectory
from opt.search.evaluation import evaluate_batch

TEST_CHUNK = 100
EXACT_FRONT = "exact front"
"""Name of the reference that a known Pareto front is; a problem may bring it itself, with tests and parameters."""


def spread(F: np.ndarray, n: int) -> np.ndarray:
    """Indices of n rows of F spread along it: the best in each objective, then the farthest from those chosen.

    Args:
        F: (m, n_obj) float64, finite.
        n: How many to choose; all when m <= n.

    Returns:
        (min(m, n),) int64, ascending.
    """
    return np.sort(farthest_first(F, n))


def write_front(
    run: RunDirectory, problem: CompressionProblem, archive: Archive, *, keep: int, complaints: Complaints
) -> pd.DataFrame:
    """Test, describe and save the archive.

    Args:
        run: Where to write.
        problem: What the candidates belong to.
        archive: The nondominated set.
        keep: Most solutions saved as safetensors, spread along the front; front.csv has all rows.
        complaints: Where it is noted which hooks of the problem failed; their columns or files are left out.

    Returns:
        The table that front.csv holds, sorted by the first objective.
    """
    order, ids = in_order(archive)
    F = archive.F[order]
    X = [archive.X[i] for i in order]
    rows = _rows(problem, X, F, complaints)
    table = pd.DataFrame([{"id": i, **row} for i, row in zip(ids, rows, strict=True)])
    if not len(table):
        table = pd.DataFrame(columns=["id", *(o.name for o in problem.objectives)])
    # the table comes last: where front.csv is, the solutions are whole
    folder = run.replace_folder("solutions")
    for k in spread(F, keep):
        arrays = tensors_of(problem, X[k], complaints)
        if arrays:
            about = {"id": ids[k], "problem": problem_name(problem), **{n: str(v) for n, v in rows[k].items()}}
            about |= metadata_of(problem, X[k], complaints)
            about = {_in_utf8(name): _in_utf8(value) for name, value in about.items()}
            (folder / f"{ids[k]}.safetensors").write_bytes(_in_order(save(arrays, metadata=about)))
    atomic.write_bytes(run.path / "front.csv", csv_table.encode(table))
    return table


def _in_utf8(text: str) -> str:
    """Text that safetensors takes: half a character, as in a path that is not UTF-8, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _in_order(data: bytes) -> bytes:
    """A safetensors file with its metadata sorted: the library writes them in another order each time."""
    n = int.from_bytes(data[:8], "little")
    header = orjson.loads(data[8 : 8 + n])
    text = orjson.dumps({"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header})
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text + data[8 + n :]


def write_references(
    run: RunDirectory,
    problem: CompressionProblem,
    exact: np.ndarray | None,
    *,
    complaints: Complaints,
    eval_seconds: float | None = None,
) -> pd.DataFrame | None:
    """Evaluate, test and save the problem's references, and its exact front where it has one.

    Args:
        run: Where to write.
        problem: The problem.
        exact: (m, n_obj) its exact front, minimised, or None.
        complaints: As of `write_front`.
        eval_seconds: Most wall-clock seconds that one candidate's evaluation may take.
    """
    references = references_of(problem, complaints)
    if exact is not None and all(reference.name != EXACT_FRONT for reference in references):
        references.append(Reference(EXACT_FRONT, F=exact))
    rows: list[dict[str, Any]] = []
    for reference in references:
        if reference.X is not None:
            F, _, _ = evaluate_batch(problem, reference.X, seconds=eval_seconds)
            rows += [{"reference": reference.name, **row} for row in _rows(problem, list(reference.X), F, complaints)]
            continue
        assert reference.F is not None
        for k, f in enumerate(np.atleast_2d(reference.F)):
            row = {"reference": reference.name, **_own_sense(problem, f)}
            if reference.test is not None:
                row |= {f"test_{name}": value for name, value in reference.test[k].items()}
            if reference.parameters is not None:
                row |= {n: v for n, v in reference.parameters[k].items() if n not in row}
            rows.append(row)
    if not rows:
        return None
    table = pd.DataFrame(rows)
    atomic.write_bytes(run.path / "references.csv", csv_table.encode(table))
    return table


def _rows(
    problem: CompressionProblem, X: Sequence[np.ndarray], F: np.ndarray, complaints: Complaints
) -> list[dict[str, Any]]:
    tests: list[dict[str, float]] = []
    for start in range(0, len(X), TEST_CHUNK):
        chunk = np.empty((len(X[start : start + TEST_CHUNK]), problem.n_var), dtype=np.asarray(X[start]).dtype)
        for i, x in enumerate(X[start : start + TEST_CHUNK]):
            chunk[i] = x
        tests += tests_of(problem, chunk, complaints)
    rows = []
    for x, f, test in zip(X, F, tests, strict=True):
        row = _own_sense(problem, f) | {f"test_{name}": value for name, value in test.items()}
        about = description_of(problem, x, complaints)
        rows.append(row | {name: value for name, value in about.items() if name not in row})
    return rows


def _own_sense(problem: CompressionProblem, f: np.ndarray) -> dict[str, Any]:
    return {o.name: float(o.sign * v) for o, v in zip(problem.objectives, f, strict=True)}

"""Writing a finished search's front: front.csv, references.csv and the solutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pandas as pd
from safetensors.numpy import save

from opt import atomic
from opt.archive import Archive
from opt.evaluation import evaluate_batch
from opt.front_so_far import in_order
from opt.problem import CompressionProblem, Reference
from opt.run import RunDirectory

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
    if len(F) <= n or n == 0:
        return np.arange(min(len(F), n))
    span = F.max(axis=0) - F.min(axis=0)
    unit = (F - F.min(axis=0)) / np.where(span > 0, span, 1.0)
    chosen = list(dict.fromkeys(int(i) for i in unit.argmin(axis=0)))[:n]
    distance = np.min([np.linalg.norm(unit - unit[i], axis=1) for i in chosen], axis=0)
    while len(chosen) < n:
        i = int(distance.argmax())
        chosen.append(i)
        distance = np.minimum(distance, np.linalg.norm(unit - unit[i], axis=1))
    return np.array(sorted(chosen))


def write_front(run: RunDirectory, problem: CompressionProblem, archive: Archive, *, keep: int) -> pd.DataFrame:
    """Test, describe and save the archive.

    Args:
        run: Where to write.
        problem: What the candidates belong to.
        archive: The nondominated set.
        keep: Most solutions saved as safetensors, spread along the front; front.csv has all rows.

    Returns:
        The table that front.csv holds, sorted by the first objective.
    """
    order, ids = in_order(archive)
    F = archive.F[order]
    X = [archive.X[i] for i in order]
    rows = _rows(problem, X, F)
    table = pd.DataFrame([{"id": i, **row} for i, row in zip(ids, rows, strict=True)])
    if not len(table):
        table = pd.DataFrame(columns=["id", *(o.name for o in problem.objectives)])
    # the table comes last: where front.csv is, the solutions are whole
    folder = run.replace_folder("solutions")
    for k in spread(F, keep):
        tensors = problem.tensors(X[k])
        if tensors:
            about = {"id": ids[k], "problem": problem.name(), **{n: str(v) for n, v in rows[k].items()}}
            arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
            (folder / f"{ids[k]}.safetensors").write_bytes(_in_order(save(arrays, metadata=about)))
    atomic.write_bytes(run.path / "front.csv", table.to_csv(index=False).encode())
    return table


def _in_order(data: bytes) -> bytes:
    """A safetensors file with its metadata sorted: the library writes them in another order each time."""
    n = int.from_bytes(data[:8], "little")
    header = orjson.loads(data[8 : 8 + n])
    text = orjson.dumps({"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header})
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text + data[8 + n :]


def write_references(run: RunDirectory, problem: CompressionProblem) -> pd.DataFrame | None:
    """Evaluate, test and save the problem's references, and its exact front where it has one."""
    references = list(problem.references())
    exact = problem.pareto_front()
    if exact is not None and all(reference.name != EXACT_FRONT for reference in references):
        references.append(Reference(EXACT_FRONT, F=np.asarray(exact, dtype=float)))
    rows: list[dict[str, Any]] = []
    for reference in references:
        if reference.X is not None:
            F, _, _ = evaluate_batch(problem, reference.X)
            rows += [{"reference": reference.name, **row} for row in _rows(problem, list(reference.X), F)]
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
    atomic.write_bytes(run.path / "references.csv", table.to_csv(index=False).encode())
    return table


def _rows(problem: CompressionProblem, X: Sequence[np.ndarray], F: np.ndarray) -> list[dict[str, Any]]:
    tests: list[dict[str, float]] = []
    for start in range(0, len(X), TEST_CHUNK):
        chunk = np.empty((len(X[start : start + TEST_CHUNK]), problem.n_var), dtype=np.asarray(X[start]).dtype)
        for i, x in enumerate(X[start : start + TEST_CHUNK]):
            chunk[i] = x
        tests += problem.test_batch(chunk)
    rows = []
    for x, f, test in zip(X, F, tests, strict=True):
        row = _own_sense(problem, f) | {f"test_{name}": value for name, value in test.items()}
        rows.append(row | {name: value for name, value in problem.describe(x).items() if name not in row})
    return rows


def _own_sense(problem: CompressionProblem, f: np.ndarray) -> dict[str, Any]:
    return {o.name: float(o.sign * v) for o, v in zip(problem.objectives, f, strict=True)}

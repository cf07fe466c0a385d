"""Evaluating batches: each distinct candidate once, a bad one without ending the run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from opt.console.errors import UsageError
from opt.flags.search_options import SearchOptions
from opt.problem import CompressionProblem
from opt.problem.user_code import guarded, reason_of
from opt.search.evaluation_process import ApartError, NoProcessError, run_apart

CACHE_SIZE = SearchOptions.cache_size

Values = tuple[np.ndarray, np.ndarray | None, dict[int, str]]
"""(F, G, failures): (n, n_obj) with NaN rows for failures, (n, n_ieq_constr) or None, reason by row."""


class EvaluationFailed(Exception):
    """A candidate could not be evaluated and the run was asked to stop on that."""


@dataclass
class Batch:
    """What one generation's evaluation gave.

    Attributes:
        F: (n, n_obj) minimised objectives of every candidate; NaN rows failed.
        G: (n, n_ieq_constr) or None.
        new: (k,) indices of the candidates that were really evaluated.
        failures: Reason by index, for those among `new`.
        digest: Hex digest of the whole batch's fingerprints.
    """

    F: np.ndarray
    G: np.ndarray | None
    new: np.ndarray
    failures: dict[int, str]
    digest: str


def evaluate_batch(problem: CompressionProblem, X: np.ndarray, *, seconds: float | None = None) -> Values:
    """Evaluate X, (n, n_var), at once; isolate what raises, takes too long or is not finite.

    When the batch as a whole fails, its candidates are evaluated one by one, so that only the bad
    ones are lost. Whatever a user's code raises is a failure, SystemExit too; a signal's KeyboardInterrupt
    passes.

    Args:
        problem: What is evaluated.
        X: (n, n_var) candidates; not changed.
        seconds: Most wall-clock seconds a candidate may take; n of them together n times as many. The
            evaluation is then done in a process of its own, whose death is a failure as well.

    Raises:
        UsageError: A process of its own cannot be had.
    """
    if not len(X):
        return np.empty((0, problem.n_obj)), _constraints(problem, 0), {}
    try:
        F, G = _evaluate(problem, X) if seconds is None else _evaluate_apart(problem, X, seconds=seconds)
        reasons: dict[int, str] = {}
    except NoProcessError as error:
        hint = "what was recorded is kept: resume when there is room"
        raise UsageError(f"no process could be started for an evaluation ({error}); {hint}") from None
    except Exception as error:  # a user's evaluate may raise anything: the reason is recorded
        if len(X) == 1:
            F = np.full((1, problem.n_obj), np.nan)
            return F, _constraints(problem, 1), {0: str(error) if isinstance(error, ApartError) else reason_of(error)}
        F, G, reasons = _one_by_one(problem, X, seconds=seconds)
    _mark_not_finite(problem, F, G, reasons)
    return F, G, reasons


def _constraints(problem: CompressionProblem, n: int) -> np.ndarray | None:
    """(n, n_ieq_constr) NaN; None without constraints."""
    return np.full((n, problem.n_ieq_constr), np.nan) if problem.n_ieq_constr else None


def _one_by_one(problem: CompressionProblem, X: np.ndarray, *, seconds: float | None) -> Values:
    parts = [evaluate_batch(problem, X[i : i + 1], seconds=seconds) for i in range(len(X))]
    F = np.concatenate([p[0] for p in parts])
    G = None if parts[0][1] is None else np.concatenate([p[1] for p in parts if p[1] is not None])
    return F, G, {i: p[2][0] for i, p in enumerate(parts) if p[2]}


def _mark_not_finite(problem: CompressionProblem, F: np.ndarray, G: np.ndarray | None, reasons: dict[int, str]) -> None:
    """Make rows of F that are not finite, or whose constraints are not, NaN; note why."""
    finite = np.isfinite(F).all(axis=1)
    if G is not None:
        finite &= np.isfinite(G).all(axis=1)
    for i in np.flatnonzero(~finite):
        reasons.setdefault(int(i), _not_finite(problem, F[i]))
        F[i] = np.nan


def _evaluate(problem: CompressionProblem, X: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """F and G, in this process."""
    with guarded():
        return _call(problem, X)


def _evaluate_apart(
    problem: CompressionProblem, X: np.ndarray, *, seconds: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """F and G, from a process of its own: their bytes one after the other."""
    n_obj, n_constr = problem.n_obj, problem.n_ieq_constr

    def work() -> bytes:
        F, G = _call(problem, X)
        return F.tobytes() + (b"" if G is None else G.tobytes())

    values = np.frombuffer(run_apart(work, seconds=seconds * len(X))).copy()
    F = values[: len(X) * n_obj].reshape(len(X), n_obj)
    return F, values[F.size :].reshape(len(X), n_constr) if n_constr else None


def _call(problem: CompressionProblem, X: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    # a copy: code that changes its argument and then fails would have its candidates tried again changed
    values = problem.evaluate(X.copy())
    F, G = values if isinstance(values, tuple) else (values, None)
    if G is not None and not problem.n_ieq_constr:
        raise ValueError("evaluate returned (F, G) and the problem has n_ieq_constr=0; pass it on")
    F = _real(F)
    if F.shape != (len(X), problem.n_obj):
        raise ValueError(
            f"evaluate must return shape ({len(X)}, {problem.n_obj}) for {problem.n_obj} objectives, got {F.shape}"
        )
    if problem.n_ieq_constr:
        G = _real(G)
        if G.shape != (len(X), problem.n_ieq_constr):
            raise ValueError(f"evaluate must return G of shape ({len(X)}, {problem.n_ieq_constr}), got {G.shape}")
    return F, G


def _real(values: Any) -> np.ndarray:
    """Values as float64: masked ones are NaN, complex ones refused, not cut."""
    if np.iscomplexobj(values):
        raise TypeError("evaluate must return real numbers, got complex ones")
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(np.float64), np.nan)
    return np.array(values, dtype=np.float64)


def _not_finite(problem: CompressionProblem, row: np.ndarray) -> str:
    bad = [f"{o.name} = {v}" for o, v in zip(problem.objectives, row, strict=True) if not np.isfinite(v)]
    return "not finite: " + ", ".join(bad) if bad else "not finite: a constraint"


class Evaluator:
    """Evaluates batches of candidates, each distinct one once.

    Args:
        problem: What is evaluated.
        cache_size: Number of distinct candidates remembered; the oldest is forgotten first, so that
            memory stays bounded.
        fail_fast: Raise EvaluationFailed on the first failure.
    """

    def __init__(self, problem: CompressionProblem, *, cache_size: int = CACHE_SIZE, fail_fast: bool = False) -> None:
        self.problem = problem
        self.cache_size = cache_size
        self.fail_fast = fail_fast
        self._known: OrderedDict[bytes, tuple[Any, Any]] = OrderedDict()

    @property
    def n_known(self) -> int:
        """Number of distinct candidates remembered."""
        return len(self._known)

    def is_known(self, key: bytes) -> bool:
        """Whether the candidate of this fingerprint was evaluated and is remembered."""
        return _digest(key) in self._known

    def forget(self) -> None:
        """Drop every remembered value: the objectives' meaning has changed."""
        self._known.clear()

    def __call__(
        self, X: np.ndarray, keys: list[bytes], *, compute: Callable[[np.ndarray], Values], limit: int | None
    ) -> Batch:
        """Evaluate a batch.

        Args:
            X: (n, n_var) candidates.
            keys: Their fingerprints.
            compute: Values of the new candidates: the problem's, or recorded ones on resume.
            limit: Most new evaluations allowed; the batch is cut before the first one beyond it.

        Returns:
            The values of the (possibly cut) batch.
        """
        digests = [_digest(key) for key in keys]
        n, first = self._distinct(digests, limit)
        new = np.fromiter(first.values(), dtype=np.int64, count=len(first))
        n_constr = self.problem.n_ieq_constr
        F = np.empty((n, self.problem.n_obj))
        G = np.empty((n, n_constr)) if n_constr else None
        failures: dict[int, str] = {}
        if len(new):
            new_F, new_G, reasons = compute(X[new])
            failures = {int(new[i]): reason for i, reason in reasons.items()}
            if failures and self.fail_fast:
                i, reason = next(iter(failures.items()))
                raise EvaluationFailed(f"candidate {i} of the batch failed: {reason}")
            F[new] = new_F
            if G is not None:
                G[new] = new_G
        if len(new) < n:
            self._fill(F, G, digests, first)
        for key, i in first.items():
            self._known[key] = (F[i].copy(), None if G is None else G[i].copy())
        while len(self._known) > self.cache_size:
            self._known.popitem(last=False)
        whole = blake2b(b"".join(digests[:n]), digest_size=8)
        return Batch(F, G, new, failures, whole.hexdigest())

    def _distinct(self, digests: list[bytes], limit: int | None) -> tuple[int, dict[bytes, int]]:
        """How many of a batch's candidates are taken, and the place of each new one by its digest, in order."""
        known = self._known
        first: dict[bytes, int] = {}
        for i, key in enumerate(digests):
            if key not in known and key not in first:
                if len(first) == limit:
                    return i, first
                first[key] = i
        return len(digests), first

    def _fill(self, F: np.ndarray, G: np.ndarray | None, digests: list[bytes], first: dict[bytes, int]) -> None:
        """Values of the candidates that are not new: from the new one equal to them, or as remembered."""
        for i in range(len(F)):
            source = first.get(digests[i])
            if source == i:
                continue
            if source is not None:
                F[i], row = F[source], None if G is None else G[source]
            else:
                F[i], row = self._known[digests[i]]
            if G is not None:
                G[i] = row


def _digest(key: bytes) -> bytes:
    """A fingerprint, shortened where it is long."""
    return blake2b(key, digest_size=16).digest() if len(key) > 16 else key

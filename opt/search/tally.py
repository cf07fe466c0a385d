"""What a search has found: its archive, reference point, counters, and the history's rows."""

from __future__ import annotations

import numpy as np

from opt.fronts.archive import LARGEST, Archive, hypervolume, reference_point
from opt.problem import CompressionProblem
from opt.search.evaluation import Batch
from opt.search.search_state import State


class Tally:
    """Counts batches and keeps their nondominated set.

    Args:
        problem: What is searched.
        state: The search's, whose counters, hypervolume and best values are kept here.

    Attributes:
        archive: The nondominated set of everything feasible.
        ref_point: (n_obj,) hypervolume's reference point; None before the first feasible candidate.
    """

    def __init__(self, problem: CompressionProblem, state: State) -> None:
        self.state = state
        self.archive = Archive(problem.n_obj)
        self.ref_point: np.ndarray | None = None
        self._objectives = problem.objectives
        self._signs = np.array([o.sign for o in problem.objectives])
        self._worst_seen = np.full(problem.n_obj, -np.inf)
        self._best_seen = np.full(problem.n_obj, np.inf)

    def add(self, X: np.ndarray, batch: Batch) -> None:
        """Count a batch, and offer what is new and feasible in it to the archive.

        Args:
            X: (n, n_var) its candidates.
            batch: Their values.
        """
        state, new = self.state, batch.new
        F = batch.F[new]
        ids = state.n_eval + 1 + np.arange(len(new))
        state.n_eval += len(new)
        state.n_failed += len(batch.failures)
        for reason in batch.failures.values():
            state.failures[reason] = state.failures.get(reason, 0) + 1
        ok = np.isfinite(F).all(axis=1)
        finite = F[ok]
        if len(finite):
            self._worst_seen = np.maximum(self._worst_seen, finite.max(axis=0))
            self._best_seen = np.minimum(self._best_seen, finite.min(axis=0))
        if batch.G is not None:
            ok = ok & (batch.G[new] <= 0).all(axis=1)
        if not ok.any():
            return
        if self.ref_point is None:
            worst = [None if o.worst is None else o.sign * o.worst for o in self._objectives]
            self.ref_point = reference_point(F[ok], worst)
        if self.archive.offer(F[ok], X[new[ok]], ids[ok]):
            self._measure()

    def readmit(self, X: np.ndarray, F: np.ndarray, G: np.ndarray | None) -> None:
        """Offer candidates that were judged anew; their ids are negative places, from -1 on.

        Args:
            X: (n, n_var) candidates.
            F: (n, n_obj) objectives, NaN where they failed.
            G: (n, n_ieq_constr) or None.
        """
        ok = np.isfinite(F).all(axis=1)
        if G is not None:
            ok &= (G <= 0).all(axis=1)
        if ok.any():
            self.archive.offer(F[ok], X[ok], -1 - np.flatnonzero(ok))
            self._measure()

    def _measure(self) -> None:
        if self.ref_point is not None:
            self.state.hypervolume = hypervolume(self.archive.F, self.ref_point)
        self.state.best = self.archive.F.min(axis=0) * self._signs

    def clear(self) -> None:
        """Forget the archive: the objectives' meaning has changed."""
        self.archive.clear()
        self.state.hypervolume = 0.0

    def history_row(self, batch: Batch) -> list[float]:
        """A row of history.csv: counters, then best, mean and worst of each objective in the batch, in its sense."""
        state = self.state
        everything = batch.F[np.isfinite(batch.F).all(axis=1)]
        row = [state.n_gen, state.n_eval, state.seconds, state.hypervolume, len(self.archive), state.n_failed]
        if not len(everything):
            return row + [float("nan")] * (3 * len(self._signs))
        with np.errstate(over="ignore"):
            best, mean, worst = everything.min(axis=0), everything.mean(axis=0), everything.max(axis=0)
        return row + (np.stack([best, mean, worst], axis=1) * self._signs[:, None]).ravel().tolist()

    def penalty(self) -> np.ndarray:
        """(n_obj,) what an algorithm is told of a failed candidate: worse than anything seen, and finite."""
        if not np.isfinite(self._worst_seen).all():
            return np.full(len(self._signs), 1e6)
        with np.errstate(over="ignore"):
            beyond = self._worst_seen + np.maximum(self._worst_seen - self._best_seen, 1.0)
        return np.minimum(beyond, LARGEST)

"""Warm start: candidates that a search's first sampling gives before the problem's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opt.console.errors import UsageError
from opt.fronts.archive import farthest_first
from opt.problem import CompressionProblem, SamplingFunction


@dataclass(frozen=True)
class Source:
    """A run that was replayed.

    Args:
        path: Its directory.
        manifest: Its manifest.
        records: The records that its journal held.
    """

    path: Path
    manifest: dict[str, Any]
    records: list[dict[str, Any]]


@dataclass(frozen=True)
class Start:
    """Candidates to begin from.

    Args:
        X: (n, n_var) candidates, n >= 1.
        F: (n, n_obj) their objectives, minimised, where they are known; they decide the order.
        source: The run whose journal they were found by again, or None.
    """

    X: np.ndarray
    F: np.ndarray | None = None
    source: Source | None = None

    def ordered(self, scalarise: Callable[[np.ndarray], np.ndarray] | None) -> np.ndarray:
        """X so that the first few rows are a good start: the best values first, or spread along the front.

        Args:
            scalarise: (n, n_obj) to (n, 1), for an algorithm of one objective; None for one of several.
        """
        if self.F is None:
            return self.X
        if scalarise is not None:
            return self.X[np.argsort(scalarise(self.F)[:, 0], kind="stable")]
        if len(self.F) < 2:
            return self.X
        first = farthest_first(self.F, len(self.F) - 1)
        return self.X[[*first, *np.setdiff1d(np.arange(len(self.F)), first)]]


class StartedSampling:
    """`(n, rng) -> X` that gives the start's candidates in its first call, and samples for the rest and later.

    Args:
        X: (m, n_var) the start's candidates, the most welcome first.
        own: The problem's sampling.
    """

    def __init__(self, X: np.ndarray, own: SamplingFunction) -> None:
        self.X = X
        self.own = own
        self.is_spent = False

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_var) candidates."""
        if self.is_spent:
            return self.own(n, rng)
        self.is_spent = True
        first = self.X[:n]
        return first if len(first) == n else np.concatenate([first, self.own(n - len(first), rng)])


class Offer:
    """The start while an algorithm is built; notes whether anything of the algorithm takes it.

    Args:
        X: (n, n_var) its candidates, the most welcome first.
    """

    def __init__(self, X: np.ndarray) -> None:
        self._X = X
        self.is_taken = False

    def take(self) -> np.ndarray:
        """The candidates."""
        self.is_taken = True
        return self._X


_OFFER = "_offered_start"


@contextlib.contextmanager
def offering(problem: CompressionProblem, X: np.ndarray | None, algorithm: str) -> Iterator[None]:
    """While an algorithm is built inside, `offered`, `started` and `first_of_start` give it the start's candidates.

    Raises:
        UsageError: The algorithm took no notice: it does not begin from samples.
    """
    if X is None:
        yield
        return
    offer = Offer(X)
    setattr(problem, _OFFER, offer)
    try:
        yield
    finally:
        delattr(problem, _OFFER)
    if not offer.is_taken:
        raise UsageError(f"{algorithm} does not begin from samples; leave out the start, or choose another algorithm")


def offered(problem: CompressionProblem) -> Offer | None:
    """The start that is offered, or None."""
    return getattr(problem, _OFFER, None)


def started(problem: CompressionProblem, sampling: SamplingFunction) -> SamplingFunction:
    """The sampling behind the candidates of the start that is offered, if any."""
    offer = offered(problem)
    return sampling if offer is None else StartedSampling(offer.take(), sampling)


def first_of_start(problem: CompressionProblem) -> np.ndarray | None:
    """(n_var,) the most welcome candidate of the start that is offered; None without one."""
    offer = offered(problem)
    return None if offer is None else np.asarray(offer.take()[0])

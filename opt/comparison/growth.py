"""Hypervolume over a run's evaluations (anytime performance), on a scale that all runs of a problem share."""

from __future__ import annotations

import bisect
import contextlib
import gc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from opt.console.errors import UsageError
from opt.fronts.archive import LARGEST, hypervolume, nondominated, normalised
from opt.runs.run import Run
from opt.search.recorded import feasible

SAMPLES = 50
"""Generations of a run at which its hypervolume is computed, besides those at which it reached a target."""


@dataclass(frozen=True)
class Scale:
    """One normalisation for all runs of a problem: `ideal` becomes 0, `nadir` 1.

    Attributes:
        ideal: (n_obj,) least value of each objective, minimised.
        nadir: (n_obj,) the stated worst value, else the greatest of any run's final front.
        ref_point: (n_obj,) hypervolume's reference point, normalised: 1 for a stated worst value, else 1.1.
    """

    ideal: np.ndarray
    nadir: np.ndarray
    ref_point: np.ndarray

    def __call__(self, F: np.ndarray) -> np.ndarray:
        """(n, n_obj) objectives, normalised."""
        return normalised(F, self.ideal, self.nadir)

    @property
    def ref_point_in_units(self) -> np.ndarray:
        """(n_obj,) the reference point as F is: minimised, in the objectives' units."""
        with np.errstate(over="ignore"):
            return np.minimum(self.ideal + self.ref_point * (self.nadir - self.ideal), LARGEST)


@dataclass(frozen=True)
class Trace:
    """How a run's hypervolume grew.

    Attributes:
        n_eval: (k,) evaluations at the end of a generation.
        seconds: (k,) search time until then.
        hypervolume: (k,) normalised, of everything evaluated until then.
    """

    n_eval: np.ndarray
    seconds: np.ndarray
    hypervolume: np.ndarray

    def reaches(self, target: float) -> tuple[float, float] | None:
        """Evaluations and seconds at the end of the first generation with the target; None when it never came."""
        reached = np.flatnonzero(self.hypervolume >= target)
        return (float(self.n_eval[reached[0]]), float(self.seconds[reached[0]])) if len(reached) else None


def trace_of(run: Run, scale: Scale, targets: Sequence[float] = ()) -> Trace:
    """How the hypervolume of everything that a run evaluated grew, from its journal, on one scale for all runs.

    Args:
        run: A run whose objectives kept their meaning.
        scale: The normalisation and the reference point.
        targets: Hypervolumes whose first generation is wanted exactly.

    Returns:
        SAMPLES generations spread evenly, the last among them, and those at which a target was reached first.
    """
    records = run.journal()
    if not records:
        raise UsageError(f"{run.path / 'journal.jsonl'} holds no record any more; restore it from a copy")
    n_obj = len(scale.ideal)
    history = run.history
    clock = dict(zip(history["n_gen"].astype(int), history["seconds"].astype(float), strict=True))
    sampled = set(np.linspace(0, len(records) - 1, min(SAMPLES, len(records)), dtype=int).tolist())
    rows: dict[int, tuple[float, float, float]] = {}
    # computed at the sampled generations only; between two of them a stretch keeps what a target may ask for
    stretch = _Stretch(np.empty((0, n_obj)), scale.ref_point)
    n_eval, volume = 0, 0.0
    for k, record in enumerate(records):
        n_eval += int(record["new"])
        stretch.add(scale(feasible(record, n_obj)), n_eval, clock.get(int(record["gen"]), math.nan))
        if k not in sampled:
            continue
        before, volume = volume, stretch.volume(stretch.n - 1)
        # hypervolume never falls, so that the generation of a target is found by halving
        for target in targets:
            if before < target <= volume:
                rows |= stretch.row(bisect.bisect_left(range(stretch.n - 1), target, key=stretch.volume))
        rows |= stretch.row(stretch.n - 1)
        stretch = stretch.next()
    table = np.array([rows[n] for n in sorted(rows)], dtype=float).reshape(-1, 3)
    return Trace(n_eval=table[:, 0], seconds=table[:, 1], hypervolume=table[:, 2])


class _Stretch:
    """The generations since the last one whose hypervolume was computed.

    Args:
        front: (n, n_obj) the nondominated set before them, normalised.
        ref_point: (n_obj,) what lies beyond it adds nothing.
        first: The number of the first of them.
    """

    def __init__(self, front: np.ndarray, ref_point: np.ndarray, first: int = 0) -> None:
        self._fronts, self._ref_point, self._first = [front], ref_point, first
        self._clock: list[tuple[float, float]] = []
        self._known: dict[int, tuple[np.ndarray, float]] = {}

    @property
    def n(self) -> int:
        """How many generations it holds."""
        return len(self._clock)

    def add(self, F: np.ndarray, n_eval: float, seconds: float) -> None:
        """Take in a generation."""
        self._fronts.append(F[np.less(F, self._ref_point).all(axis=1)])
        self._clock.append((n_eval, seconds))

    def volume(self, k: int) -> float:
        """Hypervolume at the end of its k-th generation."""
        if k not in self._known:
            merged = np.concatenate(self._fronts[: k + 2])
            front = merged[nondominated(merged)]
            self._known[k] = front, hypervolume(front, self._ref_point)
        return self._known[k][1]

    def row(self, k: int) -> dict[int, tuple[float, float, float]]:
        """Evaluations, seconds and hypervolume at the end of its k-th generation, by that one's number."""
        return {self._first + k: (*self._clock[k], self.volume(k))}

    def next(self) -> _Stretch:
        """An empty stretch that goes on from here."""
        self.volume(self.n - 1)
        return _Stretch(self._known[self.n - 1][0], self._ref_point, self._first + self.n)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection meanwhile.

    A journal is many small lists, and looking at all of them over and over is a third of reading it.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

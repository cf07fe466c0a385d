"""Rules of acceptance: with which value a proposal is compared, and which proposals a temperature lets through."""

from __future__ import annotations

from typing import Protocol

import numpy as np

_COLDEST = 1e-300


class Rule(Protocol):
    """What every rule does; one row a chain."""

    def reference(self, current: np.ndarray) -> np.ndarray:
        """(n,) values that proposals are compared with, from the chains' current values, (n,)."""

    def accepts(self, increase: np.ndarray, temperature: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n,) bool: which proposals are accepted that are worse than the reference by `increase`, (n,)."""

    def observe(self, proposed: np.ndarray) -> None:
        """Learn the values of the proposals, (n,)."""

    def begin(self, current: np.ndarray) -> None:
        """Chains begin anew, or values changed their meaning: the current values are now (n,)."""


class Metropolis:
    """Accept with probability min(1, exp(-increase / T)) on the current value.

    Source: Metropolis et al. 1953, doi:10.1063/1.1699114.
    """

    def reference(self, current: np.ndarray) -> np.ndarray:
        """The current values."""
        return current

    def accepts(self, increase: np.ndarray, temperature: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Better always; worse by chance."""
        with np.errstate(over="ignore"):
            uphill = np.maximum(increase, 0.0) / np.maximum(temperature, _COLDEST)
        return np.asarray(rng.random(len(increase)) < np.exp(-uphill))

    def observe(self, proposed: np.ndarray) -> None:
        """Nothing."""

    def begin(self, current: np.ndarray) -> None:
        """Nothing."""


class ThresholdAccepting(Metropolis):
    """Accept whatever is worse by less than T: no draw.

    Source: Dueck and Scheuer 1990, doi:10.1016/0021-9991(90)90201-B.
    """

    def accepts(self, increase: np.ndarray, temperature: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Worse by less than the temperature, or not worse."""
        return (increase <= 0) | (increase < temperature)


class RunningAverage(Metropolis):
    """Metropolis on the lagging mean of the last proposals' values, whether they were accepted or not.

    The reference follows the search with a delay, so that acceptance depends little on the chance of one
    current value; it may lie above the current value, and a step down from the mean may be a step up.

    Args:
        memory: Number of proposals remembered by each chain.
    """

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._values: np.ndarray | None = None
        self._count = 0

    def begin(self, current: np.ndarray) -> None:
        """Remember the current values alone."""
        self._values = np.empty((self.memory, len(current)))
        self._values[0] = current
        self._count = 1

    def reference(self, current: np.ndarray) -> np.ndarray:
        """The mean of what is remembered."""
        assert self._values is not None
        return np.asarray(self._values[: min(self._count, self.memory)].mean(axis=0))

    def observe(self, proposed: np.ndarray) -> None:
        """Remember these in the place of the oldest."""
        assert self._values is not None
        self._values[self._count % self.memory] = proposed
        self._count += 1

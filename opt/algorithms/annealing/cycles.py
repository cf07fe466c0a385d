"""Restarts and reheats: the budget divided into cycles of cooling."""

from __future__ import annotations

from typing import Literal

Change = Literal["", "restart", "reheat"]


class Cycles:
    """Cycles of equal shares of the budget: each restart is followed by `reheats` reheats.

    A cycle ends when its share is spent, or before that when the chains are frozen; what is left of the
    budget is then divided anew among the cycles to come. The last cycle has no end but the budget's.

    Args:
        restarts: Number of times that every chain begins from a new sample.
        reheats: Number of times, after each beginning, that the temperature is raised again.
        frozen_steps: Steps in a row without any accepted change after which the chains count as frozen.
    """

    def __init__(self, *, restarts: int, reheats: int, frozen_steps: int) -> None:
        self.n = (restarts + 1) * (reheats + 1)
        self.per_start = reheats + 1
        self.frozen_steps = frozen_steps
        self.index = 0
        self._begins: float | None = None
        self._still = 0
        self._last = 0.0
        self._increment = 0.0
        self._n_steps = 0
        self._fraction = 0.0

    @property
    def n_reheats(self) -> int:
        """Reheats since the last start."""
        return self.index % self.per_start

    @property
    def length(self) -> float:
        """Share of the budget of the cycle under way."""
        assert self._begins is not None
        return max((1 - self._begins) / (self.n - self.index), 1e-12)

    @property
    def increment(self) -> float:
        """Share of the cycle that the last step took."""
        return self._increment / self.length

    def advance(self, spent: float) -> Change:
        """Before a step, when `spent` of the budget is spent: does a new cycle begin with it?"""
        if self._begins is None:
            self._begins = self._last = spent
        self._increment = spent - self._last
        self._last = spent
        is_over = spent >= self._begins + self.length * (1 - 1e-9) or self._still >= self.frozen_steps
        if not is_over or self.index + 1 >= self.n:
            return ""
        self.index += 1
        self._begins = spent
        self._still = self._n_steps = 0
        self._fraction = 0.0
        return "reheat" if self.n_reheats else "restart"

    def fraction(self) -> float:
        """Share of the cycle that is spent before the step under way, such that the last step has 1.

        Steps may take unequal shares, of seconds or of evaluations; the last is taken to be as long as their
        mean, and the fraction never falls.
        """
        assert self._begins is not None
        done = self._last - self._begins
        whole = max(self.length - done / max(self._n_steps, 1), 1e-12)
        self._fraction = max(self._fraction, min(done / whole, 1.0))
        return self._fraction

    def step_done(self, *, has_changed: bool) -> None:
        """Count a step, in which some chain changed or none did."""
        self._still = 0 if has_changed else self._still + 1
        self._n_steps += 1

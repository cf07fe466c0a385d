"""Simulated annealing: chains that cool together."""

from __future__ import annotations

from typing import Any

import numpy as np

from opt.algorithms.annealing.chains import Chains
from opt.algorithms.annealing.cycles import Cycles
from opt.algorithms.annealing.options import ReheatFrom
from opt.algorithms.annealing.schedules import Levels, Schedule


class SimulatedAnnealing(Chains):
    """Chains at one temperature, which a schedule lowers over the budget, with restarts and reheats.

    Source: Kirkpatrick, Gelatt and Vecchi 1983, doi:10.1126/science.220.4598.671.

    Args:
        operators: The problem's.
        distance: The problem's.
        schedule: Temperature over a cycle.
        levels: Steps of one temperature.
        cycles: Restarts and reheats.
        reheat_ratio: Start temperature of a reheat as a fraction of the one before.
        reheat_from: Where a reheated chain goes on: its best candidate since its start, or its current one.
        **more: As of Chains.
    """

    def __init__(
        self,
        *args: Any,
        schedule: Schedule,
        levels: Levels,
        cycles: Cycles,
        reheat_ratio: float,
        reheat_from: ReheatFrom,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.schedule = schedule
        self.levels = levels
        self.cycles = cycles
        self.reheat_ratio = reheat_ratio
        self.reheat_from = reheat_from
        self._fraction = 0.0
        self._ratio = 1.0
        if schedule.is_absolute:
            self.start_temperature = 1.0
            self._trials = 0

    def next_phase(self) -> str:
        """A restart when the next cycle is one; a reheat is a step at a higher temperature."""
        assert self.spent is not None
        change = self.cycles.advance(self.spent)
        if change:
            self.levels.begin()
            self.schedule.begin()
            self.mixture.steps.begin()
        if change == "reheat" and self.reheat_from == "best":
            for i in range(self.n_chains):
                self.pop[i] = self.bests[i]
            self.rule.begin(self._current()[0])
        self._fraction = self.cycles.fraction()
        self.level = self.levels.level
        if self.levels.is_new:
            self._ratio = self.schedule.at(self._fraction, self.level)
        return "restart" if change == "restart" else "step"

    def temperatures(self) -> np.ndarray:
        """One temperature for all chains."""
        start = np.inf if self.start_temperature is None else self.start_temperature
        raised = self.reheat_ratio**self.cycles.n_reheats
        return np.full(self.n_chains, start * raised * self._ratio)

    def after_step(self, accepted: np.ndarray, difference: np.ndarray, distance: np.ndarray) -> None:
        """Let the schedule see the acceptance, and count the step."""
        self.schedule.observe(float(accepted.mean()), self._fraction, self.cycles.increment)
        has_changed = bool((accepted & ((difference != 0) | (distance > 0))).any())
        self.cycles.step_done(has_changed=has_changed)
        self.levels.step_done()

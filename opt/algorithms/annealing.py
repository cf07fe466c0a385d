"""Simulated annealing as a pymoo Algorithm: the problem's mutation is the move."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population

from opt.algorithms.evolution_strategy import best_first
from opt.algorithms.pymoo_builtin import operators_of
from opt.algorithms.pymoo_operators import repaired
from opt.algorithms.registry import algorithm
from opt.errors import UsageError
from opt.problem import CompressionProblem, Operators

# Without a budget in generations or evaluations the schedule runs over this many steps, then stays cold.
DEFAULT_STEPS = 1000


def temperature_at(fraction: float, *, start: float, end: float, schedule: str) -> float:
    """Temperature after `fraction` of the steps.

    Args:
        fraction: 0 at the first step, 1 at the last.
        start: Temperature at 0.
        end: Temperature at 1, positive for the geometric schedule.
        schedule: "geometric", start * (end / start) ** fraction, or "linear".
    """
    if schedule == "geometric":
        return start * (end / start) ** fraction
    return start + (end - start) * fraction


def calibrated_start(increases: np.ndarray, acceptance: float) -> float:
    """Start temperature at which the mean uphill step is accepted with probability `acceptance`.

    exp(-mean(increase) / T) = acceptance, solved for T. On a flat landscape, with no increase
    at all, any temperature does; 1 is returned.

    Source: Kirkpatrick 1984, doi:10.1007/BF01009452; Ben-Ameur 2004, doi:10.1023/B:COAP.0000044187.23143.bd, eq. 3.
    """
    uphill = increases[increases > 0]
    return float(-uphill.mean() / np.log(acceptance)) if len(uphill) else 1.0


class SimulatedAnnealing(Algorithm):
    """Metropolis chains that cool together and are evaluated as one batch.

    Each generation every chain proposes one mutation of its current candidate and accepts it with
    probability min(1, exp(-(F' - F) / T)). The start temperature is calibrated on the moves of
    the first step, which is spent at T = infinity only for the measurement: worse moves of that
    step are judged like any other once T is known.

    Source: Kirkpatrick, Gelatt and Vecchi 1983, doi:10.1126/science.220.4598.671.
    """

    opt: Any

    def __init__(
        self,
        operators: Operators,
        *,
        n_chains: int,
        schedule: str,
        start_temperature: float | None,
        acceptance: float,
        end_ratio: float,
    ) -> None:
        super().__init__()
        self.operators = operators
        self.n_chains = n_chains
        self.schedule = schedule
        self.start_temperature = start_temperature
        self.acceptance = acceptance
        self.end_ratio = end_ratio
        self.n_steps = DEFAULT_STEPS
        self.step = 0
        self.temperature = np.inf
        self.n_accepted = 0

    def plan(self, *, n_gen: int | None, n_eval: int | None) -> None:
        """Spread the schedule over the run's budget; called by the engine before the first generation."""
        limits = [n_gen] if n_gen is not None else []
        if n_eval is not None:
            limits.append(-(-n_eval // self.n_chains))
        if limits:
            self.n_steps = max(min(limits) - 1, 1)

    def _initialize_infill(self) -> Population:
        return repaired(self.operators, self.operators.sampling(self.n_chains, self.random_state))

    def _infill(self) -> Population:
        assert self.operators.mutation is not None
        X = np.array([individual.X for individual in self.pop])
        return repaired(self.operators, self.operators.mutation(X, self.random_state))

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        rng = self.random_state
        assert rng is not None
        n = len(infills)
        current, proposed = self.pop.get("F")[:n, 0], infills.get("F")[:, 0]
        increase = proposed - current
        if self.start_temperature is None:
            self.start_temperature = calibrated_start(increase, self.acceptance)
        fraction = min(self.step / max(self.n_steps - 1, 1), 1.0)
        self.temperature = temperature_at(
            fraction,
            start=self.start_temperature,
            end=self.start_temperature * self.end_ratio,
            schedule=self.schedule,
        )
        # a candidate that breaks a constraint is accepted only from one that breaks it as much or more
        worse = infills.get("CV")[:, 0] - self.pop.get("CV")[:n, 0]
        accepted = rng.random(n) < np.exp(-np.maximum(increase, 0.0) / self.temperature)
        accepted = np.where(worse > 0, False, np.where(worse < 0, True, accepted))
        self.n_accepted = int(accepted.sum())
        for i in np.flatnonzero(accepted):
            self.pop[i] = infills[i]
        self.step += 1

    def _set_optimum(self) -> None:
        pool = self.pop if self.opt is None else Population.merge(self.opt, self.pop)
        self.opt = pool[best_first(pool)[:1]]


@algorithm("sa", objectives="one", needs=("mutation",))
def simulated_annealing(
    problem: CompressionProblem,
    *,
    n_chains: int = 20,
    schedule: Literal["geometric", "linear"] = "geometric",
    start_temperature: float | None = None,
    acceptance: float = 0.5,
    end_ratio: float = 1e-3,
) -> Algorithm:
    """Simulated annealing on the problem's mutation, several chains as one batch.

    Args:
        n_chains: Number of independent chains; one generation is one step of each.
        schedule: How the temperature falls over the run's budget.
        start_temperature: In units of the scalarised objective; calibrated from the first moves when not given.
        acceptance: Probability with which the mean uphill move is accepted at the calibrated start.
        end_ratio: Last temperature as a fraction of the first.
    """
    if not 0 < acceptance < 1:
        raise UsageError(f"--algo.acceptance must lie between 0 and 1, got {acceptance}")
    if not 0 < end_ratio <= 1:
        raise UsageError(f"--algo.end_ratio must lie in (0, 1], got {end_ratio}")
    if start_temperature is not None and start_temperature <= 0:
        raise UsageError(f"--algo.start_temperature must be positive, got {start_temperature}")
    return SimulatedAnnealing(
        operators_of(problem),
        n_chains=n_chains,
        schedule=schedule,
        start_temperature=start_temperature,
        acceptance=acceptance,
        end_ratio=end_ratio,
    )

"""An algorithm of one's own: late acceptance hill climbing, on the problem of problems/ecomp.py."""

from typing import Annotated

import numpy as np
from pymoo.core.population import Population

from opt import Range
from opt.algorithms import SearchAlgorithm, algorithm, operators_of
from problems.ecomp import EComp


class LateAcceptance(SearchAlgorithm):
    """Climbers that go on from a mutant as good as what they were at `memory` generations ago.

    Source: Burke and Bykov 2017, doi:10.1016/j.ejor.2016.07.012.
    """

    def __init__(self, operators, *, n_climbers, memory, patience):
        super().__init__()
        self.operators, self.n_climbers, self.memory, self.patience = operators, n_climbers, memory, patience
        self.n_still, self.late = 0, None

    def plan(self, *, n_gen, n_eval, seconds):  # told once: the budget
        n_steps = n_gen or (n_eval or 1000) // self.n_climbers
        self.length = max(1, round(self.memory * n_steps))

    def _initialize_infill(self):  # asked: the first candidates
        return Population.new("X", self.operators.sampling(self.n_climbers, self.random_state))

    def _infill(self):  # asked: the next ones
        return Population.new("X", self.operators.mutation(self.pop.get("X"), self.random_state))

    def _advance(self, infills=None, **kwargs):  # told: the same, with their values
        now, new = self.pop.get("F")[:, 0], infills.get("F")[:, 0]
        if self.late is None:  # the first generation is self.pop already
            self.late = np.tile(now, (self.length, 1))
        row = self.n_iter % self.length
        accepted = (new <= now) | (new <= self.late[row])
        self.pop[accepted] = infills[accepted]
        self.late[row] = np.minimum(self.late[row], self.pop.get("F")[:, 0])
        self.n_still = 0 if (new < now)[accepted].any() else self.n_still + 1
        self.trace = {"current": self.pop.get("F").mean(), "late": self.late[row].mean(), "accepted": accepted.mean()}
        if self.n_still >= self.patience:
            self.end_reason = f"no climber went up for {self.patience} generations"

    def has_next(self):  # asked before each generation
        return not self.end_reason


@algorithm("late-acceptance", objectives="one", needs=("mutation",), handles_constraints=False)
def late_acceptance(
    problem,
    *,
    n_climbers: Annotated[int, Range(1, 1000)] = 10,
    memory: Annotated[float, Range(0.0, 1.0)] = 0.1,
    patience: Annotated[int, Range(1)] = 50,
):
    """Late acceptance: hill climbing that compares with what it was some time ago.

    Args:
        n_climbers: Number of climbers, evaluated together.
        memory: How long ago, as a share of the budget.
        patience: Generations without a climber that went up after which it ends.
    """
    return LateAcceptance(operators_of(problem), n_climbers=n_climbers, memory=memory, patience=patience)


class Climbed(EComp):
    """EComp, with one algorithm more."""

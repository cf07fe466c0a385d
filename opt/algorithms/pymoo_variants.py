"""SPEA2's survival and PSO of pymoo, made safe for objectives and variables that are the same everywhere."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga3 import HyperplaneNormalization
from pymoo.algorithms.moo.spea2 import SPEA2Survival
from pymoo.algorithms.soo.nonconvex.pso import PSO


class BoxNormalization(HyperplaneNormalization):
    """Ideal and nadir of a population, one apart in an objective that is the same for all of it."""

    nadir_point: Any

    def update(self, F: np.ndarray, nds: Any = None) -> None:
        """Take in a population's objectives, (n, n_obj)."""
        super().update(F, nds)
        self.nadir_point = np.where(self.nadir_point > self.ideal_point, self.nadir_point, self.ideal_point + 1.0)


class SeparateSPEA2Survival(SPEA2Survival):
    """SPEA2's survival that divides by no empty range."""

    norm: Any

    def _do(self, problem: Any, pop: Any, *args: Any, **kwargs: Any) -> Any:
        self.norm = self.norm or BoxNormalization(pop.get("F").shape[1])
        return super()._do(problem, pop, *args, **kwargs)


class BoxPSO(PSO):
    """PSO that takes a variable with equal bounds: pymoo scales distances by each side of the box."""

    problem: Any

    def _adapt(self) -> None:
        box, self.problem = self.problem, copy.copy(self.problem)
        self.problem.xu = np.where(box.xu > box.xl, box.xu, box.xl + 1)
        super()._adapt()
        self.problem = box

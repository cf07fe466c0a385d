"""pymoo's CMA-ES, around the library `cma`, with the seed of the run."""

from __future__ import annotations

from typing import Any

from pymoo.algorithms.soo.nonconvex.cmaes import CMAES

from opt.algorithms.interface.random_state import IsolatedGlobalRandom


class SeededCMAES(CMAES):
    """CMA-ES whose draws from NumPy's global generator come from a stream of its own."""

    def _setup(self, problem: Any, **kwargs: Any) -> None:
        self.isolated = IsolatedGlobalRandom(int(kwargs.get("seed", self.seed) or 0))
        super()._setup(problem, **kwargs)

    def infill(self) -> Any:
        """Ask for the next sample."""
        with self.isolated:
            return super().infill()

    def advance(self, infills: Any = None, **kwargs: Any) -> Any:
        """Take in the sample's values."""
        with self.isolated:
            return super().advance(infills=infills, **kwargs)

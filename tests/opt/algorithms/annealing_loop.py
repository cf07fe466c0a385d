"""An annealing algorithm driven without the engine: no cache, no journal, every state at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pymoo.core.termination import NoTermination

from opt.algorithms import build_algorithm, find_algorithm
from opt.search.search_state import Silent, View


class Loop:
    """Asks, evaluates and tells; `rows` holds the trace.

    Args:
        problem: A problem of one objective.
        algo: "sa", "sa-lagging" or "parallel-tempering".
        n_gen: Planned generations; `spend` follows from it.
        seed: Of the algorithm.
        after: Called with the algorithm after each generation.
        **settings: Of the algorithm.
    """

    def __init__(
        self,
        problem: Any,
        algo: str = "sa",
        *,
        n_gen: int | None,
        seed: int = 1,
        after: Callable[[Any], None] | None = None,
        **settings: Any,
    ) -> None:
        self.problem = problem
        self.n_gen = n_gen
        self.after = after
        self.rows: list[dict] = []
        self.algorithm = build_algorithm(find_algorithm(algo), problem, settings)
        self.algorithm.plan(n_gen=n_gen, n_eval=None, seconds=None)
        self.algorithm.setup(View(problem, n_obj=1), seed=seed, termination=NoTermination(), display=Silent())

    def step(self) -> Any:
        """One generation; its infills."""
        self.algorithm.spend(0.0 if self.n_gen is None else min(len(self.rows) / self.n_gen, 1.0))
        infills = self.algorithm.ask()
        values = self.problem.evaluate(np.array([p.X for p in infills]))
        F, G = values if isinstance(values, tuple) else (values, None)
        for i, p in enumerate(infills):
            p.F = F[i]
            p.CV = np.zeros(1) if G is None else np.maximum(G[i], 0).sum(keepdims=True)
        self.algorithm.tell(infills=infills)
        self.rows.append(dict(self.algorithm.trace))
        if self.after:
            self.after(self.algorithm)
        return infills

    def run(self, n: int | None = None) -> Loop:
        """n generations, or those planned."""
        for _ in range(n if n is not None else self.n_gen or 0):
            self.step()
        return self

    def column(self, name: str) -> np.ndarray:
        """A column of the trace, (n,)."""
        return np.array([row[name] for row in self.rows])

"""What a search tells: where it stands, where it writes, what an algorithm sees of the problem."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from pymoo.core.problem import Problem

from opt.problem import CompressionProblem


class Recorder(Protocol):
    """Where a search writes: a run directory, or nothing."""

    seconds: dict[int, float]

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the journal held when it was opened."""

    def append(self, record: dict[str, Any]) -> None:
        """Add one record to the journal."""

    def history(self, row: list[float]) -> None:
        """Add one row to the history."""

    def trace(self, row: dict[str, float | str]) -> None:
        """Add one row to the trace of an algorithm that has one."""

    def update(self, **fields: Any) -> None:
        """Note facts of the search in the manifest at once."""


@dataclass
class State:
    """Where a search stands after a generation; handed to the progress display."""

    n_gen: int = 0
    n_eval: int = 0
    n_failed: int = 0
    n_inner_eval: int = 0
    seconds: float = 0.0
    hypervolume: float = 0.0
    best: np.ndarray | None = None
    replaying: bool = False
    stop_reason: str = ""
    failures: dict[str, int] = field(default_factory=dict)


class View(Problem):
    """What an algorithm sees of a problem: its shape, never its evaluation."""

    def __init__(self, problem: CompressionProblem, *, n_obj: int) -> None:
        super().__init__(
            n_var=problem.n_var,
            n_obj=n_obj,
            n_ieq_constr=problem.n_ieq_constr,
            xl=problem.xl,
            xu=problem.xu,
            vtype=problem.vtype,
        )

    def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("it evaluates candidates itself, outside ask and tell, where they cannot be recorded")


class Silent:
    """Stands in for pymoo's display, whose table is computed even when it is not shown."""

    def __call__(self, algorithm: Any) -> None:
        """Show nothing."""

    def finalize(self) -> None:
        """Nothing to close."""

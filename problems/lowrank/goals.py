"""Objectives of the search for a decomposition, by what it is to see: errors of layers, of answers, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from opt.problem import Objective, minimise
from problems.lowrank.choices import Size
from problems.workloads.workload import Workload

Goal = Literal["bound", "accuracy", "loss", "both"]

_BOUND = Objective("bound", minimise, unit="largest relative error of a layer", weight=1.0, worst=1.0)
_ERROR = Objective("error", minimise, unit="fraction", weight=1.0, worst=1.0)

SIZE_OBJECTIVES: dict[Size, Objective] = {
    "parameters": Objective("parameters", minimise, unit="fraction of parameters", weight=0.5, worst=1.0),
    "macs": Objective("macs", minimise, unit="fraction of multiply-adds", weight=0.5, worst=1.0),
    "bytes": Objective("bytes", minimise, unit="fraction of bytes", weight=0.5, worst=1.0),
}

GOALS: dict[Goal, tuple[str, ...]] = {
    "bound": ("bound",),
    "accuracy": ("error",),
    "loss": ("loss",),
    "both": ("error", "bound"),
}
"""What each goal sees beside the sizes: the largest error of a layer, the answers' error, their loss."""


def goal_objectives(goal: Goal, workload: Workload | None = None) -> tuple[Objective, ...]:
    """The objectives of a goal beside the sizes.

    Args:
        goal: What a search sees.
        workload: What is compressed, whose first metric and loss are searched; None for classes by their accuracy.
    """
    error, unit = _ERROR, "nats"
    if workload is not None:
        is_accuracy = workload.error_objective.name == _ERROR.name
        error = _ERROR if is_accuracy else workload.error_objective
        unit = unit if workload.loss_name == "cross-entropy" else ""
    loss = Objective("loss", minimise, unit=unit, weight=1.0)
    objectives = {"bound": _BOUND, "error": error, "loss": loss}
    return tuple(objectives[name] for name in GOALS[goal])


def objectives_of(goal: Goal, sizes: Sequence[Size], workload: Workload | None = None) -> tuple[Objective, ...]:
    """The objectives of a goal and of sizes, in the order in which they are shown."""
    return (*goal_objectives(goal, workload), *(SIZE_OBJECTIVES[size] for size in sizes))

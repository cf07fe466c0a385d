"""Objectives of the search for a decomposition, by what it is to see: errors of layers, of answers, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from opt.problem import Objective, minimise
from problems.lowrank.choices import Size

Goal = Literal["bound", "accuracy", "loss", "both"]

_BOUND = Objective("bound", minimise, unit="largest relative error of a layer", weight=1.0, worst=1.0)
_ERROR = Objective("error", minimise, unit="fraction", weight=1.0, worst=1.0)

GOALS: dict[Goal, tuple[Objective, ...]] = {
    "bound": (_BOUND,),
    "accuracy": (_ERROR,),
    "loss": (Objective("loss", minimise, unit="nats", weight=1.0),),
    "both": (_ERROR, _BOUND),
}
"""The objectives of each goal, beside the sizes."""

SIZE_OBJECTIVES: dict[Size, Objective] = {
    "parameters": Objective("parameters", minimise, unit="fraction of parameters", weight=0.5, worst=1.0),
    "macs": Objective("macs", minimise, unit="fraction of multiply-adds", weight=0.5, worst=1.0),
    "bytes": Objective("bytes", minimise, unit="fraction of bytes", weight=0.5, worst=1.0),
}


def objectives_of(goal: Goal, sizes: Sequence[Size]) -> tuple[Objective, ...]:
    """The objectives of a goal and of sizes, in the order in which they are shown."""
    return (*GOALS[goal], *(SIZE_OBJECTIVES[size] for size in sizes))

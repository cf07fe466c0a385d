"""Sampling, crossover and mutation of circuits, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from operators import circuits
from operators.circuits import GridLayout
from opt.problem import CrossoverFunction, MutationFunction, Operators

MutationName = Literal["single", "active", "published", "point", "probabilistic"]
CrossoverName = Literal["block", "one_point", "uniform"]

MUTATIONS: dict[str, Callable[[GridLayout, float], MutationFunction]] = {
    "single": lambda layout, rate: circuits.SingleMutation(layout),
    "active": circuits.ActiveMutation,
    "published": circuits.PublishedMutation,
    "point": circuits.PointMutation,
    "probabilistic": circuits.ProbabilisticMutation,
}
"""Of a layout and a rate."""

CROSSOVERS: dict[str, Callable[[GridLayout], CrossoverFunction]] = {
    "block": circuits.GateBlockCrossover,
    "one_point": circuits.OnePointCrossover,
    "uniform": circuits.UniformGateCrossover,
}


def circuit_operators(
    layout: GridLayout, *, mutation: MutationName, rate: float, crossover: CrossoverName
) -> Operators:
    """Uniform sampling, and a crossover and a mutation by their names.

    Args:
        layout: Of the genomes.
        mutation: One of `MUTATIONS`.
        rate: Share of the genes that mutations other than single redraw.
        crossover: One of `CROSSOVERS`.
    """
    return Operators(
        circuits.UniformGenomeSampling(layout), CROSSOVERS[crossover](layout), MUTATIONS[mutation](layout, rate)
    )

"""Sampling, crossover and mutation of thresholds by the names of options."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from operators.thresholds import (
    BlendCrossover,
    GaussianMutation,
    LogMutation,
    LogSpacedSampling,
    MeanCrossover,
    SeededSampling,
    SimulatedBinaryCrossover,
    StratifiedSampling,
    UniformSampling,
)
from opt.problem import CrossoverFunction, MutationFunction, Operators, SamplingFunction
from problems.thresholds.threshold_options import VariationOptions

_ACTIVE = 0.5
"""Share of the groups that a stratified sample prunes: a network that loses weights everywhere is seldom any good."""


class Space(NamedTuple):
    """What operators need to know of the candidates.

    Attributes:
        xl: (n_var,) lower bounds.
        xu: (n_var,) upper bounds.
        sizes: (n_var,) weights in each group.
        seeds: Gives candidates that are known to be good, (m, n_var).
    """

    xl: np.ndarray
    xu: np.ndarray
    sizes: np.ndarray
    seeds: Callable[[], np.ndarray]


def _stratified(space: Space) -> SamplingFunction:
    return StratifiedSampling(space.xl, space.xu, active=_ACTIVE)


SAMPLINGS: dict[str, Callable[[Space], SamplingFunction]] = {
    "stratified": _stratified,
    "nested": lambda space: SeededSampling(space.seeds(), _stratified(space)),
    "log": lambda space: LogSpacedSampling(space.xl, space.xu),
    "uniform": lambda space: UniformSampling(space.xl, space.xu),
}

CROSSOVERS: dict[str, Callable[[Space], CrossoverFunction]] = {
    "blend": lambda space: BlendCrossover(space.xl, space.xu),
    "mean": lambda space: MeanCrossover(),
    "sbx": lambda space: SimulatedBinaryCrossover(space.xl, space.xu),
}

MUTATIONS: dict[str, Callable[[Space], MutationFunction]] = {
    # the smallest steps are of about one weight
    "gaussian": lambda space: GaussianMutation(space.xl, space.xu, smallest=1 / (space.sizes + 1)),
    "log": lambda space: LogMutation(space.xl, space.xu),
}


def operators_of(asked: VariationOptions, space: Space) -> Operators:
    """The operators that the options name."""
    return Operators(
        sampling=SAMPLINGS[asked.initial](space),
        crossover=CROSSOVERS[asked.crossover](space),
        mutation=MUTATIONS[asked.mutation](space),
    )

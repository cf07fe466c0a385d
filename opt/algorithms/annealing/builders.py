"""The annealing algorithms by name, and what they are built from."""

from __future__ import annotations

from pymoo.core.algorithm import Algorithm

from opt.algorithms.annealing.acceptance import Metropolis, Rule, RunningAverage, ThresholdAccepting
from opt.algorithms.annealing.cycles import Cycles
from opt.algorithms.annealing.moves import MoveMixture, Steps, chosen_moves, moves_of
from opt.algorithms.annealing.options import (
    AcceptanceOptions,
    CoolingOptions,
    Growth,
    LadderMoveOptions,
    LadderOptions,
    LevelMoveOptions,
    MemoryLength,
    MoveOptions,
    RestartOptions,
    TemperatureOptions,
)
from opt.algorithms.annealing.schedules import Levels, schedule_of
from opt.algorithms.annealing.simulated_annealing import SimulatedAnnealing
from opt.algorithms.annealing.tempering import ParallelTempering
from opt.algorithms.interface.checked_operators import operators_of
from opt.algorithms.interface.limits import AtLeastTwo, Factor, PopulationSize, StepCount, Temperature
from opt.algorithms.interface.registry import algorithm
from opt.console.errors import UsageError
from opt.console.option_groups import flat_options
from opt.problem import CompressionProblem
from opt.problem.hooks import distance_of

DEFAULT_BATCH = 20
"""Proposals of the one chain that are evaluated together unless told otherwise."""


@algorithm("sa", objectives="one", needs=("moves",))
@flat_options
def simulated_annealing(
    problem: CompressionProblem,
    *,
    n_chains: PopulationSize | None = None,
    n_proposals: PopulationSize | None = None,
    cooling: CoolingOptions,
    temperature: TemperatureOptions,
    acceptance: AcceptanceOptions,
    moves: LevelMoveOptions,
    restarts: RestartOptions,
) -> Algorithm:
    """Simulated annealing on the problem's moves, proposals and chains evaluated as one batch.

    Args:
        n_chains: Number of independent chains, evaluated together; one when not given.
        n_proposals: Most neighbours that each chain has evaluated together in a generation; they are judged in turn
            until one is accepted, and are as few as 1 while many are. When not given, 1, or 20 where n_chains is
            not given either.
        cooling: How the temperature falls, `CoolingOptions`.
        temperature: Its range, `TemperatureOptions`.
        acceptance: Which proposals are accepted, `AcceptanceOptions`.
        moves: Which neighbours are proposed, `LevelMoveOptions`.
        restarts: How often it begins anew, `RestartOptions`.
    """
    rules: dict[str, Rule] = {
        "metropolis": Metropolis(),
        "threshold": ThresholdAccepting(),
        "average": RunningAverage(acceptance.memory),
    }
    if n_proposals is None:
        n_proposals = DEFAULT_BATCH if n_chains is None and acceptance.rule != "average" else 1
    if acceptance.rule == "average" and n_proposals > 1:
        raise UsageError(f"--algo.n_proposals must be 1 with rule average, which changes with each, got {n_proposals}")
    return SimulatedAnnealing(
        operators_of(problem),
        distance_of(problem),
        n_chains=1 if n_chains is None else n_chains,
        n_proposals=n_proposals,
        mixture=mixture_of(problem, moves, decay=moves.step_decay),
        rule=rules[acceptance.rule],
        temperature=temperature,
        schedule=schedule_of(cooling.schedule, cooling=cooling.cooling, end_ratio=temperature.end_ratio),
        levels=Levels(steps=cooling.level_steps, growth=cooling.level_growth, most=cooling.level_most),
        cycles=Cycles(restarts=restarts.restarts, reheats=restarts.reheats, frozen_steps=restarts.frozen_steps),
        reheat_ratio=restarts.reheat_ratio,
        reheat_from=restarts.reheat_from,
    )


@algorithm("sa-lagging", objectives="one", needs=("moves",))
def lagging_annealing(
    problem: CompressionProblem,
    *,
    n_chains: PopulationSize = 1,
    start_temperature: Temperature = 0.006,
    cooling: Factor = 0.999,
    level_growth: Growth = 1.005,
    level_most: StepCount = 50,
    memory: MemoryLength = 50,
    moves: str = "all",
    step_decay: Factor = 0.99,
    smallest_step: Factor = 1e-5,
) -> Algorithm:
    """Simulated annealing on the lagging average, as published for pruning masks; a setting of sa.

    The published rule accepts with probability exp(-d / T), d = (average - new) / 100 of accuracies in
    percent: the difference of errors as fractions. Levels of 1 proposal grow by 1.005 to 50, each cools by
    0.999, and the step falls by 0.99 from level to level.

    Args:
        n_chains: Number of independent chains; one in the published search.
        start_temperature: In units of the scalarised objective, an error as a fraction in the published search.
        cooling: Factor of the temperature from level to level; 0.995 published for convolutional networks.
        level_growth: Factor of the number of proposals from level to level.
        level_most: Most proposals of a level; 10 published for convolutional networks.
        memory: Number of last proposals whose average is lagging behind; published 50 to 60.
        moves: The problem's moves to use, with weights, as in swap:3,inversion; all of them alike.
        step_decay: Factor of the step from level to level.
        smallest_step: Step, as a fraction of the largest, below which it begins at the largest again.
    """
    return simulated_annealing(
        problem,
        n_chains=n_chains,
        start_temperature=start_temperature,
        cooling=cooling,
        level_growth=level_growth,
        level_most=level_most,
        rule="average",
        memory=memory,
        moves=moves,
        step="decay",
        step_decay=step_decay,
        smallest_step=smallest_step,
    )


@algorithm("parallel-tempering", objectives="one", needs=("moves",))
@flat_options
def parallel_tempering(
    problem: CompressionProblem,
    *,
    n_chains: AtLeastTwo = 12,
    temperature: LadderOptions,
    moves: LadderMoveOptions,
) -> Algorithm:
    """Parallel tempering: chains on a ladder of temperatures exchange their candidates.

    Args:
        n_chains: Number of temperatures, one chain each; one generation is one step of each.
        temperature: The ladder, `LadderOptions`.
        moves: Which neighbours are proposed, `LadderMoveOptions`.
    """
    return ParallelTempering(
        operators_of(problem),
        distance_of(problem),
        n_chains=n_chains,
        mixture=mixture_of(problem, moves, decay=1.0, n_groups=n_chains),
        rule=Metropolis(),
        temperature=temperature,
    )


def mixture_of(problem: CompressionProblem, options: MoveOptions, *, decay: float, n_groups: int = 1) -> MoveMixture:
    """The moves that a user chose from the problem's, with their steps.

    Args:
        problem: The problem.
        options: The user's choice.
        decay: Factor of the decaying step from level to level.
        n_groups: Groups of chains, each of which has steps of its own.
    """
    moves, shares = chosen_moves(moves_of(operators_of(problem)), options.moves)
    steps = Steps(
        options.step,
        n_moves=len(moves),
        n_groups=n_groups,
        target=options.step_acceptance,
        decay=decay,
        smallest=options.smallest_step,
    )
    return MoveMixture(moves, shares, steps, by_quality=options.mixture == "quality")

"""The annealing algorithms by name: their parameters, checked, and what they are built from."""

from __future__ import annotations

from typing import Annotated, Literal

from pymoo.core.algorithm import Algorithm

from opt.algorithms.annealing.acceptance import Metropolis, Rule, RunningAverage, ThresholdAccepting
from opt.algorithms.annealing.cycles import Cycles
from opt.algorithms.annealing.moves import MoveMixture, StepRule, Steps, chosen_moves, moves_of
from opt.algorithms.annealing.schedules import Levels, schedule_of
from opt.algorithms.annealing.simulated_annealing import ReheatFrom, SimulatedAnnealing
from opt.algorithms.annealing.tempering import ParallelTempering
from opt.algorithms.interface.checked_operators import operators_of
from opt.algorithms.interface.limits import (
    MOST_ROUNDS,
    AtLeastTwo,
    EndRatio,
    Factor,
    OpenShare,
    PopulationSize,
    Rounds,
    StepCount,
    Temperature,
)
from opt.algorithms.interface.registry import algorithm
from opt.console.errors import UsageError
from opt.console.ranges import Range
from opt.problem import CompressionProblem
from opt.problem.hooks import distance_of

DEFAULT_BATCH = 20
"""Proposals of the one chain that are evaluated together unless told otherwise."""

RuleName = Literal["metropolis", "threshold", "average"]
MixtureRule = Literal["fixed", "quality"]


@algorithm("sa", objectives="one", needs=("moves",))
def simulated_annealing(
    problem: CompressionProblem,
    *,
    n_chains: PopulationSize | None = None,
    n_proposals: PopulationSize | None = None,
    schedule: str = "geometric",
    start_temperature: Temperature | None = None,
    acceptance: OpenShare = 0.5,
    calibration: Rounds = 40,
    end_ratio: EndRatio = 1e-3,
    cooling: Factor | None = None,
    level_steps: StepCount = 1,
    level_growth: Annotated[float, Range(1.0)] = 1.0,
    level_most: StepCount = 50,
    rule: RuleName = "metropolis",
    memory: Annotated[int, Range(1, MOST_ROUNDS)] = 50,
    moves: str = "all",
    mixture: MixtureRule = "fixed",
    step: StepRule = "adaptive",
    step_acceptance: OpenShare = 0.4,
    step_decay: Factor = 0.99,
    smallest_step: Factor = 1e-5,
    restarts: Rounds = 0,
    reheats: Rounds = 0,
    reheat_ratio: Factor = 0.3,
    reheat_from: ReheatFrom = "best",
    frozen_steps: StepCount = 50,
) -> Algorithm:
    """Simulated annealing on the problem's moves, proposals and chains evaluated as one batch.

    Args:
        n_chains: Number of independent chains, evaluated together; one when not given.
        n_proposals: Most neighbours that each chain has evaluated together in a generation; they are judged in turn
            until one is accepted, and are as few as 1 while many are. When not given, 1, or 20 where n_chains is
            not given either.
        schedule: How the temperature falls over the run's budget: geometric, linear, logarithmic, cauchy, lam
            (it follows a wanted acceptance), a list of temperatures such as 9,3,1, or module:function from the
            share spent to a temperature.
        start_temperature: In units of the scalarised objective; calibrated when not given.
        acceptance: Probability with which uphill moves are accepted on average at the calibrated start.
        calibration: Moves tried for the calibration, without taking them, at most five or a twentieth of the
            budget; 0 measures the first step instead.
        end_ratio: Last temperature as a fraction of the first.
        cooling: Factor of the temperature from level to level, whatever the budget, in place of end_ratio.
        level_steps: Steps at one temperature.
        level_growth: Factor of the number of steps from level to level.
        level_most: Most steps of a level that grows.
        rule: Accept by chance on the current value (metropolis), whatever is worse by less than the temperature
            (threshold), or by chance on the lagging average of the last proposals (average).
        memory: Number of proposals in the lagging average.
        moves: The problem's moves to use, with weights, as in swap:3,inversion; all of them alike.
        mixture: Whether the shares of moves stay as given (fixed) or follow what each achieves (quality).
        step: Size of moves that have one: driven by acceptance (adaptive), shrinking from level to level and
            back in a sawtooth (decay), drawn anew for each (varied), or the largest (full).
        step_acceptance: Acceptance that the adaptive step aims at.
        step_decay: Factor of the decaying step from level to level.
        smallest_step: Least step, as a fraction of the largest.
        restarts: Number of restarts from new samples; the budget is shared evenly.
        reheats: Number of times after each start that the temperature is raised again; they share it too.
        reheat_ratio: Start temperature of a reheat as a fraction of the one before.
        reheat_from: Whether a reheated chain goes on from its best candidate or from its current one.
        frozen_steps: Steps without any accepted change after which the next restart or reheat comes early.
    """
    rules: dict[str, Rule] = {
        "metropolis": Metropolis(),
        "threshold": ThresholdAccepting(),
        "average": RunningAverage(memory),
    }
    if n_proposals is None:
        n_proposals = DEFAULT_BATCH if n_chains is None and rule != "average" else 1
    if rule == "average" and n_proposals > 1:
        raise UsageError(f"--algo.n_proposals must be 1 with rule average, which changes with each, got {n_proposals}")
    return SimulatedAnnealing(
        operators_of(problem),
        distance_of(problem),
        n_chains=1 if n_chains is None else n_chains,
        n_proposals=n_proposals,
        mixture=mixture_of(
            problem, moves, mixture, step=step, target=step_acceptance, decay=step_decay, smallest=smallest_step
        ),
        rule=rules[rule],
        start_temperature=start_temperature,
        acceptance=acceptance,
        trials=calibration,
        schedule=schedule_of(schedule, cooling=cooling, end_ratio=end_ratio),
        levels=Levels(steps=level_steps, growth=level_growth, most=level_most),
        cycles=Cycles(restarts=restarts, reheats=reheats, frozen_steps=frozen_steps),
        reheat_ratio=reheat_ratio,
        reheat_from=reheat_from,
    )


@algorithm("sa-lagging", objectives="one", needs=("moves",))
def lagging_annealing(
    problem: CompressionProblem,
    *,
    n_chains: PopulationSize = 1,
    start_temperature: Temperature = 0.006,
    cooling: Factor = 0.999,
    level_growth: Annotated[float, Range(1.0)] = 1.005,
    level_most: StepCount = 50,
    memory: Annotated[int, Range(1, MOST_ROUNDS)] = 50,
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
def parallel_tempering(
    problem: CompressionProblem,
    *,
    n_chains: AtLeastTwo = 12,
    start_temperature: Temperature | None = None,
    acceptance: OpenShare = 0.5,
    calibration: Rounds = 40,
    end_ratio: EndRatio = 1e-3,
    swap_steps: StepCount = 1,
    tune: bool = True,
    moves: str = "all",
    mixture: MixtureRule = "fixed",
    step: Literal["adaptive", "varied", "full"] = "adaptive",
    step_acceptance: OpenShare = 0.4,
    smallest_step: Factor = 1e-5,
) -> Algorithm:
    """Parallel tempering: chains on a ladder of temperatures exchange their candidates.

    Args:
        n_chains: Number of temperatures, one chain each; one generation is one step of each.
        start_temperature: The hottest, in units of the scalarised objective; calibrated when not given.
        acceptance: Probability with which uphill moves are accepted on average at the calibrated hottest.
        calibration: Moves tried for the calibration, without taking them, at most five or a twentieth of the
            budget.
        end_ratio: Coldest temperature as a fraction of the hottest.
        swap_steps: Steps from one exchange between neighbours to the next.
        tune: Whether temperatures between the ends are moved until all neighbours exchange alike.
        moves: The problem's moves to use, with weights, as in swap:3,inversion; all of them alike.
        mixture: Whether the shares of moves stay as given (fixed) or follow what each achieves (quality).
        step: Size of moves that have one: driven by acceptance at each temperature (adaptive), drawn anew for
            each (varied), or the largest (full).
        step_acceptance: Acceptance that the adaptive step aims at.
        smallest_step: Least step, as a fraction of the largest.
    """
    return ParallelTempering(
        operators_of(problem),
        distance_of(problem),
        n_chains=n_chains,
        mixture=mixture_of(
            problem,
            moves,
            mixture,
            step=step,
            target=step_acceptance,
            decay=1.0,
            smallest=smallest_step,
            n_groups=n_chains,
        ),
        rule=Metropolis(),
        start_temperature=start_temperature,
        acceptance=acceptance,
        trials=calibration,
        end_ratio=end_ratio,
        swap_steps=swap_steps,
        is_tuned=tune,
    )


def mixture_of(
    problem: CompressionProblem,
    moves: str,
    rule: MixtureRule,
    *,
    step: StepRule,
    target: float,
    decay: float,
    smallest: float,
    n_groups: int = 1,
) -> MoveMixture:
    """The moves that a user chose from the problem's, with their steps."""
    chosen, shares = chosen_moves(moves_of(operators_of(problem)), moves)
    steps = Steps(step, n_moves=len(chosen), n_groups=n_groups, target=target, decay=decay, smallest=smallest)
    return MoveMixture(chosen, shares, steps, by_quality=rule == "quality")

"""Options of the annealing algorithms: temperature, cooling, acceptance, moves, restarts."""

from __future__ import annotations

from typing import Annotated, Literal

from opt.algorithms.annealing.moves import StepRule
from opt.algorithms.interface.limits import (
    MOST_ROUNDS,
    EndRatio,
    Factor,
    OpenShare,
    Rounds,
    StepCount,
    Temperature,
)
from opt.console.option_groups import option_group
from opt.console.ranges import Range

RuleName = Literal["metropolis", "threshold", "average"]
MixtureRule = Literal["fixed", "quality"]
ReheatFrom = Literal["best", "current"]
Growth = Annotated[float, Range(1.0)]
MemoryLength = Annotated[int, Range(1, MOST_ROUNDS)]


@option_group
class TemperatureOptions:
    """The range of temperatures.

    Args:
        start_temperature: In units of the scalarised objective; calibrated when not given.
        acceptance: Probability with which uphill moves are accepted on average at the calibrated start.
        calibration: Moves tried for the calibration, without taking them, at most five or a twentieth of the
            budget; 0 measures the first step instead.
        end_ratio: Last temperature as a fraction of the first.
    """

    start_temperature: Temperature | None = None
    acceptance: OpenShare = 0.5
    calibration: Rounds = 40
    end_ratio: EndRatio = 1e-3


@option_group
class LadderOptions(TemperatureOptions):
    """The range of temperatures of a ladder.

    Args:
        start_temperature: The hottest, in units of the scalarised objective; calibrated when not given.
        acceptance: Probability with which uphill moves are accepted on average at the calibrated hottest.
        end_ratio: Coldest temperature as a fraction of the hottest.
        swap_steps: Steps from one exchange between neighbours to the next.
        tune: Whether temperatures between the ends are moved until all neighbours exchange alike.
    """

    swap_steps: StepCount = 1
    tune: bool = True


@option_group
class CoolingOptions:
    """How the temperature falls.

    Args:
        schedule: How the temperature falls over the run's budget: geometric, linear, logarithmic, cauchy, lam
            (it follows a wanted acceptance), a list of temperatures such as 9,3,1, or module:function from the
            share spent to a temperature.
        cooling: Factor of the temperature from level to level, whatever the budget, in place of end_ratio.
        level_steps: Steps at one temperature.
        level_growth: Factor of the number of steps from level to level.
        level_most: Most steps of a level that grows.
    """

    schedule: str = "geometric"
    cooling: Factor | None = None
    level_steps: StepCount = 1
    level_growth: Growth = 1.0
    level_most: StepCount = 50


@option_group
class AcceptanceOptions:
    """Which proposals are accepted.

    Args:
        rule: Accept by chance on the current value (metropolis), whatever is worse by less than the temperature
            (threshold), or by chance on the lagging average of the last proposals (average).
        memory: Number of proposals in the lagging average.
    """

    rule: RuleName = "metropolis"
    memory: MemoryLength = 50


@option_group
class MoveOptions:
    """Which neighbours are proposed.

    Args:
        moves: The problem's moves to use, with weights, as in swap:3,inversion; all of them alike.
        mixture: Whether the shares of moves stay as given (fixed) or follow what each achieves (quality).
        step: Size of moves that have one: driven by acceptance (adaptive), shrinking from level to level and
            back in a sawtooth (decay), drawn anew for each (varied), or the largest (full).
        step_acceptance: Acceptance that the adaptive step aims at.
        smallest_step: Least step, as a fraction of the largest.
    """

    moves: str = "all"
    mixture: MixtureRule = "fixed"
    step: StepRule = "adaptive"
    step_acceptance: OpenShare = 0.4
    smallest_step: Factor = 1e-5


@option_group
class LevelMoveOptions(MoveOptions):
    """Which neighbours are proposed by chains whose temperature falls from level to level.

    Args:
        step_decay: Factor of the decaying step from level to level.
    """

    step_decay: Factor = 0.99


@option_group
class LadderMoveOptions(MoveOptions):
    """Which neighbours are proposed on a ladder of temperatures.

    Args:
        step: Size of moves that have one: driven by acceptance at each temperature (adaptive), drawn anew for
            each (varied), or the largest (full).
    """

    step: Literal["adaptive", "varied", "full"] = "adaptive"


@option_group
class RestartOptions:
    """How often the search begins anew or is heated again.

    Args:
        restarts: Number of restarts from new samples; the budget is shared evenly.
        reheats: Number of times after each start that the temperature is raised again; they share it too.
        reheat_ratio: Start temperature of a reheat as a fraction of the one before.
        reheat_from: Whether a reheated chain goes on from its best candidate or from its current one.
        frozen_steps: Steps without any accepted change after which the next restart or reheat comes early.
    """

    restarts: Rounds = 0
    reheats: Rounds = 0
    reheat_ratio: Factor = 0.3
    reheat_from: ReheatFrom = "best"
    frozen_steps: StepCount = 50

"""Cooling schedules: the temperature, from the share of a cycle that is spent or from the level."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from opt.console.errors import UsageError, nearest
from opt.problem.loading import load_object

SPREAD = ("geometric", "linear", "logarithmic", "cauchy")
NAMES = (*SPREAD, "lam")
LOGARITHMIC_STEPS = 1000
"""So many steps of Geman and Geman's schedule are laid over a cycle, whatever its length."""

LAM_TARGET = 0.44
LAM_RATE = 20.0
"""Change of log T over a whole run whose acceptance is always too high: 0.001 a step in 20,000 steps."""
LAM_MEMORY = 40.0
"""A run holds so many memories of the measured acceptance: 500 steps in 20,000."""


class Schedule(Protocol):
    """What every schedule does."""

    is_absolute: bool
    """Whether it gives temperatures themselves; else it gives multiples of the start temperature."""

    def at(self, fraction: float, level: int) -> float:
        """Temperature when `fraction` (0 to 1) of the cycle is spent, at level `level` (from 0) of the cycle."""

    def observe(self, acceptance: float, fraction: float, spent: float) -> None:
        """Learn the share of moves accepted by the step at `fraction`, which took `spent` of the cycle."""

    def begin(self) -> None:
        """A cycle begins."""


class Fixed:
    """A schedule that learns nothing from the search."""

    is_absolute = False

    def observe(self, acceptance: float, fraction: float, spent: float) -> None:
        """Nothing."""

    def begin(self) -> None:
        """Nothing."""


class Spread(Fixed):
    """A curve from 1 to `end_ratio` that is spread over the cycle.

    With f the share spent and r the end ratio:

    - geometric: r ** f. Kirkpatrick, Gelatt and Vecchi 1983, doi:10.1126/science.220.4598.671.
    - linear: 1 + (r - 1) f.
    - logarithmic: 1 / (1 + c log(1 + K f)), K = LOGARITHMIC_STEPS and c so that it ends at r. Geman and
      Geman 1984, doi:10.1109/TPAMI.1984.4767596, whose constant is too large to end cold in any real budget.
    - cauchy: 1 / (1 + c f), c likewise. Szu and Hartley 1987, doi:10.1016/0375-9601(87)90796-1.

    Args:
        kind: One of SPREAD.
        end_ratio: In (0, 1].
    """

    def __init__(self, kind: str, *, end_ratio: float) -> None:
        self.kind = kind
        self.end_ratio = end_ratio

    def at(self, fraction: float, level: int) -> float:
        """The curve at `fraction`."""
        r = self.end_ratio
        if self.kind == "geometric":
            return float(r**fraction)
        if self.kind == "linear":
            return 1 + (r - 1) * fraction
        if self.kind == "logarithmic":
            return 1 / (1 + (1 / r - 1) * math.log1p(LOGARITHMIC_STEPS * fraction) / math.log1p(LOGARITHMIC_STEPS))
        return 1 / (1 + (1 / r - 1) * fraction)


class Cooling(Fixed):
    """A constant factor a level, whatever the budget: factor ** level.

    Args:
        factor: In (0, 1].
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def at(self, fraction: float, level: int) -> float:
        """The power of the factor."""
        return float(self.factor**level)


class Listed(Fixed):
    """A user's own temperatures, each for an equal share of the cycle.

    Args:
        temperatures: At least one, 0 or more, in units of the scalarised objective.
    """

    is_absolute = True

    def __init__(self, temperatures: Sequence[float]) -> None:
        if not temperatures or not all(0 <= t < math.inf for t in temperatures):
            raise UsageError(f"--algo.schedule needs temperatures of 0 or more, at least one, got {list(temperatures)}")
        self.temperatures = [float(t) for t in temperatures]

    def at(self, fraction: float, level: int) -> float:
        """The entry that `fraction` falls in."""
        return self.temperatures[min(int(fraction * len(self.temperatures)), len(self.temperatures) - 1)]


class Called(Fixed):
    """A user's own function.

    Args:
        function: Share of the cycle spent, 0 to 1, to a temperature in units of the scalarised objective.
        name: For messages.
    """

    is_absolute = True

    def __init__(self, function: Callable[[float], float], name: str) -> None:
        self.function = function
        self.name = name

    def at(self, fraction: float, level: int) -> float:
        """What the function gives.

        Raises:
            UsageError: It fails, or gives no number of 0 or more.
        """
        try:
            value = float(self.function(fraction))
        except Exception as error:  # a user's function may fail in any way: the reason is passed on
            raise UsageError(f"schedule {self.name} fails at {fraction:g}: {type(error).__name__}: {error}") from None
        if not 0 <= value < math.inf:
            raise UsageError(f"schedule {self.name} must give temperatures of 0 or more, got {value} at {fraction:g}")
        return value


class LamAdaptive:
    """The temperature follows from a wanted course of the acceptance: up when too few moves are accepted.

    The course is Lam and Delosme's as Swartz made it a function of the share spent: from 1 down to 0.44
    over the first 15 %, 0.44 up to 65 %, then exponentially to 0.001. Source: Boyan 1998, CMU-CS-98-152;
    scaled to the length of the run as in Cicirello 2021, doi:10.3390/app11219828.
    """

    is_absolute = False

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A cycle begins at its start temperature."""
        self._log_ratio = 0.0
        self._acceptance = 0.5

    def at(self, fraction: float, level: int) -> float:
        """Where the control has brought the temperature."""
        return math.exp(self._log_ratio)

    def observe(self, acceptance: float, fraction: float, spent: float) -> None:
        """Compare the running acceptance with the course and move the temperature."""
        self._acceptance += (acceptance - self._acceptance) * -math.expm1(-LAM_MEMORY * spent)
        direction = 1.0 if self._acceptance < self.target(fraction) else -1.0
        self._log_ratio += direction * LAM_RATE * spent

    @staticmethod
    def target(fraction: float) -> float:
        """The wanted acceptance when `fraction` is spent."""
        if fraction < 0.15:
            return float(LAM_TARGET + 0.56 * 560 ** (-fraction / 0.15))
        if fraction < 0.65:
            return LAM_TARGET
        return float(LAM_TARGET * 440 ** (-(fraction - 0.65) / 0.35))


def schedule_of(given: Sequence[float] | str, *, cooling: float | None, end_ratio: float) -> Schedule:
    """The schedule that a user names.

    Args:
        given: A name, temperatures as a list or as text such as `9,3,1`, or `module:function`.
        cooling: Factor a level in place of the geometric schedule over the budget, or None.
        end_ratio: Last temperature as a fraction of the first, for schedules that are spread.

    Raises:
        UsageError: No such schedule or function, or a factor with a schedule that has none.
    """
    if cooling is not None and given != "geometric":
        raise UsageError(
            f"--algo.cooling is a factor of schedule geometric, got it with {given}; leave one of them out"
        )
    listed = _temperatures(given)
    if listed is not None:
        return Listed(listed)
    assert isinstance(given, str)
    if cooling is not None:
        return Cooling(cooling)
    if given in SPREAD:
        return Spread(given, end_ratio=end_ratio)
    if given == "lam":
        return LamAdaptive()
    if ":" not in given:
        wanted = f"{', '.join(NAMES)}, a list of temperatures or module:function"
        raise UsageError(f"--algo.schedule must be one of {wanted}, got {given!r}{nearest(given, NAMES)}")
    return Called(load_object(given, "schedule"), given)


def _temperatures(given: Sequence[float] | str) -> list[float] | None:
    """The numbers of a list, or of text that lists numbers; None for any other text."""
    parts = given.strip("[] ").split(",") if isinstance(given, str) else given
    try:
        return [float(part) for part in parts]
    except (TypeError, ValueError):
        if isinstance(given, str):
            return None
        raise UsageError(f"--algo.schedule needs numbers in its list, got {given}") from None


class Levels:
    """Temperature levels of a growing number of steps.

    Args:
        steps: Steps of the first level.
        growth: Factor of that number from level to level.
        most: Most steps of a level.
    """

    def __init__(self, *, steps: int, growth: float, most: int) -> None:
        self.steps = steps
        self.growth = growth
        self.most = max(most, steps)
        self.begin()

    def begin(self) -> None:
        """Back to the first level."""
        self.level = 0
        self._length = float(self.steps)
        self._done = 0

    @property
    def is_new(self) -> bool:
        """Whether the step to come is the first of its level."""
        return self._done == 0

    def step_done(self) -> None:
        """Count one step."""
        self._done += 1
        if self._done >= min(int(self._length), self.most):
            self.level += 1
            self._length = min(self._length * self.growth, float(self.most))
            self._done = 0

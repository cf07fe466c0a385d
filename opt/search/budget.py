"""How long a search may run."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from opt.console.errors import UsageError
from opt.flags.search_options import SearchOptions, check_option
from opt.search.search_state import State

DEFAULT_N_GEN = 50
LONGEST_DAYS = 3650
"""Ten years: no clock, no timer and no batch system counts without end."""
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_seconds(text: str | float, flag: str = "--time") -> float:
    """Seconds from `90`, `90s`, `10m`, `1.5h`, `2d` or a sum such as `1h30m`.

    Raises:
        UsageError: The text is none of these, or longer than ten years.
    """
    if isinstance(text, (int, float)):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if not parts or "".join(n + u for n, u in parts) != text.strip():
        raise UsageError(f"{flag} must be like 90s, 10m, 1.5h or 1h30m, got {text!r}")
    seconds = sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)
    if seconds > LONGEST_DAYS * _UNITS["d"]:
        raise UsageError(f"{flag} must be at most {LONGEST_DAYS}d, got {text if len(text) < 30 else text[:20] + '...'}")
    return seconds


@dataclass(frozen=True)
class Budget:
    """Limits of one search; the first that is reached ends it.

    Args:
        n_gen: Generations.
        n_eval: Evaluations; candidates that were evaluated before do not count.
        seconds: Wall-clock seconds of search, summed over interruptions.
        patience: Generations without a gain in hypervolume.
        tolerance: Smallest relative gain in hypervolume that counts for `patience`.
    """

    n_gen: int | None = None
    n_eval: int | None = None
    seconds: float | None = None
    patience: int | None = None
    tolerance: float = SearchOptions.tolerance

    def __post_init__(self) -> None:
        for name in ("n_gen", "n_eval", "patience", "tolerance"):
            check_option(name.replace("_", "-"), getattr(self, name))
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise UsageError(f"--time must be longer than 0 and finite, got {self.seconds:g} s")

    @classmethod
    def of(
        cls,
        *,
        n_gen: int | None = None,
        n_eval: int | None = None,
        time: str | float | None = None,
        patience: int | None = None,
        tolerance: float = SearchOptions.tolerance,
    ) -> Budget:
        """A budget from what a user gave; 50 generations when nothing was given."""
        seconds = None if time is None else parse_seconds(time)
        if n_gen is None and n_eval is None and seconds is None and patience is None:
            n_gen = DEFAULT_N_GEN
        return cls(n_gen, n_eval, seconds, patience, tolerance)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the manifest."""
        return asdict(self)

    def reached(self, state: State, *, n_idle: int, is_replaying: bool) -> str:
        """The limit that a search has reached, in words; "" for none.

        Args:
            state: Where the search stands.
            n_idle: Generations in a row without a gain in hypervolume.
            is_replaying: Whether the journal has further records: time then ends nothing.
        """
        if self.n_gen is not None and state.n_gen >= self.n_gen:
            return f"{self.n_gen} generations done"
        if self.n_eval is not None and state.n_eval >= self.n_eval:
            return f"{self.n_eval} evaluations done"
        if self.patience is not None and n_idle >= self.patience:
            return f"hypervolume did not grow for {self.patience} generations"
        if self.seconds is not None and state.seconds >= self.seconds and not is_replaying:
            return f"{self.seconds:g} seconds spent"
        return ""

    def fraction(self, *, n_gen: int, n_eval: int, seconds: float) -> float:
        """Share of the budget that is spent, 0 to 1; patience is not counted."""
        shares = [
            done / limit
            for done, limit in ((n_gen, self.n_gen), (n_eval, self.n_eval), (seconds, self.seconds))
            if limit
        ]
        return min(max(shares, default=0.0), 1.0)


@dataclass
class Stagnation:
    """How long a search has brought nothing new.

    Attributes:
        n_stalled: Generations in a row without a candidate that was not evaluated before.
        n_idle: Generations in a row without a gain in hypervolume.
    """

    n_stalled: int = 0
    n_idle: int = 0
    _best: float = 0.0

    def observe(self, hypervolume: float, n_new: int, *, tolerance: float) -> None:
        """Count a generation.

        Args:
            hypervolume: Behind it.
            n_new: Candidates that were evaluated in it.
            tolerance: Smallest relative gain that counts.
        """
        self.n_stalled = 0 if n_new else self.n_stalled + 1
        self.n_idle = 0 if hypervolume > self._best * (1 + tolerance) else self.n_idle + 1
        self._best = max(self._best, hypervolume)

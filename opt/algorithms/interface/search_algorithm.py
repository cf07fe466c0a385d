"""The one protocol of an algorithm: what the engine tells it and asks of it besides pymoo's ask and tell.

An algorithm of ours, or of yours, is a `SearchAlgorithm` and overrides what it can do; all of it may be left out. A
plain pymoo `Algorithm` is taken as it is: to the engine it can do nothing of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population


class Abilities:
    """What an algorithm may be told and asked, each with what it means to leave it out.

    Attributes:
        keeps_survivors: Whether candidates of earlier generations stay in the population: where objectives change
            their meaning, these are judged again. False where every generation is replaced whole.
        end_reason: Why it has ended, in words, once `has_next()` is False; "" for no reason of its own.
        trace: The row of `trace.csv` behind each `tell`: values by column, the same columns from the first generation
            on; empty for no trace.
        keeps_journal: Whether its generations run inside a library, thousands behind one `ask`: too many to replay.
            What each `ask` did is then recorded (`journal_entry`), and a run that goes on answers from there
            (`replay`). It ends by its own limits: that it offers nothing new for long ends no search.
    """

    keeps_survivors: bool = True
    end_reason: str = ""
    trace: Mapping[str, float | str] = {}
    keeps_journal: bool = False

    def plan(self, *, n_gen: int | None, n_eval: int | None, seconds: float | None) -> None:
        """Called once before the first generation with the run's budget; None for what is not limited."""

    def spend(self, fraction: float) -> None:
        """Called before each generation with the share of the budget that is spent, 0 to 1."""

    @property
    def plans_by_share(self) -> bool:
        """Whether it overrides `spend`: a share of time is then recorded, so that a run replays."""
        return type(self).spend is not Abilities.spend

    def values_changed(self) -> None:
        """Called when objectives have changed their meaning and the population was judged again."""

    def journal_entry(self) -> dict[str, Any]:
        """With `keeps_journal`: what the last `ask` did, plain data; `n_eval` counts the candidates judged inside."""
        raise NotImplementedError

    def replay(self, entry: dict[str, Any]) -> None:
        """With `keeps_journal`: the next `ask` answers from this entry."""
        raise NotImplementedError


class SearchAlgorithm(Abilities, Algorithm):
    """A pymoo algorithm with the abilities above: `_infill` asks, `_advance` tells.

    `_infill()` gives the candidates of a generation, `Population.new("X", X)`. `_advance(infills)` takes them back with
    their values, `infills.get("F")`, and sets `self.pop`, in the first generation `infills` already. Where that
    one is another than the rest, `_initialize_infill` and `_initialize_advance` are overridden. Randomness comes from
    `self.random_state`, which is there from the first candidates on.
    """

    pop: Any

    def _initialize_infill(self) -> Population:
        return self._infill()

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        self._advance(infills=infills, **kwargs)


_NONE = Abilities()


def abilities_of(algorithm: Algorithm) -> Abilities:
    """What the engine may tell and ask an algorithm; nothing of it where it is a plain pymoo one."""
    return algorithm if isinstance(algorithm, Abilities) else _NONE

"""Markov chains evaluated as one batch: what annealing and parallel tempering share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pymoo.core.population import Population

from opt.algorithms.annealing.acceptance import Rule
from opt.algorithms.annealing.calibration import affordable_trials, calibrated_temperature
from opt.algorithms.annealing.moves import MoveMixture
from opt.algorithms.annealing.options import TemperatureOptions
from opt.algorithms.interface.pymoo_operators import repaired
from opt.algorithms.interface.search_algorithm import SearchAlgorithm
from opt.problem import Operators

AHEAD = 0.5
"""Proposals evaluated together, as a share of those it takes to have one accepted."""
RATE_MEMORY = 50.0
"""Proposals over which the running acceptance is measured, which decides how many are evaluated together."""
DEFAULT_STEPS = 1000
"""Without a budget in generations, evaluations or seconds a run is planned for so many steps, then stays cold."""

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]
NAN = float("nan")


class Chains(SearchAlgorithm):
    """Chains that each propose neighbours of their current candidate, one or several a generation.

    Several proposals of a chain are judged one after the other until one is accepted, and the rest, which
    start from a candidate that is left, are not judged: the chain is the one that proposes singly, evaluated
    ahead in a batch. So that few evaluations are lost by that, there are at most half as many as it takes to
    have one accepted at the running acceptance.

    A generation is one of four, named in the trace: `start` samples the candidates; `calibrate` proposes
    moves from them only to measure differences, and leaves them as they are; `restart` samples again; and
    `step` proposes, judges and moves. What was evaluated in any of them may be the best so far.

    The engine tells how much of the budget is spent before each generation (`spend`), and writes `trace`
    after it.

    Args:
        operators: The problem's.
        distance: The problem's.
        n_chains: Number of chains.
        n_proposals: Most proposals of each chain that are evaluated together.
        mixture: Moves.
        rule: Which proposals are accepted.
        temperature: The start temperature, or how it is calibrated.
    """

    opt: Any
    pop: Any

    def __init__(
        self,
        operators: Operators,
        distance: Distance,
        *,
        n_chains: int,
        n_proposals: int = 1,
        mixture: MoveMixture,
        rule: Rule,
        temperature: TemperatureOptions,
    ) -> None:
        super().__init__()
        self.operators = operators
        self.distance = distance
        self.n_chains = n_chains
        self.n_proposals = n_proposals
        self.mixture = mixture
        self.rule = rule
        self.start_temperature = temperature.start_temperature
        self.acceptance = temperature.acceptance
        self.phase = "start"
        self.spent: float | None = 0.0
        self.level = 0
        self.bests: Any = None
        self._best: Any = None
        self.trace: dict[str, float | str] = {}
        self._trials = temperature.calibration if self.start_temperature is None else 0
        self._group = np.zeros(n_chains, dtype=np.int64)
        self._from = np.zeros((0, 0))
        self._steps_done = 0
        self._rate = 1.0
        self._has_budget = False

    # -- what the engine tells ----------------------------------------------------------------------

    def plan(self, *, n_gen: int | None, n_eval: int | None, seconds: float | None) -> None:
        """The run's budget, before the first generation."""
        self._has_budget = n_gen is not None or n_eval is not None or seconds is not None
        # a generation has one proposal a chain at least
        planned = [n for n in (n_eval, None if n_gen is None else n_gen * self.n_chains) if n is not None]
        self._trials = affordable_trials(self._trials, min(planned) if planned else None)

    def spend(self, fraction: float) -> None:
        """The share of the budget that is spent, 0 to 1, before each generation."""
        self.spent = fraction if self._has_budget else min(self._steps_done / DEFAULT_STEPS, 1.0)

    def values_changed(self) -> None:
        """Objectives changed their meaning and the current candidates were judged again: older values are void."""
        self._best = None
        self._begin_from_current()

    # -- what a kind of annealing says -----------------------------------------------------------------

    def temperatures(self) -> np.ndarray:
        """(n_chains,) temperatures of the step under way; infinite while none is known."""
        raise NotImplementedError

    def next_phase(self) -> str:
        """What comes next: "step" or "restart"."""
        return "step"

    def after_step(self, accepted: np.ndarray, difference: np.ndarray, distance: np.ndarray) -> None:
        """A step is done: (n,) accepted, difference from the current value, and distance of the proposals judged."""

    def more_trace(self) -> dict[str, float]:
        """Further columns of the trace; the same ones every time."""
        return {}

    # -- pymoo's interface --------------------------------------------------------------------------------

    def _initialize_infill(self) -> Population:
        return self._sample("start")

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        # a population of its own: the engine may hold the infills
        self.pop = infills.copy()
        self._begin_anew()

    def _infill(self) -> Population:
        calibrates = self.start_temperature is None and self._trials > 0
        self.phase = "calibrate" if calibrates else self.next_phase()
        if self.phase == "restart":
            return self._sample("restart")
        ahead = min(self.n_proposals, max(1, int(AHEAD / self._rate)))
        rows = np.arange(self._trials if calibrates else self.n_chains * ahead) % self.n_chains
        self._from = np.array([self.pop[i].X for i in rows])
        Y = self.mixture.propose(self._from, self._group[rows], self.level, self.random_state)
        return repaired(self.operators, Y)

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        if self.phase == "restart":
            for i in range(self.n_chains):
                self.pop[i] = infills[i]
            self._begin_anew()
        elif self.phase == "calibrate":
            self._calibrate(infills)
        else:
            self._step(infills)

    def _set_optimum(self) -> None:
        if self.opt is None or self.opt[0] is not self._best:
            self.opt = Population.create(self._best)

    # -- the generations ------------------------------------------------------------------------------------

    def _sample(self, phase: str) -> Population:
        self.phase = phase
        return repaired(self.operators, self.operators.sampling(self.n_chains, self.random_state))

    def _begin_anew(self) -> None:
        """The current candidates are new: nothing that was learnt from the old ones holds."""
        self._rate = 1.0
        self._begin_from_current()
        self._write(np.full(self.n_chains, NAN), np.zeros(0, dtype=bool), np.zeros(self.n_chains))

    def _begin_from_current(self) -> None:
        self.bests = self.pop.copy()
        for candidate in self.bests:
            self._keep_best(candidate)
        self.rule.begin(self._current()[0])

    def _calibrate(self, infills: Any) -> None:
        F, CV = _values(infills)
        rows = np.arange(len(F)) % self.n_chains
        current = self._current()[0]
        self.start_temperature = calibrated_temperature(F - current[rows], self.acceptance)
        self._trials = 0
        for i, row in enumerate(rows):
            self._keep_better(int(row), infills[i], F[i], CV[i])
        distance = self.distance(self._from, _candidates(infills))
        self._write(distance, np.zeros(0, dtype=bool), np.full(self.n_chains, NAN))

    def _step(self, infills: Any) -> None:
        rng = self.random_state
        assert rng is not None
        F, CV = _values(infills)
        chain = np.arange(len(F)) % self.n_chains
        current, violation = (values[chain] for values in self._current())
        difference = F - current
        if self.start_temperature is None:
            # no trials, or they found a flat landscape: the first step that shows differences is measured
            self.start_temperature = calibrated_temperature(difference, self.acceptance)
        temperature = self.temperatures()
        accepted = self.rule.accepts(F - self.rule.reference(current), temperature[chain], rng)
        # a candidate that breaks a constraint is accepted only from one that breaks it as much or more
        worse = CV - violation
        accepted = np.where(worse > 0, False, np.where(worse < 0, True, accepted))
        judged = _until_accepted(accepted.reshape(-1, self.n_chains)).ravel()
        accepted &= judged
        share = accepted.sum() / judged.sum()
        self._rate = max(self._rate + (share - self._rate) * -np.expm1(-judged.sum() / RATE_MEMORY), 1e-6)
        self.mixture.learn(judged, accepted, difference)
        self.rule.observe(F)
        distance = self.distance(self._from, _candidates(infills))
        for i in np.flatnonzero(accepted):
            self.pop[chain[i]] = infills[i]
            self._keep_better(int(chain[i]), infills[i], F[i], CV[i])
        for i in np.flatnonzero(~judged):
            self._keep_better(int(chain[i]), infills[i], F[i], CV[i])
        self._steps_done += 1
        self.after_step(accepted[judged], difference[judged], distance[judged])
        self._write(distance[judged], accepted[judged], temperature, judged)

    def _keep_better(self, chain: int, candidate: Any, f: float, violation: float) -> None:
        """Note the best candidate that a chain has seen since it began."""
        best = self.bests[chain]
        if (violation, f) < (best.CV[0], best.F[0]):
            self.bests[chain] = candidate
            self._keep_best(candidate)

    def _keep_best(self, candidate: Any) -> None:
        """Note the best candidate of all, however often the chains began anew."""
        best = self._best
        if best is None or (candidate.CV[0], candidate.F[0]) < (best.CV[0], best.F[0]):
            self._best = candidate

    def _current(self) -> tuple[np.ndarray, np.ndarray]:
        return _values(self.pop)

    # -- the trace ------------------------------------------------------------------------------------------

    def _write(
        self, distance: np.ndarray, accepted: np.ndarray, temperature: np.ndarray, judged: np.ndarray | None = None
    ) -> None:
        """Set the trace's row of this generation; values are of the scalarised objective, minimised."""
        current = self._current()[0]
        is_step = self.phase == "step"
        moved = self.phase in ("step", "calibrate")
        assert self._best is not None
        self.trace = {
            "phase": self.phase,
            "temperature": self.shown_temperature(temperature) if is_step else NAN,
            "acceptance": float(accepted.mean()) if is_step else NAN,
            "step": _mean(self.mixture.step) if moved else NAN,
            "distance": _mean(distance),
            "current": self.shown_current(current),
            "current_best": float(current.min()),
            "best": float(self._best.F[0]),
            **self.more_trace(),
        }
        counts = [0] * (2 * len(self.mixture.names)) if judged is None else self.mixture.counts(judged, accepted)
        for k, name in enumerate(self.mixture.names):
            self.trace[f"proposed_{name}"] = counts[2 * k]
            self.trace[f"accepted_{name}"] = counts[2 * k + 1]

    def shown_temperature(self, temperature: np.ndarray) -> float:
        """The trace's temperature, from those of the chains."""
        return float(temperature[0])

    def shown_current(self, current: np.ndarray) -> float:
        """The trace's current value, from those of the chains."""
        return float(current.mean())


def _values(population: Any) -> tuple[np.ndarray, np.ndarray]:
    """F and constraint violation of a population, (n,) each."""
    return np.array([p.F[0] for p in population]), np.array([p.CV[0] for p in population])


def _until_accepted(accepted: np.ndarray) -> np.ndarray:
    """Which proposals of (n_proposals, n_chains) come up to be judged: those before and with the first accepted."""
    earlier = np.cumsum(accepted, axis=0) - accepted
    return earlier == 0


def _candidates(population: Any) -> np.ndarray:
    return np.array([p.X for p in population])


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else NAN

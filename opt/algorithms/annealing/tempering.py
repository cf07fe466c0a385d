"""Parallel tempering: chains at fixed temperatures that exchange their candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

from opt.algorithms.annealing.chains import NAN, Chains
from opt.algorithms.annealing.options import LadderOptions

FIRST_ROUND = 20
"""Steps before the ladder is tuned for the first time; each round is twice as long as the one before."""
LEAST_REJECTION = 1e-3
"""A pair of rungs that never rejects still counts so much, so that rungs stay apart."""


def ladder(hottest: float, coldest: float, n: int) -> np.ndarray:
    """(n,) temperatures from the coldest to the hottest in equal ratios."""
    return np.geomspace(coldest, hottest, n)


def swap_probabilities(F: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    """Probability that neighbouring rungs exchange their candidates: min(1, exp((1/T_k - 1/T_k+1)(F_k - F_k+1))).

    Args:
        F: (n,) current values, minimised.
        temperatures: (n,), ascending.

    Returns:
        (n - 1,) float64.

    Source: Hukushima and Nemoto 1996, doi:10.1143/JPSJ.65.1604.
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        exponent = np.diff(-1 / temperatures) * -np.diff(F)
    return np.asarray(np.exp(np.minimum(np.nan_to_num(exponent, nan=0.0), 0.0)))


def tuned_ladder(temperatures: np.ndarray, rejection: np.ndarray) -> np.ndarray:
    """Temperatures between the same ends at which all pairs of rungs reject alike.

    The sum of the rejections from the coldest rung up is a function of log T; the new rungs divide its
    range into equal parts, by linear interpolation.

    Args:
        temperatures: (n,), ascending.
        rejection: (n - 1,) mean rejection of exchanges between neighbours, 0 to 1.

    Returns:
        (n,) temperatures, ascending.

    Source: Syed et al. 2022, doi:10.1111/rssb.12464, sec. 5. Differs: interpolation over log T instead of a
    monotone cubic over 1/T, as temperatures of a search span decades.
    """
    barrier = np.concatenate([[0.0], np.cumsum(np.maximum(rejection, LEAST_REJECTION))])
    wanted = np.linspace(0.0, barrier[-1], len(temperatures))
    tuned = np.exp(np.interp(wanted, barrier, np.log(temperatures)))
    tuned[[0, -1]] = temperatures[[0, -1]]
    return np.asarray(tuned)


class ParallelTempering(Chains):
    """Chains on a ladder of temperatures; after a step neighbouring rungs may exchange their candidates.

    Even and odd pairs are tried in turn, which carries candidates over the ladder fastest (Syed et al. 2022,
    doi:10.1111/rssb.12464); the ladder is tuned by the measured rejection in rounds that double in length.
    Chain 0 is the coldest.

    Args:
        operators: The problem's.
        distance: The problem's.
        temperature: The ladder, its exchanges and its tuning.
        **more: As of Chains.
    """

    def __init__(self, *args: Any, temperature: LadderOptions, **more: Any) -> None:
        super().__init__(*args, temperature=temperature, **more)
        self.options = temperature
        self.ladder: np.ndarray | None = None
        # steps are learnt for each rung: hot chains take larger ones
        self._group = np.arange(self.n_chains)
        self._rejection = np.zeros(self.n_chains - 1)
        self._n_measured = 0
        self._round = FIRST_ROUND
        self._is_odd = False
        self._swapped = NAN

    def temperatures(self) -> np.ndarray:
        """The ladder, once the hottest temperature is known."""
        if self.ladder is None:
            if self.start_temperature is None:
                return np.full(self.n_chains, np.inf)
            hottest = self.start_temperature
            self.ladder = ladder(hottest, hottest * self.options.end_ratio, self.n_chains)
        return self.ladder

    def after_step(self, accepted: np.ndarray, difference: np.ndarray, distance: np.ndarray) -> None:
        """Exchange, measure, and tune the ladder when a round is over."""
        self._swapped = NAN
        if self.ladder is None or self._steps_done % self.options.swap_steps:
            return
        rng = self.random_state
        assert rng is not None
        F, CV = self._current()
        # between candidates that break constraints, the one that breaks them less belongs to the colder rung
        probability = np.where(np.diff(CV) < 0, 1.0, np.where(np.diff(CV) > 0, 0.0, swap_probabilities(F, self.ladder)))
        self._rejection += 1 - probability
        self._n_measured += 1
        pairs = np.arange(int(self._is_odd), self.n_chains - 1, 2)
        self._is_odd = not self._is_odd
        taken = pairs[rng.random(len(pairs)) < probability[pairs]]
        for k in taken:
            self.pop[k], self.pop[k + 1] = self.pop[k + 1], self.pop[k]
        self._swapped = len(taken) / len(pairs) if len(pairs) else NAN
        if self.options.tune and self._n_measured >= self._round:
            self.ladder = tuned_ladder(self.ladder, self._rejection / self._n_measured)
            self._rejection[:] = 0.0
            self._n_measured = 0
            self._round *= 2

    def more_trace(self) -> dict[str, float]:
        """The share of exchanges tried that took place, and the hottest temperature."""
        known = self.ladder is not None and self.phase == "step"
        return {"hottest": float(self.ladder[-1]) if known and self.ladder is not None else NAN, "swaps": self._swapped}

    def shown_current(self, current: np.ndarray) -> float:
        """That of the coldest chain."""
        return float(current[0])

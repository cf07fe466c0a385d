"""A mixture of moves: which is proposed, with what step, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from opt.console.errors import UsageError, nearest
from opt.problem import Move, Operators

StepRule = Literal["adaptive", "decay", "varied", "full"]

GAIN = 0.05
"""Change of log(step) for a proposal whose acceptance is 1 away from what is wanted."""
LARGEST_CHANGE = 0.7
"""Most that log(step) changes after one batch."""
MEMORY = 200.0
"""Proposals over which the quality of a move is remembered."""
LEAST_SHARE = 0.05
"""What every move keeps of its stated share, however little it brings."""


def moves_of(operators: Operators) -> dict[str, Move]:
    """The problem's moves; its mutation alone where it has none.

    Raises:
        UsageError: It has neither.
    """
    if operators.moves:
        return dict(operators.moves)
    if operators.mutation is None:
        raise UsageError("annealing needs the problem's moves or its mutation, and it has neither")
    return {"mutation": Move(operators.mutation)}


def chosen_moves(moves: Mapping[str, Move], text: str) -> tuple[dict[str, Move], np.ndarray]:
    """The moves that a user names, and the share of each.

    Args:
        moves: The problem's, by name.
        text: Names with optional weights, as in `swap:3,inversion`; `all` takes all of them alike.

    Returns:
        The moves by name, and their shares, (n,) with sum 1.

    Raises:
        UsageError: A name that the problem has not, or weights that are no shares.
    """
    if text == "all":
        return dict(moves), np.full(len(moves), 1 / len(moves))
    if not isinstance(text, str):
        raise UsageError(f"--algo.moves needs names, such as swap:3,inversion, got {text!r}")
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition(":")
        if name not in moves:
            known = ", ".join(moves)
            raise UsageError(f"--algo.moves: the problem has no move {name!r}{nearest(name, moves)}; it has {known}")
        try:
            weights[name] = float(weight or 1)
        except ValueError:
            raise UsageError(f"--algo.moves needs numbers as weights, such as swap:3,inversion, got {text!r}") from None
    total = sum(weights.values())
    if min(weights.values()) < 0 or not 0 < total < math.inf:
        raise UsageError(f"--algo.moves needs weights of 0 or more and not all 0, got {text!r}")
    kept = {name: moves[name] for name, weight in weights.items() if weight > 0}
    return kept, np.array([weights[name] / total for name in kept])


class Steps:
    """The size of moves that have one, a share of the largest, for each move and each group of chains.

    - adaptive: driven by acceptance: larger when more proposals are accepted than wanted, else smaller.
      Corana et al. 1987, doi:10.1145/29380.29864, whose rule acts every so many steps on one coordinate;
      here a small change of the logarithm follows every proposal.
    - decay: decay ** level, from 1 again when it falls below the smallest: a sawtooth.
    - varied: log-uniform between the smallest and 1, drawn for each proposal.
    - full: 1.

    Args:
        rule: One of these.
        n_moves: Number of moves.
        n_groups: Number of groups of chains that share their sizes.
        target: Wanted acceptance (adaptive).
        decay: Factor a level (decay).
        smallest: Least step, in (0, 1].
    """

    def __init__(
        self, rule: StepRule, *, n_moves: int, n_groups: int, target: float, decay: float, smallest: float
    ) -> None:
        self.rule = rule
        self.target = target
        self.decay = decay
        self.smallest = smallest
        self._log = np.zeros((n_moves, n_groups))
        # a level too far never comes: without decay the tooth has no end
        self._tooth = math.inf if decay >= 1 else math.floor(math.log(smallest) / math.log(decay) + 1e-9) + 1

    def begin(self) -> None:
        """A cycle begins with the largest steps."""
        self._log[:] = 0.0

    def draw(self, which: np.ndarray, group: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
        """(n,) steps of the moves `which` by chains of the groups `group`, (n,) each."""
        if self.rule == "adaptive":
            return np.asarray(np.exp(self._log[which, group]))
        if self.rule == "varied":
            return np.asarray(self.smallest ** rng.random(len(which)))
        if self.rule == "full" or self._tooth is math.inf:
            return np.ones(len(which))
        return np.full(len(which), max(self.decay ** (level % self._tooth), self.smallest))

    def learn(self, which: np.ndarray, group: np.ndarray, accepted: np.ndarray) -> None:
        """Take in which proposals were accepted, (n,) bool."""
        if self.rule != "adaptive":
            return
        change = np.zeros_like(self._log)
        np.add.at(change, (which, group), GAIN * (accepted - self.target))
        self._log += np.clip(change, -LARGEST_CHANGE, LARGEST_CHANGE)
        np.clip(self._log, math.log(self.smallest), 0.0, out=self._log)


class Quality:
    """Shares of moves that follow what they achieved.

    A move's quality is the sum of |difference| over its accepted proposals, divided by its proposals; old
    ones fade. Shares are in proportion to share stated times quality, once every move was tried.

    Source: Hustin and Sangiovanni-Vincentelli 1987, "TIM, a new standard cell placement program based on
    the simulated annealing algorithm", IEEE Physical Design Workshop.

    Args:
        shares: (n,) stated shares, sum 1.
    """

    def __init__(self, shares: np.ndarray) -> None:
        self.stated = shares
        self._gained = np.zeros(len(shares))
        self._tried = np.zeros(len(shares))

    @property
    def shares(self) -> np.ndarray:
        """(n,) shares now, sum 1."""
        quality = self.stated * self._gained / np.maximum(self._tried, 1e-12)
        if (self._tried < 1e-9).any() or quality.sum() <= 0 or not np.isfinite(quality.sum()):
            return self.stated
        return np.asarray(LEAST_SHARE * self.stated + (1 - LEAST_SHARE) * quality / quality.sum())

    def learn(self, which: np.ndarray, gain: np.ndarray) -> None:
        """Take in proposals of the moves `which`, (n,), and their |difference|, (n,), 0 where refused."""
        keep = math.exp(-len(which) / MEMORY)
        self._gained = keep * self._gained + np.bincount(which, weights=gain, minlength=len(self.stated))
        self._tried = keep * self._tried + np.bincount(which, minlength=len(self.stated))


class MoveMixture:
    """Proposes a neighbour of every candidate, each by one of several moves.

    Args:
        moves: By name.
        shares: (n,) share of each move, sum 1.
        steps: Sizes of the moves that have one.
        by_quality: Whether shares follow what the moves achieved.

    Attributes:
        which: (n,) index of the move of each proposal of the last batch.
        step: (n,) its step; NaN for moves without.
    """

    def __init__(self, moves: Mapping[str, Move], shares: np.ndarray, steps: Steps, *, by_quality: bool) -> None:
        self.names = tuple(moves)
        self.moves = tuple(moves.values())
        self.steps = steps
        self.shares = shares
        self.quality = Quality(shares) if by_quality and len(moves) > 1 else None
        self.which = np.zeros(0, dtype=np.int64)
        self.step = np.zeros(0)
        self._sized = np.array([move.has_step for move in self.moves])
        self._group = np.zeros(0, dtype=np.int64)

    def propose(self, X: np.ndarray, group: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
        """A neighbour of each row of X, (n, n_var), by chains of the groups `group`, (n,); X is not changed."""
        n = len(X)
        self._group = group
        if len(self.moves) == 1:
            self.which = np.zeros(n, dtype=np.int64)
        else:
            shares = self.quality.shares if self.quality else self.shares
            edges = np.cumsum(shares)[:-1]
            self.which = np.searchsorted(edges, rng.random(n), side="right")
        self.step = np.full(n, np.nan)
        sized = self._sized[self.which]
        if sized.any():
            self.step[sized] = self.steps.draw(self.which[sized], group[sized], level, rng)
        if len(self.moves) == 1:
            return self._apply(0, X, self.step, rng)
        Y = X.copy()
        for k in range(len(self.moves)):
            rows = np.flatnonzero(self.which == k)
            if len(rows):
                Y[rows] = self._apply(k, X[rows], self.step[rows], rng)
        return Y

    def _apply(self, k: int, X: np.ndarray, step: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        move = self.moves[k]
        return move.apply(X, step, rng) if move.has_step else move.apply(X, rng)

    def learn(self, judged: np.ndarray, accepted: np.ndarray, difference: np.ndarray) -> None:
        """Take in what became of the last batch.

        Args:
            judged: (n,) bool, which proposals were judged.
            accepted: (n,) bool, which of them were accepted.
            difference: (n,) value of the proposal minus value of the current candidate.
        """
        sized = self._sized[self.which] & judged
        if sized.any():
            self.steps.learn(self.which[sized], self._group[sized], accepted[sized])
        if self.quality:
            self.quality.learn(self.which[judged], np.where(accepted, np.abs(difference), 0.0)[judged])

    def counts(self, judged: np.ndarray, accepted: np.ndarray) -> list[int]:
        """Judged proposals of the last batch and accepted ones, alternating, move by move.

        Args:
            judged: (n,) bool.
            accepted: (m,) bool, for those judged.
        """
        which = self.which[judged]
        proposed = np.bincount(which, minlength=len(self.moves))
        taken = np.bincount(which[accepted], minlength=len(self.moves))
        return np.column_stack([proposed, taken]).ravel().tolist()

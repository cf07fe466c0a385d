"""Proof before a search: what `evaluate` says of a candidate is what its network, saved and loaded again, gives."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from safetensors.torch import load, save
from torch import Tensor, nn

from opt.problem import Objective
from problems.data.examples import Examples
from problems.workloads.identity import update_with_network
from problems.workloads.plain_network import tensors_of
from problems.workloads.workload import Workload

N_RANDOM = 4
CHANGED = "evaluation changes the workload's network or examples"


class Verifiable(Protocol):
    """What a problem on a workload brings to be verified."""

    workload: Workload
    objectives: Sequence[Objective]

    def evaluate(self, X: np.ndarray) -> Any:
        """(n, n_obj) objectives of (n, n_var) candidates, the fast way; or these and the values of constraints."""

    def decode(self, x: np.ndarray) -> nn.Module:
        """The network that a candidate stands for."""

    def rebuilt(self, state: dict[str, Tensor], x: np.ndarray) -> nn.Module:
        """A network made anew from the tensors of `decode(x)` alone."""

    def judged(self, network: nn.Module, x: np.ndarray) -> np.ndarray:
        """(n_obj,) objectives of a decoded network, by a plain loop and by counting on the module."""

    def tolerances(self) -> np.ndarray:
        """(n_obj,) largest difference of each objective that is no disagreement; relative beyond values of 1."""


@dataclass(frozen=True)
class Disagreement:
    """Where a fast evaluation is not what the saved network gives.

    Args:
        what: In what two values differ, or what else is wrong.
        objective: Its name; "" where no values differ.
        said: The value of `evaluate`.
        true: The other value.
    """

    what: str
    objective: str = ""
    said: float = math.nan
    true: float = math.nan

    def __str__(self) -> str:
        if not self.objective:
            return self.what
        return f"{self.what}: {self.objective} is {self.true:.6g} and evaluate says {self.said:.6g}"


def candidates_to_verify(sample: np.ndarray, extremes: np.ndarray | None = None, *, n: int = N_RANDOM) -> np.ndarray:
    """At most n random candidates and the extreme ones, and more random ones until every variable differs somewhere.

    Args:
        sample: (m, n_var) candidates of the problem's sampling, m >= 1.
        extremes: (k, n_var) candidates at the ends of the space, or None.
        n: Random ones, at least.
    """
    chosen = list(range(min(n, len(sample))))
    if sample.dtype != object:
        for k in range(n, len(sample)):
            still = (sample[chosen] == sample[chosen[0]]).all(axis=0)
            if not still.any():
                break
            if (sample[k] != sample[chosen[0]])[still].any():
                chosen.append(k)
    X = sample[chosen]
    return X if extremes is None else np.concatenate([X, np.asarray(extremes, dtype=sample.dtype)])


def verify(problem: Verifiable, X: np.ndarray) -> list[Disagreement]:
    """Where evaluation in a batch, alone, in another order, and the saved network itself disagree on candidates.

    Args:
        problem: What is verified.
        X: (n, n_var) candidates; left as they are.

    Returns:
        Every disagreement; none where the fast way is true, and the workload is as it was.
    """
    work = problem.workload
    before = _digest(work)
    F = _objectives(problem, X)
    alone = np.concatenate([_objectives(problem, X[k : k + 1]) for k in range(len(X))])
    backwards = _objectives(problem, X[::-1])[::-1]
    judged = []
    for x in X:
        network = problem.decode(x)
        state = {name: tensor.contiguous().clone() for name, tensor in tensors_of(network).items()}
        judged.append(problem.judged(problem.rebuilt(load(save(state)), x), x))
    found = [
        *_differing("alone", problem, F, alone),
        *_differing("in another order", problem, F, backwards),
        *_differing("saved and loaded again", problem, F, np.array(judged)),
    ]
    if _digest(work) != before:
        found.append(Disagreement(CHANGED))
    return found


def _objectives(problem: Verifiable, X: np.ndarray) -> np.ndarray:
    """Objectives without the values of constraints."""
    values = problem.evaluate(X.copy())
    return values[0] if isinstance(values, tuple) else values


def _differing(what: str, problem: Verifiable, said: np.ndarray, true: np.ndarray) -> list[Disagreement]:
    tolerances = problem.tolerances()
    result = []
    for k, objective in enumerate(problem.objectives):
        a, b = said[:, k], true[:, k]
        with np.errstate(invalid="ignore"):  # infinite values are equal or not
            same = (
                (np.abs(a - b) <= tolerances[k] * np.maximum(1.0, np.abs(b))) | (a == b) | (np.isnan(a) & np.isnan(b))
            )
        if not same.all():
            row = int(np.flatnonzero(~same)[np.argmax(np.abs(a - b)[~same])])
            result.append(Disagreement(what, objective.name, float(a[row]), float(b[row])))
    return result


def _digest(work: Workload) -> str:
    digest = hashlib.blake2b()
    update_with_network(digest, work.network)
    few: Examples = work.search
    few.update(digest)
    return digest.hexdigest()

"""What tasks on a workload share: a fast evaluation that proves itself, or gives way to the plain one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from opt.algorithms.interface.checked_operators import operators_of
from opt.console.errors import UsageError
from opt.problem import CompressionProblem
from problems.workloads.verifying import CHANGED, N_RANDOM, Disagreement, candidates_to_verify, verify
from problems.workloads.workload import Workload

_SAMPLE = 16
_DEAR = 200_000_000
"""Parameters times examples, from which on a proof takes four candidates: a pass of the network takes seconds."""


class NetworkProblem(CompressionProblem):
    """A task whose candidates are smaller forms of a workload's network.

    A subclass has `fast` and `judged`; `evaluate` takes the first while it is true, else the second for each candidate.

    Attributes:
        workload: What is compressed.
        is_whole: Whether decoded networks are evaluated whole, because the fast way is not true of this network.
    """

    workload: Workload
    is_whole = False

    def fast(self, X: np.ndarray) -> np.ndarray:
        """(n, n_obj) objectives of (n, n_var) candidates, sharing what they have in common."""
        raise NotImplementedError

    def judged(self, network: nn.Module, x: np.ndarray) -> np.ndarray:
        """(n_obj,) objectives of a decoded network, by a plain loop and by counting."""
        raise NotImplementedError

    def rebuilt(self, state: dict[str, Tensor], x: np.ndarray) -> nn.Module:
        """A network made anew from the state of `decode(x)`."""
        raise NotImplementedError

    def tolerances(self) -> np.ndarray:
        """(n_obj,) differences that rounding may make: one example for errors, 1e-4 for losses."""
        error = 1.0 / len(self.workload.search) + 1e-9
        return np.array([error if o.name == "error" else 1e-4 * max(1.0, abs(o.worst or 1.0)) for o in self.objectives])

    def extremes(self) -> np.ndarray | None:
        """(k, n_var) candidates at the ends of the space, or None."""
        return None

    def about(self) -> list[str]:
        """Lines that a user should know of the workload, before the search."""
        return []

    def evaluate(self, X: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        """Objectives of (n, n_var) candidates on the search split: (n, n_obj) float64."""
        return self.objectives_of(X)

    def objectives_of(self, X: np.ndarray) -> np.ndarray:
        """The same by the fast way, or of decoded networks."""
        if self.is_whole:
            return np.array([self.judged(self.decode(x), x) for x in X])
        return self.fast(X)

    def to_verify(self, sample: np.ndarray) -> np.ndarray:
        """Candidates that are proved, of (n, n_var) from the sampling and the extremes; few where a pass is dear."""
        X = candidates_to_verify(sample, self.extremes())
        n_weights = sum(p.numel() for p in self.workload.network.parameters())
        if n_weights * len(self.workload.search) < _DEAR or len(X) <= N_RANDOM:
            return X
        return np.concatenate([X[: N_RANDOM // 2], X[-N_RANDOM // 2 :]])

    def verify(self, rng: np.random.Generator) -> Sequence[str]:
        """Prove that `evaluate` is what saved networks give; where the fast way is not, decoded networks are judged.

        Raises:
            UsageError: Not even these are what is saved.
        """
        sample = operators_of(self).sampling(_SAMPLE, rng)
        X = self.to_verify(sample)
        notes = [*self.workload.notes, *self.about()]
        found = self._disagreements(X)
        if not found:
            return notes
        if found[-1].what == CHANGED:
            raise UsageError(f"this network cannot be judged truly: {found[-1]}")
        self.run_whole()
        if still := self._disagreements(X):
            raise UsageError(f"this network cannot be judged truly: {still[0]}; leave layers out with --problem.layers")
        return [*notes, f"the fast evaluation is not true of this network ({found[0]}): networks are run whole"]

    def run_whole(self) -> None:
        """From now on judge decoded networks; a subclass forgets what its fast way has said."""
        self.is_whole = True

    def _disagreements(self, X: np.ndarray) -> list[Disagreement]:
        try:
            return verify(self, X)
        except UsageError:
            raise
        except Exception as error:  # a user's network may fail in any way that the fast evaluation does not foresee
            return [Disagreement(f"it fails: {type(error).__name__}: {' '.join(str(error).split())}")]

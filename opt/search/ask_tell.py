"""The algorithm's side of a search: it is built, asked for candidates, and told their values."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.core.termination import NoTermination
from pymoo.termination.max_gen import MaximumGenerationTermination

from opt.algorithms import AlgorithmSpec, build_algorithm
from opt.algorithms.interface.random_state import IsolatedGlobalRandom
from opt.algorithms.interface.search_algorithm import abilities_of
from opt.algorithms.interface.warm_start import Start, offering
from opt.console.errors import UsageError
from opt.problem import CompressionProblem
from opt.problem.hooks import HookError, fingerprint_of, reason_of, user_code
from opt.problem.user_code import guarded
from opt.search.budget import Budget
from opt.search.scalarise import Scalariser
from opt.search.search_state import Silent, View

LARGEST_VIOLATION = 1e30
"""What a constraint that could not be computed counts in a candidate's violation."""


class AskTell:
    """One algorithm, set up for one problem. What it raises is told in one line.

    Args:
        problem: What is searched.
        spec: What builds it.
        parameters: What it is built with, by name.
        seed: Of its generator.
        budget: The run's, which it may plan by.
        scalariser: How it sees several objectives as one; None where it sees them all.
        start: Candidates that its first sampling begins with.
        callback: As of `opt.search.engine.Search`.

    Attributes:
        algorithm: pymoo's algorithm.
        abilities: What it may be told and asked besides.
        has_ended: Whether it has said that it has no more candidates.
    """

    def __init__(
        self,
        problem: CompressionProblem,
        spec: AlgorithmSpec,
        parameters: dict[str, Any],
        *,
        seed: int,
        budget: Budget,
        scalariser: Scalariser | None,
        start: Start | None,
        callback: Callable[[Any], Any] | None,
    ) -> None:
        self.problem = problem
        self.scalariser = scalariser
        self.has_ended = False
        self.fingerprint = fingerprint_of(problem)
        self._name = spec.name
        self._asked: Any = None
        self._columns: list[str] | None = None
        self._is_rounded = problem.representation == "integer" and spec.rounds
        # what draws from generators that it was not given draws from the run's seed too
        self._isolated = IsolatedGlobalRandom(seed) if spec.is_foreign else None
        with offering(problem, None if start is None else start.ordered(scalariser), spec.name):
            self.algorithm = build_algorithm(spec, problem, parameters)
        self.abilities = abilities_of(self.algorithm)
        # none that ends anything: the engine does; but some of pymoo's objects plan by the number of generations
        plans = budget.n_gen is not None and spec.is_foreign
        with self._calling("plan"):
            self.abilities.plan(n_gen=budget.n_gen, n_eval=budget.n_eval, seconds=budget.seconds)
        with self._calling("setup"):
            self.algorithm.setup(
                View(problem, n_obj=1 if scalariser else problem.n_obj),
                seed=seed,
                termination=MaximumGenerationTermination(budget.n_gen) if plans else NoTermination(),
                display=Silent(),
                **({} if callback is None else {"callback": _guarded_callback(callback)}),
            )

    @contextlib.contextmanager
    def _calling(self, step: str) -> Iterator[None]:
        """The algorithm's code: what it raises is told in one line, and its generators are the run's."""
        with self._isolated or contextlib.nullcontext():
            try:
                with guarded():
                    yield
            except UsageError:
                raise
            except Exception as error:
                raise HookError(f"algorithm {self._name} failed in {step}: {reason_of(error)}") from error

    # -- ask --------------------------------------------------------------------------------------

    def ask(self, pending: dict[str, Any] | None) -> Any:
        """The next candidates, as a population; None at the algorithm's own end.

        Args:
            pending: The journal's record of this generation where it is replayed: an algorithm that keeps a journal
                answers from its own entry in it.

        Raises:
            UsageError: The record has no such entry.
        """
        with self._calling("has_next"):
            self.has_ended = not self.algorithm.has_next()
        if self.has_ended:
            return None
        if self.abilities.keeps_journal and pending is not None:
            if "algo" not in pending:
                raise UsageError(
                    f"the run does not replay: generation {pending['gen']} lacks the algorithm's own entry; "
                    "resume with the program version that began it"
                )
            self.abilities.replay(pending["algo"])
        with self._calling("ask"):
            asked = self.algorithm.ask()
        # some of pymoo's local searches ask for one individual, and want to be told of it as one
        self._asked = asked
        return Population.create(asked) if isinstance(asked, Individual) else asked

    def candidates(self, population: Any) -> np.ndarray:
        """(n, n_var) a population's candidates as the problem takes them."""
        X = population.get("X")
        if self._isolated is not None:
            self._check_kind(X)
        return np.clip(np.rint(X), self.problem.xl, self.problem.xu).astype(np.int64) if self._is_rounded else X

    def _check_kind(self, X: np.ndarray) -> None:
        """Refuse candidates of a pymoo object that the problem cannot take, such as reals where it has bits."""
        kind = self.problem.representation
        fitting = {"real": "f", "integer": "iuf", "binary": "b", "permutation": "iu"}.get(kind, "O")
        if X.dtype.kind not in fitting or X.ndim != 2:
            raise UsageError(
                f"{self._name} proposes candidates of dtype {X.dtype} and the problem needs {kind} ones; "
                "give it operators for these, or name an algorithm of python -m opt.solve --list"
            )

    def keys(self, population: Any, X: np.ndarray) -> list[bytes]:
        """The fingerprints of a population's candidates X; those that the mating has taken are taken over."""
        if not self._is_rounded and "fingerprint" in population[0].data:
            return [individual.data["fingerprint"] for individual in population]
        with guarded():
            return [self.fingerprint(x) for x in X]

    # -- tell -------------------------------------------------------------------------------------

    def tell(self, *, n_eval: int) -> None:
        """Hand the candidates asked last back to the algorithm; they have their values (`set_values`)."""
        self.algorithm.evaluator.n_eval = n_eval
        with self._calling("tell"):
            self.algorithm.tell(infills=self._asked)

    def trace_row(self) -> Mapping[str, float | str]:
        """What the algorithm tells of the generation; empty for nothing.

        Raises:
            HookError: Its columns are others than in the first generation.
        """
        row = self.abilities.trace
        if self._columns is None:
            self._columns = list(row)
        elif self._columns != list(row):
            columns, first = (", ".join(names) or "none" for names in (row, self._columns))
            raise HookError(
                f"algorithm {self._name}: trace must have the same columns from the first generation on, "
                f"got {columns} and at first {first}"
            )
        return row

    def set_values(
        self, population: Any, F: np.ndarray, G: np.ndarray | None, *, penalty: Callable[[], np.ndarray]
    ) -> None:
        """Give each individual what the algorithm sees of its values.

        Args:
            population: n individuals.
            F: (n, n_obj) minimised objectives; NaN rows failed.
            G: (n, n_ieq_constr) or None.
            penalty: () -> (n_obj,), the objectives of a failed candidate.
        """
        failed = ~np.isfinite(F).all(axis=1)
        if failed.any():
            F = F.copy()
            F[failed] = penalty()
            if G is not None:
                G = np.where(failed[:, None], np.inf, G)
        value = self.scalariser(F) if self.scalariser else F
        violation = np.zeros((len(F), 1))
        if G is not None:
            G = np.where(np.isfinite(G), G, LARGEST_VIOLATION)
            violation = np.maximum(G, 0.0).sum(axis=1, keepdims=True)
        for i, individual in enumerate(population):
            # attribute by attribute: Population.set would compute each CV before replacing it
            individual.F, individual.CV = value[i], violation[i]
            if G is not None:
                individual.G = G[i]


def _guarded_callback(callback: Callable[[Any], Any]) -> Callable[[Any], None]:
    name = f"callback {getattr(callback, '__name__', type(callback).__name__)}"

    def guarded(algorithm: Any) -> None:
        with user_code(name):
            callback(algorithm)

    return guarded

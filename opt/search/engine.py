"""The one loop: ask, evaluate, tell; with journal, archive, history, budget and replay."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.core.termination import NoTermination
from pymoo.termination.max_gen import MaximumGenerationTermination

from opt.algorithms import AlgorithmSpec, build_algorithm
from opt.algorithms.interface.random_state import IsolatedGlobalRandom
from opt.algorithms.interface.warm_start import Start, offering
from opt.console.errors import UsageError
from opt.fronts.archive import Archive
from opt.problem import CompressionProblem
from opt.problem.hooks import HookError, call, fingerprint_of, reason_of, user_code
from opt.problem.user_code import guarded
from opt.search.budget import Budget
from opt.search.distinct import BATCH, Completion, n_distinct_of
from opt.search.evaluation import CACHE_SIZE, Batch, EvaluationFailed, Evaluator, Values, evaluate_batch
from opt.search.recorded import values
from opt.search.scalarise import Scalariser
from opt.search.search_state import JournalKeeping, Recorder, Silent, State, View
from opt.search.tally import Tally

STALLED_GENERATIONS = 100
"""So many generations in a row without one new candidate end a search."""

HOPELESS_FAILURES = 5
"""So many candidates without one that could be evaluated end a search; a generation can be a single one."""


class Search:
    """One algorithm on one problem, from its seed to its front.

    Args:
        problem: What is searched.
        spec: The algorithm.
        parameters: The algorithm's parameters by name.
        seed: The run's seed; the algorithm's and the problem's generators descend from it.
        budget: When to stop.
        scalariser: How a single-objective algorithm sees several objectives.
        recorder: Journal and history; what the journal already holds is replayed.
        cache_size: Distinct candidates remembered.
        fail_fast: Stop on the first candidate that cannot be evaluated.
        on_generation: Called with the state after each generation.
        eval_seconds: Most wall-clock seconds that one candidate's evaluation may take.
        start: Candidates that the algorithm's first sampling begins with.
        callback: pymoo's callback: called with the algorithm after each generation.
    """

    def __init__(
        self,
        problem: CompressionProblem,
        spec: AlgorithmSpec,
        parameters: dict[str, Any],
        *,
        seed: int,
        budget: Budget,
        scalariser: Scalariser,
        recorder: Recorder,
        cache_size: int = CACHE_SIZE,
        fail_fast: bool = False,
        on_generation: Callable[[State], None] | None = None,
        eval_seconds: float | None = None,
        start: Start | None = None,
        callback: Callable[[Any], Any] | None = None,
    ) -> None:
        self.problem = problem
        self.eval_seconds = eval_seconds
        self.asked_budget = budget
        # a search that has seen all there is cannot go on; where values may be forgotten, that is not known
        self.n_distinct = n if (n := n_distinct_of(problem)) is not None and n <= cache_size else None
        self.budget = _cut(budget, self.n_distinct)
        self.recorder = recorder
        self.on_generation = on_generation
        self.stop_requested = ""
        self.ends_replayed = ""  # the reason to end behind the journal's last record
        self.is_stationary = True
        self.state = State()
        self.tally = Tally(problem, self.state)
        self.evaluator = Evaluator(problem, cache_size=cache_size, fail_fast=fail_fast)
        self._has_ended = False
        # an algorithm of the problem's or the user's, or a callback, knows when it has enough
        self._may_end = spec.is_foreign or callback is not None or any(s is spec for s in problem.own_algorithms)
        self._asked: Any = None
        self.scalariser = scalariser if spec.objectives == "one" and problem.n_obj > 1 else None
        moves_through_box = spec.is_foreign or ("crossover" not in spec.needs and spec.name in ROUNDED)
        self._rounded = problem.representation == "integer" and moves_through_box
        # it runs generations of its own between two of ours: see `JournalKeeping`
        self.keeps_journal = False
        self._fingerprint = fingerprint_of(problem)
        self._algorithm_name = spec.name
        algorithm_seed, problem_seed, completion_seed = np.random.SeedSequence(seed).spawn(3)
        self.completion = self._completion(np.random.default_rng(completion_seed))
        entropy = int(algorithm_seed.generate_state(1)[0])
        # what draws from generators that it was not given draws from the run's seed too
        self._isolated = IsolatedGlobalRandom(entropy) if spec.is_foreign else None
        with offering(problem, None if start is None else start.ordered(self.scalariser), spec.name):
            self.algorithm = build_algorithm(spec, problem, parameters)
        self.keeps_journal = isinstance(self.algorithm, JournalKeeping)
        if hasattr(self.algorithm, "plan"):
            self.algorithm.plan(n_gen=budget.n_gen, n_eval=self.budget.n_eval, seconds=budget.seconds)
        with self._in_algorithm("setup"):
            self.algorithm.setup(
                View(problem, n_obj=1 if self.scalariser else problem.n_obj),
                seed=entropy,
                termination=self._termination(spec),
                display=Silent(),
                **({} if callback is None else {"callback": _guarded_callback(callback)}),
            )
        call(problem, "begin_run", np.random.default_rng(problem_seed))

    def _termination(self, spec: AlgorithmSpec) -> Any:
        """None that ends anything: the engine does; but some of pymoo's objects plan by the number of generations."""
        n_gen = self.budget.n_gen
        return NoTermination() if n_gen is None or not spec.is_foreign else MaximumGenerationTermination(n_gen)

    @property
    def archive(self) -> Archive:
        """The nondominated set of everything evaluated."""
        return self.tally.archive

    @property
    def ref_point(self) -> np.ndarray | None:
        """(n_obj,) hypervolume's reference point; None before the first feasible candidate."""
        return self.tally.ref_point

    # -- the loop -------------------------------------------------------------------------------

    def run(self) -> State:
        """Search until the budget is spent, the algorithm ends, or a stop is requested."""
        state = self.state
        replay = iter(self.recorder.records)
        pending = next(replay, None)
        started = time.monotonic()
        known_seconds = 0.0
        stalled = idle = 0
        best_hypervolume = 0.0
        while True:
            state.stop_reason = self._limit_reached(pending is not None, idle)
            asked_to_end = self.stop_requested or self.ends_replayed
            if state.stop_reason or (asked_to_end and pending is None):
                state.stop_reason = state.stop_reason or asked_to_end
                break
            if stalled >= STALLED_GENERATIONS and not self.keeps_journal and not self._complete():
                state.stop_reason = f"no new candidate in {STALLED_GENERATIONS} generations"
                break
            record: dict[str, Any] = {"gen": state.n_gen + 1}
            infills = self._next(record, pending)
            if infills is None:
                break
            if call(self.problem, "begin_generation", state.n_gen + 1):
                self._values_changed(record, pending)
            X, batch = self._evaluate(infills, record, pending, limit=self._evaluations_left())
            if pending is None:
                self.recorder.append(record)
            state.n_gen += 1
            state.replaying = pending is not None
            pending = next(replay, None)
            if state.replaying:
                known_seconds = max(known_seconds, self.recorder.seconds.get(state.n_gen, known_seconds))
                started = time.monotonic()
                state.seconds = known_seconds
            else:
                state.seconds = known_seconds + time.monotonic() - started
            self.tally.add(X, batch)
            self.recorder.history(self.tally.history_row(batch))
            if state.n_failed == state.n_eval >= HOPELESS_FAILURES:
                reason = next(iter(state.failures))
                raise EvaluationFailed(f"every one of the first {state.n_eval} candidates failed: {reason}")
            if "rest" not in record and len(X) == len(infills):
                self._tell(infills, batch)
            if self.completion is not None:
                self.completion.observe(len(X), len(batch.new))
            stalled = 0 if len(batch.new) else stalled + 1
            gained = state.hypervolume > best_hypervolume * (1 + self.budget.tolerance)
            idle = 0 if gained else idle + 1
            best_hypervolume = max(best_hypervolume, state.hypervolume)
            if self.on_generation:
                self.on_generation(state)
        self._final_evaluation()
        return state

    def _next(self, record: dict[str, Any], pending: dict[str, Any] | None) -> Any:
        """The next candidates, as a population; None, with the reason to stop, where there are none.

        They are the algorithm's, or once it finds hardly any new ones and the budget covers them all, the rest.
        """
        state = self.state
        if self.completion is None or not self.completion.is_active:
            self._say_spent(record, pending)
            infills = self._ask(pending)
            if infills is not None and len(infills):
                if self.keeps_journal:
                    record["algo"] = self.algorithm.journal_entry() if pending is None else pending["algo"]
                    state.n_inner_eval += int(record["algo"].get("n_eval", 0))
                return infills
            if (self._has_ended and self._may_end) or not self._complete():
                ended = "the algorithm ended by itself" if self._has_ended else "the algorithm finds no new candidate"
                state.stop_reason = getattr(self.algorithm, "end_reason", "") or ended
                return None
        assert self.completion is not None
        X = self.completion.batch(BATCH)
        if X is None:
            seen = f"{self.evaluator.n_known} of {self.n_distinct}"
            state.stop_reason = f"no more candidates can be found, {seen} distinct ones were evaluated"
            return None
        record["rest"] = True
        return Population.new("X", X)

    def _completion(self, rng: np.random.Generator) -> Completion | None:
        """What completes the search, where its budget covers every distinct candidate."""
        if self.n_distinct is None or self.asked_budget.n_eval is None or self.asked_budget.n_eval < self.n_distinct:
            return None
        return Completion(
            self.problem, self.n_distinct, rng, fingerprint=self._fingerprint, is_known=self.evaluator.is_known
        )

    def _complete(self) -> bool:
        """Go on with the candidates not seen, instead of ending; whether that can be."""
        if self.completion is None:
            return False
        self.completion.is_active = True
        return True

    def _limit_reached(self, replaying: bool, idle: int) -> str:
        budget, state = self.budget, self.state
        if self.n_distinct is not None and self.evaluator.n_known >= self.n_distinct:
            return f"all {self.n_distinct} distinct candidates were evaluated, the front is exact"
        if budget.n_gen is not None and state.n_gen >= budget.n_gen:
            return f"{budget.n_gen} generations done"
        if budget.n_eval is not None and state.n_eval >= budget.n_eval:
            return f"{budget.n_eval} evaluations done"
        if budget.patience is not None and idle >= budget.patience:
            return f"hypervolume did not grow for {budget.patience} generations"
        if budget.seconds is not None and state.seconds >= budget.seconds and not replaying:
            return f"{budget.seconds:g} seconds spent"
        return ""

    def _say_spent(self, record: dict[str, Any], pending: dict[str, Any] | None) -> None:
        """Tell an algorithm that plans by its budget how much of it is spent; a share of time is journalled."""
        if not hasattr(self.algorithm, "spend"):
            return
        state = self.state
        spent = self.budget.fraction(n_gen=state.n_gen, n_eval=state.n_eval, seconds=state.seconds)
        if self.budget.seconds is not None:
            record["spent"] = spent = pending["spent"] if pending is not None and "spent" in pending else spent
        self.algorithm.spend(spent)

    def _evaluations_left(self) -> int | None:
        return None if self.budget.n_eval is None else self.budget.n_eval - self.state.n_eval

    # -- one generation ---------------------------------------------------------------------------

    def _ask(self, pending: dict[str, Any] | None) -> Any:
        """The next candidates, or None at the algorithm's own end; recorded ones where it keeps a journal."""
        with self._in_algorithm("has_next"):
            self._has_ended = not self.algorithm.has_next()
        if self._has_ended:
            return None
        if self.keeps_journal and pending is not None:
            if "algo" not in pending:
                raise UsageError(
                    f"the run does not replay: generation {pending['gen']} lacks the algorithm's own entry; "
                    "resume with the program version that began it"
                )
            self.algorithm.replay(pending["algo"])
        with self._in_algorithm("ask"):
            asked = self.algorithm.ask()
        # some of pymoo's local searches ask for one individual, and want to be told of it as one
        self._asked = asked
        return Population.create(asked) if isinstance(asked, Individual) else asked

    @contextlib.contextmanager
    def _in_algorithm(self, step: str) -> Iterator[None]:
        """The algorithm's code: what it raises is told in one line, and its generators are the run's."""
        with self._isolated or contextlib.nullcontext():
            try:
                with guarded():
                    yield
            except UsageError:
                raise
            except Exception as error:
                raise HookError(f"algorithm {self._algorithm_name} failed in {step}: {reason_of(error)}") from error

    def _evaluate(
        self, infills: Any, record: dict[str, Any], pending: dict[str, Any] | None, *, limit: int | None
    ) -> tuple[np.ndarray, Batch]:
        X = self._candidates(infills)
        keys = self._keys(infills, X)
        served = self._recorded(pending) if pending is not None else None
        batch = self.evaluator(X, keys, compute=served or self._compute, limit=limit)
        if pending is not None and (pending["gen"] != record["gen"] or pending["x"] != batch.digest):
            raise UsageError(
                f"the run does not replay: generation {record['gen']} asks for other candidates than the journal "
                "recorded; resume with the program version, problem file and data that began it"
            )
        record |= {"x": batch.digest, "n": len(batch.F), "new": len(batch.new), "F": batch.F[batch.new]}
        if batch.G is not None:
            record["G"] = batch.G[batch.new]
        if batch.failures:
            position = {int(i): k for k, i in enumerate(batch.new)}
            record["failed"] = {str(position[i]): reason for i, reason in batch.failures.items()}
        return X[: len(batch.F)], batch

    def _candidates(self, population: Any) -> np.ndarray:
        """A population's X as the problem takes it."""
        X = population.get("X")
        if self._isolated is not None:
            self._check_kind(X)
        return np.clip(np.rint(X), self.problem.xl, self.problem.xu).astype(np.int64) if self._rounded else X

    def _check_kind(self, X: np.ndarray) -> None:
        """Refuse candidates of a pymoo object that the problem cannot take, such as reals where it has bits."""
        kind = self.problem.representation
        fitting = {"real": "f", "integer": "iuf", "binary": "b", "permutation": "iu"}.get(kind, "O")
        if X.dtype.kind not in fitting or X.ndim != 2:
            raise UsageError(
                f"{self._algorithm_name} proposes candidates of dtype {X.dtype} and the problem needs {kind} ones; "
                "give it operators for these, or name an algorithm of python -m opt.solve --list"
            )

    def _keys(self, infills: Any, X: np.ndarray) -> list[bytes]:
        if not self._rounded and "fingerprint" in infills[0].data:
            return [individual.data["fingerprint"] for individual in infills]
        with guarded():
            return [self._fingerprint(x) for x in X]

    def _compute(self, X: np.ndarray) -> Values:
        return evaluate_batch(self.problem, X, seconds=self.eval_seconds)

    def _recorded(self, record: dict[str, Any], prefix: str = "") -> Callable[[np.ndarray], Values]:
        """The journal's values in place of an evaluation."""

        def serve(X: np.ndarray) -> Values:
            F = values(record, self.problem.n_obj, prefix)
            if len(F) != len(X):
                raise UsageError(
                    f"the run does not replay: generation {record['gen']} evaluates {len(X)} candidates and the "
                    f"journal recorded {len(F)}; resume with the program version that began it"
                )
            G = np.array(record[prefix + "G"], dtype=np.float64) if prefix + "G" in record else None
            return F, G, {int(i): reason for i, reason in record.get(prefix + "failed", {}).items()}

        return serve

    def _tell(self, infills: Any, batch: Batch) -> None:
        self._set_values(infills, batch.F, batch.G)
        self.algorithm.evaluator.n_eval = self.state.n_eval
        with self._in_algorithm("tell"):
            self.algorithm.tell(infills=self._asked)
        trace = getattr(self.algorithm, "trace", None)
        if trace:
            self.recorder.trace({"n_gen": self.state.n_gen, "n_eval": self.state.n_eval, **trace})

    def _set_values(self, population: Any, F: np.ndarray, G: np.ndarray | None) -> None:
        failed = ~np.isfinite(F).all(axis=1)
        if failed.any():
            F = F.copy()
            F[failed] = self.tally.penalty()
            if G is not None:
                G = np.where(failed[:, None], np.inf, G)
        value = self.scalariser(F) if self.scalariser else F
        violation = np.zeros((len(F), 1))
        if G is not None:
            G = np.where(np.isfinite(G), G, 1e30)
            violation = np.maximum(G, 0.0).sum(axis=1, keepdims=True)
        for i, individual in enumerate(population):
            # attribute by attribute: Population.set would compute each CV before replacing it
            individual.F, individual.CV = value[i], violation[i]
            if G is not None:
                individual.G = G[i]

    # -- objectives that change their meaning ---------------------------------------------------------

    def _values_changed(self, record: dict[str, Any], pending: dict[str, Any] | None) -> None:
        """Another search batch: forget values, and judge the survivors on the new one."""
        if self.is_stationary and self.state.n_gen:
            # at once, and not only at the end: whoever looks at the run meanwhile must know
            self.recorder.update(stationary=False)
        self.is_stationary = False
        self.n_distinct = self.completion = None
        self.budget = self.asked_budget
        self.evaluator.forget()
        self.tally.clear()
        population = self.algorithm.pop
        if population is None or not len(population) or not getattr(self.algorithm, "keeps_survivors", True):
            return
        self._reevaluate(population, record, pending)
        if hasattr(self.algorithm, "values_changed"):
            self.algorithm.values_changed()

    def _reevaluate(self, population: Any, record: dict[str, Any], pending: dict[str, Any] | None) -> None:
        X = self._candidates(population)
        serve = self._recorded(pending, "survivors_") if pending is not None else self._compute
        F, G, reasons = serve(X)
        record["survivors_F"] = F
        if G is not None:
            record["survivors_G"] = G
        if reasons:
            record["survivors_failed"] = {str(i): reason for i, reason in reasons.items()}
        self.tally.readmit(X, F, G)
        self._set_values(population, F, G)

    def _final_evaluation(self) -> None:
        """Where values changed during the search: judge the last population on all batches together.

        Not journalled: it follows from the last generation, and a run that goes on forgets it.
        """
        population = self.algorithm.pop
        if not call(self.problem, "end_search") or population is None or not len(population):
            return
        self.evaluator.forget()
        self.tally.clear()
        unique: dict[bytes, int] = {}
        for i, x in enumerate(self._candidates(population)):
            unique.setdefault(self._fingerprint(x), i)
        self._reevaluate(population[list(unique.values())], {}, None)


def _cut(budget: Budget, n_distinct: int | None) -> Budget:
    """The budget with no more evaluations than there are distinct candidates."""
    if n_distinct is None or budget.n_eval is None:
        return budget
    return replace(budget, n_eval=min(budget.n_eval, n_distinct))


def _guarded_callback(callback: Callable[[Any], Any]) -> Callable[[Any], None]:
    name = f"callback {getattr(callback, '__name__', type(callback).__name__)}"

    def guarded(algorithm: Any) -> None:
        with user_code(name):
            callback(algorithm)

    return guarded


ROUNDED = ("de", "cma-es", "pso")
"""Algorithms that move through the box as reals: integer problems see their candidates rounded."""

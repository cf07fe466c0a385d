"""The one loop: ask, evaluate, tell; with journal, archive, history, budget and replay."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination

from opt.algorithms import AlgorithmSpec, build_algorithm
from opt.archive import Archive, hypervolume, reference_point
from opt.budget import Budget
from opt.errors import UsageError
from opt.evaluation import CACHE_SIZE, Batch, EvaluationFailed, Evaluator, Values, evaluate_batch
from opt.problem import CompressionProblem
from opt.recorded import values
from opt.scalarise import Scalariser

STALLED_GENERATIONS = 100
"""So many generations in a row without one new candidate end a search."""

HOPELESS_FAILURES = 5
"""So many candidates without one that could be evaluated end a search; a generation can be a single one."""


class Recorder(Protocol):
    """Where a search writes: a run directory, or nothing."""

    seconds: dict[int, float]

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the journal held when it was opened."""

    def append(self, record: dict[str, Any]) -> None:
        """Add one record to the journal."""

    def history(self, row: list[float]) -> None:
        """Add one row to the history."""

    def trace(self, row: dict[str, float | str]) -> None:
        """Add one row to the trace of an algorithm that has one."""

    def update(self, **fields: Any) -> None:
        """Note facts of the search in the manifest at once."""


@dataclass
class State:
    """Where a search stands after a generation; handed to the progress display."""

    n_gen: int = 0
    n_eval: int = 0
    n_failed: int = 0
    n_inner_eval: int = 0
    seconds: float = 0.0
    hypervolume: float = 0.0
    best: np.ndarray | None = None
    replaying: bool = False
    stop_reason: str = ""
    failures: dict[str, int] = field(default_factory=dict)


@runtime_checkable
class JournalKeeping(Protocol):
    """An algorithm whose generations run inside a library: too many to replay, so it keeps entries in the journal.

    One `ask` may stand for thousands of generations. What it offers is recorded with it, as plain data, and now
    and then its whole state; on resume `ask` answers from the records, and goes on from the last state. It ends by
    its own limits: that it offers nothing new for long ends no search.
    """

    def journal_entry(self) -> dict[str, Any]:
        """What the last `ask` did, as plain data; `n_eval` counts the candidates judged inside."""

    def replay(self, entry: dict[str, Any]) -> None:
        """The next `ask` answers from this entry."""


class View(Problem):
    """What an algorithm sees of a problem: its shape, never its evaluation."""

    def __init__(self, problem: CompressionProblem, *, n_obj: int) -> None:
        super().__init__(
            n_var=problem.n_var,
            n_obj=n_obj,
            n_ieq_constr=problem.n_ieq_constr,
            xl=problem.xl,
            xu=problem.xu,
            vtype=problem.vtype,
        )

    def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
        raise AssertionError("algorithms ask the engine for values")


class Silent:
    """Stands in for pymoo's display, whose table is computed even when it is not shown."""

    def __call__(self, algorithm: Any) -> None:
        """Show nothing."""

    def finalize(self) -> None:
        """Nothing to close."""


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
    ) -> None:
        self.problem = problem
        self.eval_seconds = eval_seconds
        self.budget = budget
        self.recorder = recorder
        self.on_generation = on_generation
        self.stop_requested = ""
        self.is_stationary = True
        self.state = State()
        self.archive = Archive(problem.n_obj)
        self.ref_point: np.ndarray | None = None
        self.evaluator = Evaluator(problem, cache_size=cache_size, fail_fast=fail_fast)
        self.scalariser = scalariser if spec.objectives == "one" and problem.n_obj > 1 else None
        self._rounded = problem.representation == "integer" and "crossover" not in spec.needs and spec.name in ROUNDED
        # it runs generations of its own between two of ours: see `JournalKeeping`
        self.keeps_journal = False
        self._signs = np.array([o.sign for o in problem.objectives])
        self._worst_seen = np.full(problem.n_obj, -np.inf)
        self._best_seen = np.full(problem.n_obj, np.inf)
        algorithm_seed, problem_seed = np.random.SeedSequence(seed).spawn(2)
        self.algorithm = build_algorithm(spec, problem, parameters)
        self.keeps_journal = isinstance(self.algorithm, JournalKeeping)
        if hasattr(self.algorithm, "plan"):
            self.algorithm.plan(n_gen=budget.n_gen, n_eval=budget.n_eval, seconds=budget.seconds)
        self.algorithm.setup(
            View(problem, n_obj=1 if self.scalariser else problem.n_obj),
            seed=int(algorithm_seed.generate_state(1)[0]),
            termination=NoTermination(),
            display=Silent(),
        )
        problem.begin_run(np.random.default_rng(problem_seed))

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
            if state.stop_reason or (self.stop_requested and pending is None):
                state.stop_reason = state.stop_reason or self.stop_requested
                break
            if stalled >= STALLED_GENERATIONS and not self.keeps_journal:
                state.stop_reason = f"no new candidate in {STALLED_GENERATIONS} generations"
                break
            record: dict[str, Any] = {"gen": state.n_gen + 1}
            self._say_spent(record, pending)
            infills = self._ask(pending)
            if infills is None or len(infills) == 0:
                state.stop_reason = getattr(self.algorithm, "end_reason", "") or "the algorithm ended by itself"
                break
            if self.keeps_journal:
                record["algo"] = self.algorithm.journal_entry() if pending is None else pending["algo"]
                state.n_inner_eval += int(record["algo"].get("n_eval", 0))
            if self.problem.begin_generation(state.n_gen + 1):
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
            self._account(X, batch)
            if state.n_failed == state.n_eval >= HOPELESS_FAILURES:
                reason = next(iter(state.failures))
                raise EvaluationFailed(f"every one of the first {state.n_eval} candidates failed: {reason}")
            if len(X) == len(infills):
                self._tell(infills, batch)
            stalled = 0 if len(batch.new) else stalled + 1
            gained = state.hypervolume > best_hypervolume * (1 + self.budget.tolerance)
            idle = 0 if gained else idle + 1
            best_hypervolume = max(best_hypervolume, state.hypervolume)
            if self.on_generation:
                self.on_generation(state)
        self._final_evaluation()
        return state

    def _limit_reached(self, replaying: bool, idle: int) -> str:
        budget, state = self.budget, self.state
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
        if not self.algorithm.has_next():
            return None
        if self.keeps_journal and pending is not None:
            if "algo" not in pending:
                raise UsageError(
                    f"the run does not replay: generation {pending['gen']} lacks the algorithm's own entry; "
                    "resume with the program version that began it"
                )
            self.algorithm.replay(pending["algo"])
        return self.algorithm.ask()

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
        return np.clip(np.rint(X), self.problem.xl, self.problem.xu).astype(np.int64) if self._rounded else X

    def _keys(self, infills: Any, X: np.ndarray) -> list[bytes]:
        if not self._rounded and "fingerprint" in infills[0].data:
            return [individual.data["fingerprint"] for individual in infills]
        return [self.problem.fingerprint(x) for x in X]

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

    def _account(self, X: np.ndarray, batch: Batch) -> None:
        """Archive, reference point, counters, failures and the history row of one batch."""
        state = self.state
        new = batch.new
        F = batch.F[new]
        ids = state.n_eval + 1 + np.arange(len(new))
        state.n_eval += len(new)
        state.n_failed += len(batch.failures)
        for reason in batch.failures.values():
            state.failures[reason] = state.failures.get(reason, 0) + 1
        ok = np.isfinite(F).all(axis=1)
        finite = F[ok]
        if len(finite):
            self._worst_seen = np.maximum(self._worst_seen, finite.max(axis=0))
            self._best_seen = np.minimum(self._best_seen, finite.min(axis=0))
        if batch.G is not None:
            ok = ok & (batch.G[new] <= 0).all(axis=1)
        if ok.any():
            if self.ref_point is None:
                worst = [None if o.worst is None else o.sign * o.worst for o in self.problem.objectives]
                self.ref_point = reference_point(F[ok], worst)
            if self.archive.offer(F[ok], X[new[ok]], ids[ok]):
                state.hypervolume = hypervolume(self.archive.F, self.ref_point)
                state.best = self.archive.F.min(axis=0) * self._signs
        everything = batch.F[np.isfinite(batch.F).all(axis=1)]
        row = [state.n_gen, state.n_eval, state.seconds, state.hypervolume, len(self.archive), state.n_failed]
        if len(everything):
            best, mean, worst_now = everything.min(axis=0), everything.mean(axis=0), everything.max(axis=0)
            table = np.stack([best, mean, worst_now], axis=1) * self._signs[:, None]
            row += table.ravel().tolist()
        else:
            row += [float("nan")] * (3 * self.problem.n_obj)
        self.recorder.history(row)

    def _tell(self, infills: Any, batch: Batch) -> None:
        self._set_values(infills, batch.F, batch.G)
        self.algorithm.tell(infills=infills)
        trace = getattr(self.algorithm, "trace", None)
        if trace:
            self.recorder.trace({"n_gen": self.state.n_gen, "n_eval": self.state.n_eval, **trace})

    def _set_values(self, population: Any, F: np.ndarray, G: np.ndarray | None) -> None:
        failed = ~np.isfinite(F).all(axis=1)
        if failed.any():
            F = F.copy()
            F[failed] = self._penalty()
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

    def _penalty(self) -> np.ndarray:
        """What an algorithm is told of a failed candidate: worse than anything seen, and finite."""
        if not np.isfinite(self._worst_seen).all():
            return np.full(self.problem.n_obj, 1e6)
        return self._worst_seen + np.maximum(self._worst_seen - self._best_seen, 1.0)

    # -- objectives that change their meaning ---------------------------------------------------------

    def _values_changed(self, record: dict[str, Any], pending: dict[str, Any] | None) -> None:
        """Another search batch: forget values, and judge the survivors on the new one."""
        if self.is_stationary and self.state.n_gen:
            # at once, and not only at the end: whoever looks at the run meanwhile must know
            self.recorder.update(stationary=False)
        self.is_stationary = False
        self.evaluator.forget()
        self.archive.clear()
        self.state.hypervolume = 0.0
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
        ok = np.isfinite(F).all(axis=1)
        if G is not None:
            ok &= (G <= 0).all(axis=1)
        if ok.any():
            self.archive.offer(F[ok], X[ok], -1 - np.flatnonzero(ok))
            if self.ref_point is not None:
                self.state.hypervolume = hypervolume(self.archive.F, self.ref_point)
            self.state.best = self.archive.F.min(axis=0) * self._signs
        self._set_values(population, F, G)

    def _final_evaluation(self) -> None:
        """Where values changed during the search: judge the last population on all batches together.

        Not journalled: it follows from the last generation, and a run that goes on forgets it.
        """
        population = self.algorithm.pop
        if not self.problem.end_search() or population is None or not len(population):
            return
        self.evaluator.forget()
        self.archive.clear()
        unique: dict[bytes, int] = {}
        for i, x in enumerate(self._candidates(population)):
            unique.setdefault(self.problem.fingerprint(x), i)
        self._reevaluate(population[list(unique.values())], {}, None)


ROUNDED = ("de", "cma-es", "pso")
"""Algorithms that move through the box as reals: integer problems see their candidates rounded."""

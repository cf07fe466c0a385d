"""The one loop: ask, evaluate, tell; with journal, archive, history, budget and replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from pymoo.core.population import Population

from opt.algorithms import AlgorithmSpec
from opt.algorithms.interface.warm_start import Start
from opt.console.errors import UsageError
from opt.fronts.archive import Archive
from opt.problem import CompressionProblem
from opt.problem.hooks import call
from opt.search.ask_tell import AskTell
from opt.search.budget import Budget, Stagnation
from opt.search.distinct import BATCH, Completion, n_distinct_of
from opt.search.evaluation import CACHE_SIZE, Batch, EvaluationFailed, Evaluator, Values, evaluate_batch
from opt.search.replay import Replay, record_batch, record_survivors, recorded_values
from opt.search.scalarise import Scalariser
from opt.search.search_state import Recorder, State
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
        self._stagnation = Stagnation()
        # an algorithm of the problem's or the user's, or a callback, knows when it has enough
        self._may_end = spec.is_foreign or callback is not None or any(s is spec for s in problem.own_algorithms)
        self.scalariser = scalariser if spec.objectives == "one" and problem.n_obj > 1 else None
        algorithm_seed, problem_seed, completion_seed = np.random.SeedSequence(seed).spawn(3)
        self._side = AskTell(
            problem,
            spec,
            parameters,
            seed=int(algorithm_seed.generate_state(1)[0]),
            budget=self.budget,
            scalariser=self.scalariser,
            start=start,
            callback=callback,
        )
        self.completion = self._completion(np.random.default_rng(completion_seed))
        call(problem, "begin_run", np.random.default_rng(problem_seed))

    def _completion(self, rng: np.random.Generator) -> Completion | None:
        """What completes the search, where its budget covers every distinct candidate."""
        if self.n_distinct is None or self.asked_budget.n_eval is None or self.asked_budget.n_eval < self.n_distinct:
            return None
        return Completion(
            self.problem, self.n_distinct, rng, fingerprint=self._side.fingerprint, is_known=self.evaluator.is_known
        )

    @property
    def algorithm(self) -> Any:
        """Pymoo's algorithm."""
        return self._side.algorithm

    @property
    def keeps_journal(self) -> bool:
        """Whether the algorithm runs generations of its own between two of ours."""
        return self._side.abilities.keeps_journal

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
        replay = Replay(self.recorder, state)
        while not self._is_over(replay):
            pending = replay.pending
            record: dict[str, Any] = {"gen": state.n_gen + 1}
            infills = self._next(record, pending)
            if infills is None:
                break
            if call(self.problem, "begin_generation", state.n_gen + 1):
                self._values_changed(record, pending)
            X, batch = self._evaluate(infills, record, pending)
            if pending is None:
                # before the algorithm is told: whatever happens from here on, the values are kept
                self.recorder.append(record)
            replay.generation_done()
            self._count(X, batch)
            # a batch that the budget cut, or one of the rest, is none that the algorithm asked for
            if "rest" not in record and len(X) == len(infills):
                self._tell(infills, batch)
            if self.completion is not None:
                self.completion.observe(len(X), len(batch.new))
            self._stagnation.observe(state.hypervolume, len(batch.new), tolerance=self.budget.tolerance)
            if self.on_generation:
                self.on_generation(state)
        self._final_evaluation()
        return state

    def _is_over(self, replay: Replay) -> bool:
        """Whether the search ends before the next generation; the state then says why."""
        state, is_replaying = self.state, replay.pending is not None
        state.stop_reason = self._limit_reached(is_replaying)
        if not state.stop_reason and not is_replaying:
            state.stop_reason = self.stop_requested or self.ends_replayed
        if state.stop_reason:
            return True
        is_stalled = self._stagnation.n_stalled >= STALLED_GENERATIONS
        if is_stalled and not self.keeps_journal and not self._complete():
            state.stop_reason = f"no new candidate in {STALLED_GENERATIONS} generations"
            return True
        return False

    def _limit_reached(self, is_replaying: bool) -> str:
        if self.n_distinct is not None and self.evaluator.n_known >= self.n_distinct:
            return f"all {self.n_distinct} distinct candidates were evaluated, the front is exact"
        return self.budget.reached(self.state, n_idle=self._stagnation.n_idle, is_replaying=is_replaying)

    def _count(self, X: np.ndarray, batch: Batch) -> None:
        state = self.state
        self.tally.add(X, batch)
        self.recorder.history(self.tally.history_row(batch))
        if state.n_failed == state.n_eval >= HOPELESS_FAILURES:
            reason = next(iter(state.failures))
            raise EvaluationFailed(f"every one of the first {state.n_eval} candidates failed: {reason}")

    def _tell(self, infills: Any, batch: Batch) -> None:
        state, side = self.state, self._side
        side.set_values(infills, batch.F, batch.G, penalty=self.tally.penalty)
        side.tell(n_eval=state.n_eval)
        if row := side.trace_row():
            self.recorder.trace({"n_gen": state.n_gen, "n_eval": state.n_eval, **row})

    def _next(self, record: dict[str, Any], pending: dict[str, Any] | None) -> Any:
        """The next candidates, as a population; None, with the reason to stop, where there are none.

        They are the algorithm's, or once it finds hardly any new ones and the budget covers them all, the rest.
        """
        state, side = self.state, self._side
        if self.completion is None or not self.completion.is_active:
            self._say_spent(record, pending)
            infills = side.ask(pending)
            if infills is not None and len(infills):
                if self.keeps_journal:
                    record["algo"] = side.abilities.journal_entry() if pending is None else pending["algo"]
                    state.n_inner_eval += int(record["algo"].get("n_eval", 0))
                return infills
            knows_why = self._may_end or bool(side.abilities.end_reason)
            if (side.has_ended and knows_why) or not self._complete():
                ended = "the algorithm ended by itself" if side.has_ended else "the algorithm finds no new candidate"
                state.stop_reason = side.abilities.end_reason or ended
                return None
        assert self.completion is not None
        X = self.completion.batch(BATCH)
        if X is None:
            seen = f"{self.evaluator.n_known} of {self.n_distinct}"
            state.stop_reason = f"no more candidates can be found, {seen} distinct ones were evaluated"
            return None
        record["rest"] = True
        return Population.new("X", X)

    def _complete(self) -> bool:
        """Go on with the candidates not seen, instead of ending; whether that can be."""
        if self.completion is None:
            return False
        self.completion.is_active = True
        return True

    def _say_spent(self, record: dict[str, Any], pending: dict[str, Any] | None) -> None:
        """Tell an algorithm that plans by its budget how much of it is spent; a share of time is journalled."""
        if not self._side.abilities.plans_by_share:
            return
        state = self.state
        spent = self.budget.fraction(n_gen=state.n_gen, n_eval=state.n_eval, seconds=state.seconds)
        if self.budget.seconds is not None:
            record["spent"] = spent = pending["spent"] if pending is not None and "spent" in pending else spent
        self._side.abilities.spend(spent)

    # -- one generation ---------------------------------------------------------------------------

    def _evaluate(
        self, infills: Any, record: dict[str, Any], pending: dict[str, Any] | None
    ) -> tuple[np.ndarray, Batch]:
        X = self._side.candidates(infills)
        keys = self._side.keys(infills, X)
        n_left = None if self.budget.n_eval is None else self.budget.n_eval - self.state.n_eval
        compute = self._compute if pending is None else recorded_values(pending, self.problem.n_obj)
        batch = self.evaluator(X, keys, compute=compute, limit=n_left)
        if pending is not None and (pending["gen"] != record["gen"] or pending["x"] != batch.digest):
            raise UsageError(
                f"the run does not replay: generation {record['gen']} asks for other candidates than the journal "
                "recorded; resume with the program version, problem file and data that began it"
            )
        record_batch(record, batch)
        return X[: len(batch.F)], batch

    def _compute(self, X: np.ndarray) -> Values:
        return evaluate_batch(self.problem, X, seconds=self.eval_seconds)

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
        population, abilities = self.algorithm.pop, self._side.abilities
        if population is None or not len(population) or not abilities.keeps_survivors:
            return
        self._reevaluate(population, record, pending)
        abilities.values_changed()

    def _reevaluate(self, population: Any, record: dict[str, Any], pending: dict[str, Any] | None) -> None:
        X = self._side.candidates(population)
        compute = self._compute if pending is None else recorded_values(pending, self.problem.n_obj, "survivors_")
        F, G, reasons = compute(X)
        record_survivors(record, (F, G, reasons))
        self.tally.readmit(X, F, G)
        self._side.set_values(population, F, G, penalty=self.tally.penalty)

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
        for i, x in enumerate(self._side.candidates(population)):
            unique.setdefault(self._side.fingerprint(x), i)
        self._reevaluate(population[list(unique.values())], {}, None)


def _cut(budget: Budget, n_distinct: int | None) -> Budget:
    """The budget with no more evaluations than there are distinct candidates."""
    if n_distinct is None or budget.n_eval is None:
        return budget
    return replace(budget, n_eval=min(budget.n_eval, n_distinct))

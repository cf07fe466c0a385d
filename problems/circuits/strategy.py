"""Evolution strategy `cgp-es`: (1 + lambda) on circuits, all of it in C, as one more algorithm of the problem."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population

from native.cgp import Strategy
from operators.circuits import GridLayout
from opt.algorithms import AlgorithmSpec, SearchAlgorithm
from opt.console.errors import UsageError
from opt.console.ranges import Range

MutationName = Literal["published", "point", "probabilistic", "single", "active"]

_MUTATIONS = {
    "published": "uniform",
    "point": "point",
    "probabilistic": "probabilistic",
    "single": "single",
    "active": "only-active",
}
_STOPS = {"targets": "the strategy reached its targets", "patience": "the strategy stalled"}
_KEPT_PER_OCTAVE = 16
"""States in the journal for each doubling of a run: at most a sixteenth of it is computed again on resume."""


class CircuitProblem(Protocol):
    """What the strategy needs of its problem."""

    layout: GridLayout

    def strategy(self, *, seed: int, **settings: Any) -> Strategy:
        """The library's strategy on the problem's data."""

    def nearest_inputs(self) -> np.ndarray | None:
        """(n_genes,) the circuit of wires alone, or None where there is none."""


class CircuitStrategy(SearchAlgorithm):
    """A strategy whose generations run in C, a chunk of them for each generation of the framework.

    Each `ask` goes on by a chunk and offers the best circuit. Its journal entry holds the circuit where it is new and,
    ever more rarely as the run grows longer, the strategy's whole state. On resume the recorded circuits are offered
    again; behind the last of them the strategy goes on from the last state, and computes anew only what lies between.
    """

    keeps_journal = True

    def __init__(self, problem: CircuitProblem, *, chunk: int, generations: int | None, **settings: Any) -> None:
        super().__init__()
        self.circuit_problem = problem
        self.chunk = chunk
        self.generations = generations
        self.settings = settings
        self._strategy: Strategy | None = None
        self._entry: dict[str, Any] = {}
        self._recorded: dict[str, Any] | None = None
        self._asks = 0
        self._asks_since_state = 0
        self._state: dict[str, Any] | None = None
        self._best: np.ndarray | None = None

    # -- ask and tell -------------------------------------------------------------------------

    def has_next(self) -> bool:
        """False once the strategy has reached its targets, its patience or its generations."""
        return not self.end_reason

    def _initialize_infill(self) -> Population:
        # drawn whether or not what follows is replayed: a resumed run makes the same strategy
        assert self.random_state is not None
        seed = int(self.random_state.integers(2**63))
        self._strategy = self.circuit_problem.strategy(seed=seed, **self.settings)
        return self._infill()

    def _infill(self) -> Population:
        self._asks += 1
        x = self._advanced() if self._recorded is None else self._replayed(self._recorded)
        self._recorded = None
        return Population.new("X", x[None])

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.pop = infills

    def _set_optimum(self) -> None:
        self.opt = self.pop

    def _advanced(self) -> np.ndarray:
        """Go on by one chunk; fills the journal entry."""
        strategy, layout = self._strategy, self.circuit_problem.layout
        assert strategy is not None
        self._catch_up()
        before = strategy.counts.n_candidates
        self._run_chunk()
        counts = strategy.counts
        self._entry = {"n_gen": counts.n_gen, "n_eval": counts.n_candidates - before}
        x = layout.canonical(np.asarray(strategy.best.genes, dtype=np.int64)[None])[0]
        if self._best is None or (x != self._best).any():
            genes = np.flatnonzero(x != layout.xl)
            self._entry |= {"genes": genes.tolist(), "values": x[genes].tolist()}
        if _is_kept(self._asks):
            self._entry["state"] = _plain(strategy.state())
        self.end_reason = self._ended()
        if self.end_reason:
            self._entry["ended"] = self.end_reason
        self._best = x
        return x

    def _catch_up(self) -> None:
        """Behind a replay: the last recorded state, and the chunks since."""
        if self._state is None:
            return
        assert self._strategy is not None
        self._strategy.restore(_arrays(self._state))
        for _ in range(self._asks_since_state):
            self._run_chunk()
        self._state, self._asks_since_state = None, 0

    def _run_chunk(self) -> None:
        assert self._strategy is not None
        left = math.inf if self.generations is None else self.generations - self._strategy.counts.n_gen
        self._strategy.advance(int(min(self.chunk, left)))

    def _ended(self) -> str:
        assert self._strategy is not None
        counts = self._strategy.counts
        if counts.stop:
            return _STOPS[counts.stop]
        if self.generations is not None and counts.n_gen >= self.generations:
            return f"{self.generations} generations of the strategy done"
        return ""

    # -- the journal --------------------------------------------------------------------------

    def journal_entry(self) -> dict[str, Any]:
        """Of the last `ask`: generations so far, candidates judged, the circuit where new, now and then the state."""
        return self._entry

    def replay(self, entry: dict[str, Any]) -> None:
        """The next `ask` answers from this entry."""
        self._recorded = entry

    def _replayed(self, entry: dict[str, Any]) -> np.ndarray:
        self._asks_since_state += 1
        if "state" in entry:
            self._state, self._asks_since_state = entry["state"], 0
        if "genes" in entry:
            x = self.circuit_problem.layout.xl.copy()
            x[entry["genes"]] = entry["values"]
            self._best = x
        if self._best is None:
            raise UsageError("the run does not replay: its journal begins without a circuit; start a new run")
        self.end_reason = entry.get("ended", "")
        return self._best


def _is_kept(n: int) -> bool:
    """Whether the state is kept behind the n-th ask: n has no more than five leading binary digits that count."""
    return n % (1 << max(0, n.bit_length() - _KEPT_PER_OCTAVE.bit_length())) == 0


def _plain(state: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        name: {"dtype": array.dtype.str, "shape": list(array.shape), "values": array.ravel().tolist()}
        for name, array in state.items()
    }


def _arrays(state: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.array(part["values"], dtype=part["dtype"]).reshape(part["shape"]) for name, part in state.items()}


def circuit_strategy(
    problem: CircuitProblem,
    *,
    n_offsprings: Annotated[int, Range(1, 100_000)] = 4,
    mutation: MutationName = "single",
    rate: Annotated[float, Range(0.0, 1.0, is_above=True)] = 0.01,
    drift: bool = True,
    start: Literal["random", "wires"] = "random",
    chunk: Annotated[int, Range(1)] = 10_000,
    generations: Annotated[int, Range(1)] | None = None,
    stall: Annotated[int, Range(1)] | None = None,
) -> Algorithm:
    """The (1 + lambda) strategy in C: error down to the threshold first, from there energy.

    Args:
        n_offsprings: Children a generation (lambda).
        mutation: Genes redrawn until one that counts has changed (single), a number of genes up to rate of them
            (published), rate of them (point), each with probability rate (probabilistic), or so among those that
            count (active).
        rate: Share of the genes that mutations other than single redraw.
        drift: Whether a child as good as its parent replaces it in the energy phase too, as the published system's does
            not.
        start: A random circuit, or the one of wires alone, each output the nearest input.
        chunk: Generations in C for each generation of the run, which is journalled and shown.
        generations: Generations in C after which it ends; null for no limit but the run's budget.
        stall: Generations in C without a strict improvement after which it ends; null for none.
    """
    if start == "wires" and problem.nearest_inputs() is None:
        raise UsageError("--algo.start wires needs one data set and levels_back of cols + 1; use random")
    return CircuitStrategy(
        problem, chunk=chunk, generations=generations, n_offspring=n_offsprings, mutation=_MUTATIONS[mutation],
        rate=rate, is_drifting=drift, patience=stall, start=start,
    )  # fmt: skip


CGP_ES = AlgorithmSpec("cgp-es", circuit_strategy, "any", representations=("integer",))
"""Its entry among the problem's own algorithms."""

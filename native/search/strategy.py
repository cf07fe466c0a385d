"""Evolution strategies: (1 + lambda), (mu + lambda) or (mu, lambda), advanced in C by chunks of generations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np

from native._cgp import ffi, lib
from native.circuits.binding import check, choice, output, pointer, rng_words
from native.circuits.costs import CostTable
from native.circuits.counts import Counts
from native.circuits.data import DataSet
from native.circuits.functions import FunctionSet
from native.circuits.genome import Genome
from native.circuits.grid import Grid
from native.circuits.problem import MUTATIONS, Problem

STOPS = {lib.CGP_GOES_ON: "", lib.CGP_TARGETS_REACHED: "targets", lib.CGP_OUT_OF_PATIENCE: "patience"}
Fitness = Callable[[np.ndarray], "np.ndarray | Sequence[float]"]


@dataclass(frozen=True)
class Targets:
    """Stop when the best is at or below all of these; None is not asked for."""

    error: float | None = None
    energy_pj: float | None = None
    n_gates: float | None = None


class Strategy:
    """A search that can be advanced, looked at, saved and continued; used by one thread at a time.

    In the first phase, until the error is at or below `threshold`, the error decides; from there on, lexicographically,
    energy, error, delay, number of gates. An equal child replaces its parent. With one parent, `is_plus`, no recurrent
    connections and a built-in error, all of it runs in place in C: a child costs what it changes.

    Args:
        grid: The grid.
        functions: The function set.
        data: One data set, or several in the order of the multiplexer's index; may be None with `fitness`.
        seed: Of everything random: a whole number or a SeedSequence.
        n_offspring: lambda.
        n_parents: mu.
        is_plus: Parents compete with their children; otherwise they die, and n_offspring >= n_parents.
        mutation: See `mutate`.
        rate: In 0..1.
        threshold: Error from which energy decides, in units of `error`; None: never.
        is_drifting: Equal children replace their parent in the second phase too; the published system's do not.
        patience: Generations without strict improvement after which the search stops, or None.
        targets: At which it stops, or None.
        costs: Costs of functions; None is `CostTable.default`.
        error: "se", "mse", "ae" or "mae".
        start: Genomes to start from, (n_genes,) or (n_parents, n_genes); None draws them.
        fitness: Errors (n,) of genomes (n, n_genes) int32, lower is better, in place of `error` on `data`. A call per
            generation instead of none: slow.

    Source: Miller 2011, chapter 2.4 (neutral drift: Miller and Smith 2006, doi:10.1109/TEVC.2006.871253).
    """

    def __init__(
        self,
        grid: Grid,
        functions: FunctionSet,
        data: DataSet | Sequence[DataSet] | None,
        *,
        seed: int | np.random.SeedSequence,
        n_offspring: int = 4,
        n_parents: int = 1,
        is_plus: bool = True,
        mutation: str = "uniform",
        rate: float = 0.05,
        threshold: float | None = 0.0,
        is_drifting: bool = True,
        patience: int | None = None,
        targets: Targets | Mapping[str, float] | None = None,
        costs: CostTable | None = None,
        error: str = "se",
        start: np.ndarray | None = None,
        fitness: Fitness | None = None,
    ) -> None:
        if data is None and fitness is None:
            raise ValueError("a search needs data, or a fitness function of its own")
        self.problem = Problem(grid, functions, data, costs, error)
        self.fitness = fitness
        self._asked: np.ndarray | None = None
        goal = targets if isinstance(targets, Targets) else _targets(targets or {})
        _check_settings(n_offspring, n_parents, is_plus, rate, patience)
        bounds = [np.inf if value is None else float(value) for value in (goal.error, goal.energy_pj, goal.n_gates)]
        if np.isnan(bounds).any() or (threshold is not None and np.isnan(threshold)):
            raise ValueError(f"thresholds and targets must be numbers, got {threshold}, {goal}")
        settings = ffi.new(
            "cgp_settings *",
            (
                n_parents,
                n_offspring,
                is_plus,
                choice(mutation, MUTATIONS, "mutation"),
                rate,
                -1.0 if threshold is None else threshold,
                is_drifting,
                fitness is not None,
                patience or 0,
                *bounds,
                goal != Targets(),
            ),
        )
        genes = ffi.NULL
        if start is not None:
            begin = self.problem.genes(start)
            if len(begin) != n_parents:
                raise ValueError(f"start must hold {n_parents} genomes, got {len(begin)}")
            genes = pointer("int32_t[]", begin)
        strategy = ffi.new("cgp_strategy **")
        words = pointer("uint64_t[]", rng_words(seed))
        check(lib.cgp_strategy_new(self.problem.handle, settings, words, genes, strategy))
        self._handle = ffi.gc(strategy[0], lib.cgp_strategy_free)

    def advance(self, n_gen: int) -> Counts:
        """Up to `n_gen` more generations; fewer when targets or patience end the search. The GIL is released."""
        if self.fitness is None:
            check(lib.cgp_strategy_advance(self._handle, n_gen))
            return self.counts
        last = self.counts.n_gen + n_gen
        while not self._has_scores() or (self.counts.n_gen < last and not self.counts.stop):
            # kept until their errors are told: a fitness that raises is asked about the same genomes again
            self._asked = self.ask() if self._asked is None else self._asked
            errors = self.fitness(self._asked)
            self.tell(errors)
        return self.counts

    def ask(self) -> np.ndarray:
        """With a fitness of one's own: genomes (n, n_genes) int32 that wait for their errors; first the parents."""
        genes = np.empty((lib.cgp_strategy_n_asked(self._handle), self.problem.grid.n_genes), dtype=np.int32)
        check(lib.cgp_strategy_ask(self._handle, output("int32_t[]", genes)))
        return genes

    def tell(self, errors: np.ndarray | Sequence[float]) -> None:
        """Errors (n,) of the genomes last asked for; not-a-number counts as infinite."""
        n_asked = lib.cgp_strategy_n_asked(self._handle)
        values = np.ascontiguousarray(errors, dtype=np.float64)
        if values.shape != (n_asked,):
            raise ValueError(f"{n_asked} genomes were asked for, got errors of shape {values.shape}")
        check(lib.cgp_strategy_tell(self._handle, pointer("double[]", values)))
        self._asked = None

    def _has_scores(self) -> bool:
        return bool(lib.cgp_strategy_is_started(self._handle))

    @property
    def counts(self) -> Counts:
        """Generations, candidates and the rest, so far."""
        c = ffi.new("cgp_counts *")
        lib.cgp_strategy_counts(self._handle, c)
        return Counts(
            c.n_gen, c.n_gen_stalled, c.n_candidates, c.n_neutral, c.n_dearer, c.n_node_evals, STOPS[c.stop], c.n_active
        )

    @property
    def best(self) -> Genome:
        """The best genome so far, with its score."""
        genes = np.empty(self.problem.grid.n_genes, dtype=np.int32)
        score = ffi.new("cgp_score *")
        check(lib.cgp_strategy_best(self._handle, output("int32_t[]", genes), score))
        names = ("error", "energy_pj", "delay", "area", "n_gates", "depth")
        return Genome(
            self.problem.grid,
            self.problem.functions,
            genes,
            score={name: getattr(score, name) for name in names},
        )

    def state(self) -> dict[str, np.ndarray]:
        """All that it takes to go on later, as plain arrays."""
        sizes = [ffi.new("size_t *") for _ in range(3)]
        lib.cgp_strategy_state_size(self._handle, *sizes)
        genes = np.empty(sizes[0][0], dtype=np.int32)
        scores = np.empty(sizes[1][0], dtype=np.float64)
        words = np.empty(sizes[2][0], dtype=np.uint64)
        check(
            lib.cgp_strategy_save(
                self._handle, output("int32_t[]", genes), output("double[]", scores), output("uint64_t[]", words)
            )
        )
        return {"genes": genes, "scores": scores, "words": words}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on from a state of a strategy with the same problem and settings, exactly as that one would.

        Raises:
            ValueError: An array is missing, has another length or type, or holds what cannot be.
        """
        expected = self.state()
        arrays = {}
        for name, like in expected.items():
            if name not in state:
                raise ValueError(f"a strategy's state needs the array {name!r}; it holds {', '.join(state)}")
            values = np.asarray(state[name])
            if values.shape != like.shape or values.dtype != like.dtype:
                raise ValueError(
                    f"a state's {name} must be {like.dtype} {like.shape} for this problem and these settings, "
                    f"got {values.dtype} {values.shape}"
                )
            arrays[name] = np.ascontiguousarray(values)
        check(
            lib.cgp_strategy_load(
                self._handle,
                pointer("int32_t[]", arrays["genes"]),
                pointer("double[]", arrays["scores"]),
                pointer("uint64_t[]", arrays["words"]),
            )
        )
        self._asked = None


class StrategySettings(TypedDict, total=False):
    """What `Strategy` takes by name beside the seed, for functions that hand it on."""

    n_offspring: int
    n_parents: int
    is_plus: bool
    mutation: str
    rate: float
    threshold: float | None
    is_drifting: bool
    patience: int | None
    targets: Targets | Mapping[str, float] | None
    costs: CostTable | None
    error: str
    start: np.ndarray | None
    fitness: Fitness | None


def evolve(
    grid: Grid,
    functions: FunctionSet,
    data: DataSet | Sequence[DataSet] | None,
    *,
    seed: int | np.random.SeedSequence,
    n_gen: int,
    on_progress: Callable[[Strategy], object] | None = None,
    n_gen_chunk: int = 10_000,
    **settings: Unpack[StrategySettings],
) -> Genome:
    """The best circuit of one search.

    Args:
        grid: The grid.
        functions: The function set.
        data: One data set or several; may be None with `fitness`.
        seed: Of everything random.
        n_gen: Generations at most.
        on_progress: Called with the strategy after every chunk; a True return ends the search.
        n_gen_chunk: Generations between two such calls.
        **settings: As `Strategy` takes them, by the same names and with the same defaults.

    Returns:
        The genome, with its score and what the search did.

    Raises:
        TypeError: A setting that `Strategy` does not have.
        ValueError: As `Strategy`.

    Example:
        >>> data = DataSet(np.array([[1, 2, 3]]), np.array([[3, 1]]))
        >>> best = evolve(Grid(3, 2, 1, 10), FunctionSet.int8(), data, seed=1, n_gen=1000)
        >>> best.score["error"]
        0.0
    """
    unknown = set(settings) - set(StrategySettings.__annotations__)
    if unknown:
        raise TypeError(
            f"evolve takes the settings {', '.join(StrategySettings.__annotations__)}; got {unknown.pop()!r}"
        )
    strategy = Strategy(grid, functions, data, seed=seed, **settings)
    done = 0
    while done < n_gen:
        chunk = min(n_gen_chunk, n_gen - done)
        counts = strategy.advance(chunk)
        done += chunk
        if counts.stop or (on_progress is not None and on_progress(strategy) is True):
            break
    return strategy.best.with_counts(strategy.counts)


def _targets(values: Mapping[str, float]) -> Targets:
    unknown = set(values) - {"error", "energy_pj", "n_gates"}
    if unknown:
        raise ValueError(f"targets are error, energy_pj and n_gates; got {', '.join(sorted(unknown))}")
    return Targets(**values)


def _check_settings(n_offspring: int, n_parents: int, is_plus: bool, rate: float, patience: int | None) -> None:
    for name, value in (("n_offspring", n_offspring), ("n_parents", n_parents)):
        if not 1 <= value <= 1_000_000:
            raise ValueError(f"{name} must lie in 1..1000000, got {value}")
    if not is_plus and n_offspring < n_parents:
        raise ValueError(f"(mu, lambda) needs n_offspring >= n_parents, got {n_offspring} and {n_parents}")
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"a mutation rate must lie in 0..1, got {rate}")
    if patience is not None and patience < 1:
        raise ValueError(f"patience must be at least 1 generation, got {patience}")

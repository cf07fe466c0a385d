"""Problem: grid, functions, costs and data as the C library takes them; evaluation and mutation of genomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from native._cgp import ffi, lib
from native.circuits.binding import check, choice, output, pointer, rng_words
from native.circuits.costs import CostTable
from native.circuits.data import DataSet, Samples, in_domain, join
from native.circuits.functions import DOMAINS, FunctionSet
from native.circuits.grid import Grid

ERRORS = {"se": lib.CGP_SE, "mse": lib.CGP_MSE, "ae": lib.CGP_AE, "mae": lib.CGP_MAE}
MUTATIONS = {
    "uniform": lib.CGP_UNIFORM_COUNT,
    "point": lib.CGP_POINT,
    "probabilistic": lib.CGP_PROBABILISTIC,
    "single": lib.CGP_SINGLE,
    "only-active": lib.CGP_ONLY_ACTIVE,
}


@dataclass(frozen=True)
class Scores:
    """Scores of n genomes, each an (n,) array.

    `error` as asked for (infinite where it is not a number), `energy_pj` and `area` summed over active gates, `delay`
    along the longest path, `n_gates` active gates (a wire is none), `depth` of the longest path in gates.
    """

    error: np.ndarray
    energy_pj: np.ndarray
    delay: np.ndarray
    n_gates: np.ndarray
    area: np.ndarray
    depth: np.ndarray

    def __getitem__(self, name: str) -> np.ndarray:
        return getattr(self, name)

    def __len__(self) -> int:
        return len(self.error)


class Problem:
    """The C library's problem, which lives as long as this object. Shared by threads freely.

    Args:
        grid: The grid.
        functions: The function set.
        data: One data set or several, in the order of the multiplexer's index; None where no error is asked for.
        costs: A cost table of the same domain; None is `CostTable.default`.
        error: "se", "mse", "ae" or "mae".
    """

    def __init__(
        self,
        grid: Grid,
        functions: FunctionSet,
        data: DataSet | Sequence[DataSet] | None = None,
        costs: CostTable | None = None,
        error: str = "se",
    ) -> None:
        costs = CostTable.default(functions.domain) if costs is None else costs
        if costs.domain != functions.domain:
            raise ValueError(f"the cost table is for {costs.domain}, the function set for {functions.domain}")
        functions.check_arity(grid.arity)
        self.grid, self.functions, self.costs, self.error = grid, functions, costs, error
        ids = np.array(functions.ids, dtype=np.int32)
        columns = [np.ascontiguousarray(column[ids]) for column in (costs.energy_pj, costs.area, costs.delay)]
        c_set = ffi.new(
            "cgp_function_set *",
            (
                DOMAINS[functions.domain],
                len(ids),
                pointer("int32_t[]", ids),
                *(pointer("double[]", column) for column in columns),
            ),
        )
        code = choice(error, ERRORS, "error")
        samples = None if data is None else join(data, grid, functions.dtype)
        c_data = ffi.NULL if samples is None else self._c_data(samples, code)
        problem = ffi.new("cgp_problem **")
        check(lib.cgp_problem_new(self._c_grid(), c_set, c_data, problem))
        self.handle = ffi.gc(problem[0], lib.cgp_problem_free)

    def _c_grid(self) -> Any:
        g = self.grid
        return ffi.new(
            "cgp_grid *", (g.n_inputs, g.n_outputs, g.rows, g.cols, min(g.reach, 2**31 - 1), g.arity, g.recurrent)
        )

    def _c_data(self, samples: Samples, error: int) -> Any:
        weights = ffi.NULL if samples.weights is None else pointer("double[]", samples.weights)
        parts = (
            pointer("size_t[]", samples.set_start),
            pointer("char[]", samples.inputs),
            pointer("char[]", samples.outputs),
            weights,
        )
        return ffi.new("cgp_data *", (len(samples.inputs), len(samples.set_start) - 1, *parts, error))

    def genes(self, X: np.ndarray) -> np.ndarray:
        """Genomes as the C library takes them: (n, n_genes) int32, contiguous and in range.

        Raises:
            ValueError: Wrong shape or type, or a gene out of range; the message says which.
        """
        X = np.asarray(X)
        n_genes = self.grid.n_genes
        if X.ndim == 1:
            X = X[None]
        if X.ndim != 2 or X.shape[1] != n_genes:
            raise ValueError(f"genomes of {self.grid} must have shape (n, {n_genes}), got {X.shape}")
        if X.dtype.kind not in "iu":
            raise ValueError(f"genomes must hold integers, got {X.dtype}")
        genes = np.ascontiguousarray(X, dtype=np.int32)
        lower, upper = self.bounds()
        is_bad = (lower > X) | (upper < X)
        if is_bad.any():
            i, k = np.argwhere(is_bad)[0]
            raise ValueError(
                f"gene {k} of genome {i} is {X[i, k]}, outside {lower[k]}..{upper[k]} "
                f"({gene_name(self.grid, int(k))} of a grid {self.grid})"
            )
        return genes

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bound of every gene, both inclusive: two (n_genes,) int32."""
        lower, upper = (np.empty(self.grid.n_genes, dtype=np.int32) for _ in range(2))
        lib.cgp_bounds(self.handle, output("int32_t[]", lower), output("int32_t[]", upper))
        return lower, upper

    def evaluate(self, X: np.ndarray) -> Scores:
        """Scores of genomes (n, n_genes)."""
        genes = self.genes(X)
        scores = ffi.new("cgp_score[]", len(genes))
        check(lib.cgp_evaluate(self.handle, len(genes), pointer("int32_t[]", genes), scores))
        dtype = np.dtype(
            [(n, "f8") for n in ("error", "energy_pj", "delay", "area")] + [(n, "i4") for n in ("n_gates", "depth")]
        )
        table = np.frombuffer(ffi.buffer(scores), dtype=dtype)
        return Scores(**{name: table[name].copy() for name in table.dtype.names or ()})

    def outputs(self, X: np.ndarray, inputs: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Values (n, n_samples, n_outputs) of genomes on inputs (n_samples, n_inputs), or a list of sets."""
        genes = self.genes(X)
        groups = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        parts = [np.atleast_2d(np.asarray(group)) for group in groups]
        for part in parts:
            if part.ndim != 2 or part.shape[1] != self.grid.n_inputs:
                raise ValueError(f"inputs must have shape (n_samples, {self.grid.n_inputs}), got {part.shape}")
        rows = np.concatenate([in_domain(part, self.functions.dtype, "inputs") for part in parts])
        starts = np.cumsum([0, *(len(part) for part in parts)]).astype(np.uintp)
        values = np.empty((len(genes), len(rows), self.grid.n_outputs), dtype=self.functions.dtype)
        check(
            lib.cgp_outputs(
                self.handle,
                len(genes),
                pointer("int32_t[]", genes),
                len(rows),
                len(parts),
                pointer("size_t[]", starts),
                pointer("char[]", rows),
                output("char[]", values),
            )
        )
        return values

    def active(self, x: np.ndarray) -> np.ndarray:
        """(n_gates,) bool: gates that an output depends on."""
        genes = self.genes(x)
        is_active = np.zeros(self.grid.n_gates, dtype=np.uint8)
        check(lib.cgp_active(self.handle, pointer("int32_t[]", genes), output("uint8_t[]", is_active)))
        return is_active.astype(bool)

    def random(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_genes) int32 genomes, each gene uniform in its range."""
        genes = np.empty((n, self.grid.n_genes), dtype=np.int32)
        check(lib.cgp_random(self.handle, n, output("uint64_t[]", rng_words(rng)), output("int32_t[]", genes)))
        return genes

    def mutate(self, X: np.ndarray, rng: np.random.Generator, mutation: str, rate: float) -> np.ndarray:
        """A child of each genome: (n, n_genes) int32."""
        genes = self.genes(X)
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"a mutation rate must lie in 0..1, got {rate}")
        children = np.empty_like(genes)
        code = choice(mutation, MUTATIONS, "mutation")
        words = output("uint64_t[]", rng_words(rng))
        check(
            lib.cgp_mutate(
                self.handle, code, rate, len(genes), words, pointer("int32_t[]", genes), output("int32_t[]", children)
            )
        )
        return children


def gene_name(grid: Grid, gene: int) -> str:
    """Which gene that is, in words."""
    gate, k = divmod(gene, grid.arity + 1)
    if gate >= grid.n_gates:
        return f"output {gene - grid.n_gates * (grid.arity + 1)}"
    return f"{'function' if k == grid.arity else f'connection {k}'} of gate {gate}"


def evaluate(
    X: np.ndarray,
    grid: Grid,
    functions: FunctionSet,
    data: DataSet | Sequence[DataSet],
    costs: CostTable | None = None,
    error: str = "se",
) -> Scores:
    """Scores of genomes on data: error, energy, delay, gates, area, depth.

    Args:
        X: (n, n_genes) integers.
        grid: The grid.
        functions: The function set.
        data: One data set, or several in the order of the multiplexer's index, whose errors are summed.
        costs: Costs of functions; None is `CostTable.default`.
        error: Over all samples and outputs, weighted: "se" sum of squares, "mse" mean of squares, "ae" sum of absolute
            errors, "mae" their mean.

    Returns:
        Scores, each an (n,) array.
    """
    return Problem(grid, functions, data, costs, error).evaluate(X)


def outputs(X: np.ndarray, grid: Grid, functions: FunctionSet, inputs: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Values (n, n_samples, n_outputs) that genomes compute from inputs (n_samples, n_inputs), or a list of sets."""
    return Problem(grid, functions).outputs(X, inputs)


def bounds(grid: Grid, functions: FunctionSet) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of every gene, both inclusive: two (n_genes,) int32."""
    return Problem(grid, functions).bounds()


def active(x: np.ndarray, grid: Grid, functions: FunctionSet) -> np.ndarray:
    """(n_gates,) bool: gates that an output depends on."""
    return Problem(grid, functions).active(x)


def random_genomes(grid: Grid, functions: FunctionSet, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, n_genes) int32 genomes, each gene uniform in its range."""
    return Problem(grid, functions).random(n, rng)


def mutate(
    X: np.ndarray,
    grid: Grid,
    functions: FunctionSet,
    rng: np.random.Generator,
    *,
    mutation: str = "uniform",
    rate: float = 0.05,
) -> np.ndarray:
    """A child of each genome.

    Args:
        X: (n, n_genes) integers; left as they are.
        grid: The grid.
        functions: The function set.
        rng: What the children are drawn from.
        mutation: "uniform" redraws a number of genes uniform in 0..ceil(rate * n_genes), "point" round(rate * n_genes),
            "probabilistic" each gene with probability `rate`, "single" genes until an active one has changed (Goldman
            and Punch 2013, doi:10.1007/978-3-642-37207-0_11), "only-active" each active gene with probability `rate`.
        rate: In 0..1.

    Returns:
        (n, n_genes) int32.
    """
    return Problem(grid, functions).mutate(X, rng, mutation, rate)

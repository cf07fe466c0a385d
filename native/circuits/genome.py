"""Genome: a circuit as genes, its active gates, what it computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from native.circuits.counts import Counts
from native.circuits.formulas import plain_text
from native.circuits.functions import FunctionSet
from native.circuits.gate import Gate
from native.circuits.grid import Grid
from native.circuits.problem import Problem


@dataclass(frozen=True, eq=False)
class Genome:
    """One genome with the grid and functions that give it meaning.

    Args:
        grid: The grid.
        functions: The function set.
        genes: (n_genes,) integers; kept as int32, read-only.
        score: Its score, where one is known: error, energy_pj, delay, area, n_gates, depth.
        counts: What the search that found it did, where there was one.

    Raises:
        ValueError: Wrong length, or a gene out of its range.
    """

    grid: Grid
    functions: FunctionSet
    genes: np.ndarray
    score: Mapping[str, float] = field(default_factory=dict)
    counts: Counts | None = None

    def __post_init__(self) -> None:
        genes = self._problem().genes(np.asarray(self.genes))
        if len(genes) != 1:
            raise ValueError(f"a Genome holds one genome, got {len(genes)}")
        copy = genes[0].copy()
        copy.flags.writeable = False
        object.__setattr__(self, "genes", copy)

    def _problem(self) -> Problem:
        return Problem(self.grid, self.functions)

    def with_counts(self, counts: Counts) -> Genome:
        """The same genome, with what the search did."""
        return replace(self, counts=counts)

    @property
    def is_active(self) -> np.ndarray:
        """(n_gates,) bool: gates that an output depends on."""
        return self._problem().active(self.genes)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Active gates in order of their number, which is an order of evaluation."""
        size, names, reads = self.grid.arity + 1, self.functions.names, self.functions.n_read(self.grid.arity)
        gates = []
        for number in np.flatnonzero(self.is_active):
            genes = self.genes[number * size : (number + 1) * size]
            sources = tuple(int(pin) for pin in genes[: reads[genes[-1]]])
            gates.append(Gate(int(number), names[genes[-1]], sources))
        return tuple(gates)

    @property
    def output_pins(self) -> tuple[int, ...]:
        """The pin of each output."""
        return tuple(int(pin) for pin in self.genes[-self.grid.n_outputs :])

    @property
    def n_active(self) -> int:
        """Active gates, wires included."""
        return int(self.is_active.sum())

    @property
    def n_active_connections(self) -> int:
        """Connections that active gates read."""
        return sum(len(gate.sources) for gate in self.gates)

    def __call__(self, inputs: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """Values (n_samples, n_outputs) for inputs (n_samples, n_inputs), or for a list of data sets."""
        return self._problem().outputs(self.genes, inputs)[0]

    def __str__(self) -> str:
        return plain_text(self.gates, self.output_pins, self.grid.n_inputs, self.functions.domain)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Genome):
            return NotImplemented
        same = self.grid == other.grid and self.functions == other.functions
        return same and np.array_equal(self.genes, other.genes)

    def __hash__(self) -> int:
        return hash((self.grid, self.functions, self.genes.tobytes()))

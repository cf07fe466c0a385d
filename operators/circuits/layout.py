"""Layout of a genome: where the genes of a Cartesian genetic program lie, their bounds, which of them are active."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class GridLayout:
    """A grid of `rows` x `cols` gates: per gate its operands and its function, then one gene an output.

    Gates are numbered column by column (gate = col * rows + row), pins are the inputs and then the gates' outputs.
    The inputs count as column 0: a gate in column c, from 1, reads columns max(0, c - levels_back) .. c - 1, and the
    outputs read as if they stood in column cols + 1.

    Args:
        n_inputs: Inputs, at least 1.
        n_outputs: Outputs, at least 1.
        rows: Gates in a column.
        cols: Columns.
        levels_back: Columns that a gate can look back, 1 .. cols + 1.
        operands_used: (n_functions,) for each function how many operands it reads, 0 .. arity.
        arity: Operand genes of a gate.

    Source: Miller 2011, Cartesian Genetic Programming, doi:10.1007/978-3-642-17310-3, ch. 2.
    """

    n_inputs: int
    n_outputs: int
    rows: int
    cols: int
    levels_back: int
    operands_used: np.ndarray
    arity: int = 2

    @property
    def n_gates(self) -> int:
        """Gates of the grid."""
        return self.rows * self.cols

    @property
    def n_genes(self) -> int:
        """Length of a genome."""
        return self.n_gates * (self.arity + 1) + self.n_outputs

    @property
    def stride(self) -> int:
        """Genes of one gate: its operands, then its function."""
        return self.arity + 1

    @cached_property
    def xl(self) -> np.ndarray:
        """(n_genes,) int64, the least value of each gene."""
        return self._bounds[0]

    @cached_property
    def xu(self) -> np.ndarray:
        """(n_genes,) int64, the largest value of each gene."""
        return self._bounds[1]

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        column = np.arange(1, self.cols + 2)
        first = np.maximum(column - self.levels_back, 0)
        lowest = np.where(first == 0, 0, self.n_inputs + (first - 1) * self.rows)
        highest = self.n_inputs + (column - 1) * self.rows - 1
        low = np.zeros((self.n_gates, self.stride), dtype=np.int64)
        high = np.full((self.n_gates, self.stride), len(self.operands_used) - 1, dtype=np.int64)
        low[:, :-1] = np.repeat(lowest[:-1], self.rows)[:, None]
        high[:, :-1] = np.repeat(highest[:-1], self.rows)[:, None]
        ends = np.full(self.n_outputs, lowest[-1]), np.full(self.n_outputs, highest[-1])
        return np.concatenate([low.ravel(), ends[0]]), np.concatenate([high.ravel(), ends[1]])

    def gates(self, X: np.ndarray) -> np.ndarray:
        """The gates' genes of (n, n_genes) genomes: (n, n_gates, arity + 1), a view where X is contiguous."""
        return X[:, : self.n_gates * self.stride].reshape(len(X), self.n_gates, self.stride)

    def active(self, X: np.ndarray) -> np.ndarray:
        """(n, n_gates) bool: the gates that some output depends on, of (n, n_genes) genomes."""
        gates = self.gates(X)
        used = np.zeros((len(X), self.n_inputs + self.n_gates), dtype=bool)
        used[np.arange(len(X))[:, None], X[:, self.n_gates * self.stride :]] = True
        for col in range(self.cols - 1, -1, -1):
            start = col * self.rows
            i, row = np.nonzero(used[:, self.n_inputs + start : self.n_inputs + start + self.rows])
            genes = gates[i, start + row]
            n_read = self.operands_used[genes[:, -1]]
            for k in range(self.arity):
                reads = n_read > k
                used[i[reads], genes[reads, k]] = True
        return used[:, self.n_inputs :]

    def active_genes(self, X: np.ndarray) -> np.ndarray:
        """(n, n_genes) bool: the genes that the outputs depend on; operands that a function does not read are none."""
        active = self.active(X)
        mask = np.ones(X.shape, dtype=bool)
        inner = self.gates(mask)
        inner[:, :, -1] = active
        n_read = self.operands_used[self.gates(X)[:, :, -1]]
        for k in range(self.arity):
            inner[:, :, k] = active & (n_read > k)
        return mask

    def canonical(self, X: np.ndarray) -> np.ndarray:
        """The genomes with every gene that does not count set to its least value: equal circuits get equal rows."""
        return np.where(self.active_genes(X), X, self.xl)

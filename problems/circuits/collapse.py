"""Deduplication of outputs: equal weights share one; 2,550 weights are at most 256 different values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from native.cgp import DataSet
from problems.circuits.tasks import WeightData


class CollapsedTask:
    """The data sets of one circuit, side by side, with outputs that can be one collapsed into one.

    Data sets of different sizes are filled up: inputs with zeros, outputs with entries that no one cares about. Two
    outputs become one when their values agree in every data set that cares about both.

    Args:
        data: The data sets; the multiplexer tells them apart by their order.
        collapse: Whether outputs are collapsed at all.

    Attributes:
        n_inputs: Of the circuit.
        n_outputs: Of the circuit.
        distinct: (n_sets, n_outputs) int8, the value that each output must have; 0 where no one cares.
        counts: (n_sets, n_outputs) int64, how many weights an output stands for; 0 where no one cares.
        data: The same for the library, one data set each.
    """

    def __init__(self, data: Sequence[WeightData], *, collapse: bool = True) -> None:
        self.n_inputs = max(len(d.inputs) for d in data)
        self._sizes = [len(d.outputs) for d in data]
        n_columns = max(self._sizes)
        values = np.zeros((len(data), n_columns), dtype=np.int8)
        cares = np.zeros((len(data), n_columns), dtype=bool)
        for k, d in enumerate(data):
            values[k, : len(d.outputs)] = d.outputs
            cares[k, : len(d.outputs)] = True
        self._which = _groups(values, cares) if collapse else np.arange(n_columns)
        self.n_outputs = int(self._which.max()) + 1
        self.distinct = np.zeros((len(data), self.n_outputs), dtype=np.int8)
        self.counts = np.zeros((len(data), self.n_outputs), dtype=np.int64)
        for k in range(len(data)):
            columns = np.flatnonzero(cares[k])
            self.distinct[k, self._which[columns]] = values[k, columns]
            np.add.at(self.counts[k], self._which[columns], 1)
        inputs = np.zeros((len(data), self.n_inputs), dtype=np.int8)
        for k, d in enumerate(data):
            inputs[k, : len(d.inputs)] = d.inputs
        self.data = [
            DataSet(
                inputs[k : k + 1],
                self.distinct[k : k + 1],
                weights=self.counts[k : k + 1].astype(np.float64),
                is_care=self.counts[k : k + 1] > 0,
            )
            for k in range(len(data))
        ]

    def expand(self, outputs: np.ndarray) -> list[np.ndarray]:
        """What the circuit gives, as many values as there are weights.

        Args:
            outputs: (n_sets, n_outputs) int8.

        Returns:
            One (n_weights of the data set,) int8 array a data set.
        """
        return [row[self._which[:size]] for row, size in zip(outputs, self._sizes, strict=True)]


def _groups(values: np.ndarray, cares: np.ndarray) -> np.ndarray:
    """(n_columns,) group of each column; columns that agree wherever both care share one.

    Columns that care most come first, so that those that care less find them.
    """
    order = np.argsort(-cares.sum(axis=0), kind="stable")
    which = np.empty(values.shape[1], dtype=np.int64)
    group_values = np.zeros_like(values)
    group_cares = np.zeros_like(cares)
    n = 0
    for column in order:
        value, care = values[:, column], cares[:, column]
        clash = (group_values[:, :n] != value[:, None]) & group_cares[:, :n] & care[:, None]
        fitting = np.flatnonzero(~clash.any(axis=0))
        k = int(fitting[0]) if len(fitting) else n
        n = max(n, k + 1)
        which[column] = k
        group_values[care, k] = value[care]
        group_cares[:, k] |= care
    return which

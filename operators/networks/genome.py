"""NetworkGenome: a fully connected network written as what it kept of its parent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class ParentNetwork:
    """The network that every genome descends from, as plain arrays.

    Args:
        weights: One (n_out, n_in) float32 array per linear layer, the output layer included.
        biases: One (n_out,) float32 array per linear layer.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.biases) or len(self.weights) < 2:
            raise ValueError(
                f"A parent needs one bias per weight and at least one hidden layer, "
                f"got {len(self.weights)} weights and {len(self.biases)} biases."
            )
        object.__setattr__(self, "weights", tuple(_frozen(w, np.float32) for w in self.weights))
        object.__setattr__(self, "biases", tuple(_frozen(b, np.float32) for b in self.biases))
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if weight.ndim != 2 or bias.shape != weight.shape[:1]:
                raise ValueError(f"Layer {k}: weight {weight.shape} and bias {bias.shape} do not fit together.")
            if k and weight.shape[1] != self.weights[k - 1].shape[0]:
                raise ValueError(
                    f"Layer {k} takes {weight.shape[1]} inputs, layer {k - 1} gives {self.weights[k - 1].shape[0]}."
                )

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons in each hidden layer."""
        return tuple(weight.shape[0] for weight in self.weights[:-1])

    @property
    def n_inputs(self) -> int:
        """Inputs of the first layer."""
        return self.weights[0].shape[1]

    @property
    def n_outputs(self) -> int:
        """Outputs of the last layer."""
        return self.weights[-1].shape[0]

    def least_widths(self, fraction: float) -> tuple[int, ...]:
        """Neurons per hidden layer that are `fraction` of all, rounded, at least one."""
        return tuple(max(1, round(fraction * width)) for width in self.widths)

    def genome(self, ids: Sequence[np.ndarray] | None = None) -> NetworkGenome:
        """The genome that keeps `ids`, one array per hidden layer; None keeps every neuron."""
        if ids is None:
            ids = [np.arange(width) for width in self.widths]
        if len(ids) != len(self.widths):
            raise ValueError(f"ids needs one array per hidden layer ({len(self.widths)}), got {len(ids)}.")
        empty: tuple[None, ...] = (None,) * len(self.weights)
        return NetworkGenome(tuple(np.sort(layer) for layer in ids), empty, empty)


@dataclass(frozen=True, slots=True, eq=False)
class NetworkGenome:
    """A network that descends from a parent: which neurons it kept, and what changed in them.

    A layer whose entry in `weights` and `biases` is None has exactly the parent's connections
    between the neurons that were kept (compact form). An explicit weight replaces the top-left
    corner of these connections, or all of them when it has the layer's full shape; an explicit bias
    is whole. Genomes are immutable, and compare equal when they hold equal arrays.

    Args:
        ids: One sorted int16 array per hidden layer: the parent's neurons that these descend from.
        weights: One entry per linear layer: None, or (r, c) float32 with r <= n_out, c <= n_in.
        biases: One entry per linear layer: None, or (n_out,) float32.
    """

    ids: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray | None, ...]
    biases: tuple[np.ndarray | None, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(_frozen(layer, np.int16) for layer in self.ids))
        object.__setattr__(self, "weights", tuple(_frozen(w, np.float32) for w in self.weights))
        object.__setattr__(self, "biases", tuple(_frozen(b, np.float32) for b in self.biases))
        if min(self.widths) < 1:
            raise ValueError(f"Every hidden layer needs at least one neuron, got widths {self.widths}.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons in each hidden layer."""
        return tuple(layer.size for layer in self.ids)

    @property
    def is_compact(self) -> bool:
        """Whether every weight is the parent's."""
        return all(w is None for w in self.weights) and all(b is None for b in self.biases)

    def shape(self, k: int, parent: ParentNetwork) -> tuple[int, int]:
        """(n_out, n_in) of linear layer k."""
        n_out = self.ids[k].size if k < len(self.ids) else parent.n_outputs
        return n_out, self.ids[k - 1].size if k else parent.n_inputs

    def layer(self, k: int, parent: ParentNetwork) -> tuple[np.ndarray, np.ndarray]:
        """Weight (n_out, n_in) and bias (n_out,) of linear layer k; do not change them."""
        return self.layer_weight(k, parent), self.layer_bias(k, parent)

    def layer_weight(self, k: int, parent: ParentNetwork) -> np.ndarray:
        """Weight (n_out, n_in) of linear layer k; do not change it."""
        weight, shape = self.weights[k], self.shape(k, parent)
        return weight if weight is not None and weight.shape == shape else self.corner(k, parent, *shape)

    def layer_bias(self, k: int, parent: ParentNetwork) -> np.ndarray:
        """Bias (n_out,) of linear layer k; do not change it."""
        bias = self.biases[k]
        if bias is not None:
            return bias
        return parent.biases[k][self.ids[k]] if k < len(self.ids) else parent.biases[k]

    def corner(self, k: int, parent: ParentNetwork, n_rows: int, n_columns: int) -> np.ndarray:
        """A new array with the first rows and columns of linear layer k's weight, at least the explicit ones."""
        weight = self.weights[k]
        if weight is not None and weight.shape == (n_rows, n_columns):
            return weight.copy()
        corner = inherited_corner(self.ids, k, parent, n_rows, n_columns)
        if weight is not None:
            corner[: weight.shape[0], : weight.shape[1]] = weight
        return corner

    def materialise(self, parent: ParentNetwork) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """All weights and biases, as lists of float32 arrays; do not change them."""
        layers = [self.layer(k, parent) for k in range(len(self.weights))]
        return [weight for weight, _ in layers], [bias for _, bias in layers]

    def fingerprint(self) -> bytes:
        """16 bytes that are equal for equal genomes."""
        digest = hashlib.blake2b(digest_size=16)
        for layer in self.ids:
            digest.update(layer.size.to_bytes(4, "little"))
            digest.update(layer.tobytes())
        for array in (*self.weights, *self.biases):
            digest.update(b"-" if array is None else repr(array.shape).encode())
            if array is not None:
                digest.update(array.data)
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NetworkGenome):
            return NotImplemented
        return self is other or self.fingerprint() == other.fingerprint()

    def __hash__(self) -> int:
        return hash(self.fingerprint())

    def __copy__(self) -> NetworkGenome:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> NetworkGenome:
        return self


def descend(parent: ParentNetwork, ids: Sequence[np.ndarray], *sources: NetworkGenome) -> NetworkGenome:
    """The genome with `ids` whose connections come from `sources`, the first that has one wins.

    A connection that no source has comes from the parent. Layers in which every source is compact
    stay compact.

    Args:
        parent: The network that all descend from.
        ids: One sorted integer array per hidden layer.
        sources: Genomes in order of precedence.

    Returns:
        A new genome.
    """
    n_layers = len(parent.weights)
    weights: list[np.ndarray | None] = []
    biases: list[np.ndarray | None] = []
    for k in range(n_layers):
        rows = ids[k] if k < n_layers - 1 else None
        columns = ids[k - 1] if k else None
        if all(s.weights[k] is None for s in sources):
            weights.append(None)
        else:
            full = parent.weights[k].copy()
            for source in reversed(sources):
                full[_grid(source, k)] = source.layer(k, parent)[0]
            full = full if rows is None else full[rows]
            weights.append(full if columns is None else full[:, columns])
        if all(s.biases[k] is None for s in sources):
            biases.append(None)
        else:
            bias = parent.biases[k].copy()
            for source in reversed(sources):
                bias[source.ids[k] if k < n_layers - 1 else slice(None)] = source.layer(k, parent)[1]
            biases.append(bias if rows is None else bias[rows])
    return NetworkGenome(tuple(ids), tuple(weights), tuple(biases))


def inherited_corner(
    ids: Sequence[np.ndarray], k: int, parent: ParentNetwork, n_rows: int, n_columns: int
) -> np.ndarray:
    """The first rows and columns of layer k as inherited by the neurons `ids`: a new (n_rows, n_columns) array."""
    weight = parent.weights[k]
    rows = ids[k][:n_rows] if k < len(ids) else np.arange(n_rows)
    if k == 0:
        return weight[rows, :n_columns]
    return weight[rows].take(ids[k - 1][:n_columns], axis=1)


def as_population(genomes: Iterable[NetworkGenome]) -> np.ndarray:
    """Genomes as decision vectors: (n, 1), dtype object."""
    genomes = list(genomes)
    X = np.empty((len(genomes), 1), dtype=object)
    for row, genome in enumerate(genomes):
        X[row, 0] = genome
    return X


def _grid(genome: NetworkGenome, k: int) -> Any:
    """Index of the genome's connections of layer k in the parent's weight matrix."""
    rows = genome.ids[k] if k < len(genome.ids) else None
    columns = genome.ids[k - 1] if k else None
    if rows is None:
        return (slice(None), columns)
    return rows if columns is None else np.ix_(rows, columns)


def _frozen(array: Any, dtype: type) -> Any:
    """`array` as a read-only contiguous array of `dtype`; a writable caller's array is not touched."""
    if array is None:
        return None
    array = np.asarray(array)
    if array.dtype == dtype and array.flags.c_contiguous and not array.flags.writeable:
        return array
    frozen: np.ndarray = np.ascontiguousarray(array, dtype=dtype).view()
    frozen.flags.writeable = False
    return frozen

"""Every choice for every layer as one table: a population of allocations is a look-up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from problems.lowrank.layer_matrices import Layer, Scheme, Whole
from problems.lowrank.spectra import option_key

Size = Literal["parameters", "macs", "bytes"]
SIZES: tuple[Size, ...] = ("parameters", "macs", "bytes")


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is done with a layer: None stands for "left as it is" where one is asked for.

    Args:
        scheme: How the kernel is shared between the factors.
        k: Slices of each group's input channels.
        j: Ranks of every slice.
    """

    scheme: Scheme
    k: int
    j: int


def in_words(choice: Choice | None) -> str:
    """Slices and ranks, `k x j`, with the scheme where it is another than the paper's; `whole` for None."""
    if choice is None:
        return "whole"
    return f"{choice.k} x {choice.j}" + (f" scheme {choice.scheme}" if choice.scheme else "")


class ChoiceTable:
    """Errors and sizes of all choices of all layers.

    An allocation is a row of option numbers and ranks, two columns a layer: (option_1, rank_1, option_2, ...).
    A layer's options are its pairs of scheme and slices that can make it smaller; a rank whose factors would have no
    fewer parameters than the layer leaves it as it is, with error 0.

    Args:
        layers: The layers.
        errors: Arrays by `option_key`, entry j the error at rank j.
        whole: Size of the network.
        schemes: Schemes to offer.

    Attributes:
        layers: Those of the given layers that some choice makes smaller.
        options: For each layer its (scheme, k) pairs.
        top: (layers, most options) int64: the first rank that leaves the layer as it is; missing options have 1.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        errors: Mapping[str, np.ndarray],
        whole: Whole,
        *,
        schemes: Sequence[Scheme] = (0,),
    ) -> None:
        self.schemes = tuple(schemes)
        self.layers: list[Layer] = []
        self.options: list[list[tuple[Scheme, int]]] = []
        for layer in layers:
            pairs = [
                (scheme, k)
                for scheme in schemes
                if scheme in layer.schemes
                for k in layer.slices
                if layer.rank_parameters(scheme, k) < layer.parameters
            ]
            if pairs:
                self.layers.append(layer)
                self.options.append(pairs)
        self.whole = whole
        n, most = len(self.layers), max(map(len, self.options), default=1)
        self.top = np.ones((n, most), dtype=np.int64)
        for i, layer in enumerate(self.layers):
            for o, (scheme, k) in enumerate(self.options[i]):
                useful = (layer.parameters - 1) // layer.rank_parameters(scheme, k)
                self.top[i, o] = 1 + min(useful, layer.full_rank(scheme, k))
        width = int(self.top.max(initial=1)) + 1
        shape = (n, most, width)
        self._error = np.zeros(shape)
        dense = {size: np.array([_dense(layer, size) for layer in self.layers], dtype=np.int64) for size in SIZES}
        self.dense = dense
        self._size = {size: np.broadcast_to(dense[size][:, None, None], shape).copy() for size in SIZES}
        self.rank_size = {size: np.ones((n, most), dtype=np.int64) for size in SIZES}
        for i, layer in enumerate(self.layers):
            for o, (scheme, k) in enumerate(self.options[i]):
                ranks = np.arange(1, self.top[i, o])
                self._error[i, o, ranks] = errors[option_key(layer.name, scheme, k)][ranks]
                for size in SIZES:
                    per_rank = _per_rank(layer, scheme, k, size)
                    self.rank_size[size][i, o] = per_rank
                    self._size[size][i, o, ranks] = per_rank * ranks
        self.rest = {
            "parameters": whole.parameters - int(dense["parameters"].sum()),
            "macs": whole.macs - int(dense["macs"].sum()),
            "bytes": whole.size_bytes - int(dense["bytes"].sum()),
        }

    @property
    def n_layers(self) -> int:
        """Layers that some choice makes smaller."""
        return len(self.layers)

    def total(self, size: Size) -> int:
        """Size of the network as it is."""
        return {"parameters": self.whole.parameters, "macs": self.whole.macs, "bytes": self.whole.size_bytes}[size]

    # -- look-up --------------------------------------------------------------------------------

    def canonical(self, X: np.ndarray) -> np.ndarray:
        """(n, 2 layers) allocations with ranks no higher than needed: equal networks of equal option are equal rows."""
        X = np.asarray(X, dtype=np.int64).copy()
        options, ranks = X[:, 0::2], X[:, 1::2]
        X[:, 1::2] = np.clip(ranks, 1, self.top[self._rows, options])
        return X

    def identity(self, X: np.ndarray) -> np.ndarray:
        """`canonical`, with option 0 wherever the layer is left as it is: equal networks are equal rows."""
        X = self.canonical(X)
        is_whole = self.is_whole(X)
        X[:, 0::2][is_whole] = 0
        X[:, 1::2] = np.where(is_whole, self.top[:, 0], X[:, 1::2])
        return X

    def is_whole(self, X: np.ndarray) -> np.ndarray:
        """(n, layers) bool: the layer is left as it is."""
        return X[:, 1::2] >= self.top[self._rows, X[:, 0::2]]

    def errors(self, X: np.ndarray) -> np.ndarray:
        """(n, layers) errors of (n, 2 layers) allocations."""
        X = self.canonical(X)
        return self._error[self._rows, X[:, 0::2], X[:, 1::2]]

    def layer_sizes(self, X: np.ndarray, size: Size) -> np.ndarray:
        """(n, layers) int64 sizes of the layers' weights."""
        X = self.canonical(X)
        return self._size[size][self._rows, X[:, 0::2], X[:, 1::2]]

    def sizes(self, X: np.ndarray, size: Size) -> np.ndarray:
        """(n,) int64 sizes of the whole networks."""
        return self.rest[size] + self.layer_sizes(X, size).sum(axis=1)

    @property
    def _rows(self) -> np.ndarray:
        return np.arange(self.n_layers)[None]

    # -- between rows and choices ----------------------------------------------------------------

    def choices(self, x: np.ndarray) -> dict[str, Choice | None]:
        """What an allocation, (2 layers,), does with each layer, by name."""
        x = self.canonical(np.asarray(x)[None])[0]
        out: dict[str, Choice | None] = {}
        for i, layer in enumerate(self.layers):
            option, rank = int(x[2 * i]), int(x[2 * i + 1])
            scheme, k = self.options[i][option]
            out[layer.name] = None if rank >= self.top[i, option] else Choice(scheme, k, rank)
        return out

    def row(self, choices: Mapping[str, Choice | None]) -> np.ndarray:
        """(2 layers,) int64 allocation of choices by name; layers not named are left as they are.

        Raises:
            ValueError: A choice that the table does not have.
        """
        x = self.whole_row()
        for i, layer in enumerate(self.layers):
            choice = choices.get(layer.name)
            if choice is None:
                continue
            pair = (choice.scheme, choice.k)
            if pair not in self.options[i]:
                # slices that can't make the layer smaller leave it as it is
                if choice.scheme in self.schemes and choice.scheme in layer.schemes and choice.k in layer.slices:
                    continue
                raise ValueError(f"layer {layer.name} has no option scheme {pair[0]}, k {pair[1]}.")
            x[2 * i : 2 * i + 2] = self.options[i].index(pair), choice.j
        return self.canonical(x[None])[0]

    def whole_row(self) -> np.ndarray:
        """(2 layers,) int64: every layer left as it is."""
        x = np.zeros(2 * self.n_layers, dtype=np.int64)
        x[1::2] = self.top[:, 0]
        return x

    def flat(self, layer: int, size: Size) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All choices of a layer, the whole layer last: options, ranks, errors, sizes, (m,) each."""
        options, ranks = [], []
        for o in range(len(self.options[layer])):
            own = np.arange(1, self.top[layer, o])
            options.append(np.full(len(own), o))
            ranks.append(own)
        options.append(np.zeros(1, dtype=np.int64))
        ranks.append(self.top[layer, :1])
        option, rank = np.concatenate(options), np.concatenate(ranks)
        return option, rank, self._error[layer, option, rank], self._size[size][layer, option, rank]


def _dense(layer: Layer, size: Size) -> int:
    return {"parameters": layer.parameters, "macs": layer.macs, "bytes": layer.itemsize * layer.parameters}[size]


def _per_rank(layer: Layer, scheme: Scheme, k: int, size: Size) -> int:
    if size == "macs":
        return layer.rank_macs(scheme, k)
    return layer.rank_parameters(scheme, k) * (layer.itemsize if size == "bytes" else 1)

"""Errors of every choice of slices and rank of a layer, from its weights alone, and kept on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from safetensors.numpy import save

from opt.console.errors import UsageError, check_choice
from problems.lowrank.layer_matrices import Layer, Scheme, sliced, unfold
from problems.networks.storage.checkpoints import as_arrays, read_safetensors
from problems.networks.storage.kept import cache_file, kept

Measure = Literal["spectral", "spectral-sqrt", "residual", "frobenius", "nuclear", "data"]

# Part of the name of every file kept: raise it when a measure changes.
_VERSION = 2


def option_key(layer: str, scheme: int, k: int) -> str:
    """Name of the arrays of a layer with k slices."""
    return f"{layer}|scheme={scheme}|k={k}"


def singular_values(weight: np.ndarray, layer: Layer, scheme: Scheme, k: int) -> np.ndarray:
    """(g k, full rank) float64 singular values of every slice, descending."""
    return np.linalg.svd(sliced(unfold(weight.astype(np.float64), layer, scheme), k), compute_uv=False)


def weight_errors(weight: np.ndarray, layer: Layer, scheme: Scheme, measure: Measure) -> dict[int, np.ndarray]:
    """Relative errors of a layer for every number of slices and every rank.

    Args:
        weight: Of the layer.
        layer: Its description.
        scheme: How the kernel is shared between the factors.
        measure: `spectral` is the paper's, the largest sigma_{j+1} of a slice by the sigma_1 of the whole matrix;
            `spectral-sqrt` that times sqrt(k), a bound of the spectral norm of the whole residual; `residual` this norm
            itself; `frobenius` the residual's Frobenius norm by that of the matrix; `nuclear` the sums of singular
            values that are dropped and that there are.

    Returns:
        For each k an array (full rank + 1,): entry j is the error when j ranks of every slice are kept, the
        last is 0. Where the layer has groups, the largest of their errors (of all groups together for sums).
    """
    of_slices = _MEASURES[check_choice("measure", measure, _MEASURES)]
    whole = singular_values(weight, layer, scheme, 1)
    errors = {}
    for k in layer.slices:
        values = whole if k == 1 else singular_values(weight, layer, scheme, k)
        errors[k] = of_slices(_Slices(values, float(whole.max()), weight, layer, scheme, k))
    return errors


class _Slices(NamedTuple):
    """A layer cut into k slices: their singular values, (g k, full rank), and the largest of the whole matrix."""

    values: np.ndarray
    largest: float
    weight: np.ndarray
    layer: Layer
    scheme: Scheme
    k: int


def _spectral(of: _Slices) -> np.ndarray:
    return np.append(_over(of.values.max(axis=0), of.largest), 0.0)


def _spectral_sqrt(of: _Slices) -> np.ndarray:
    return np.append(_over(of.values.max(axis=0), of.largest) * np.sqrt(of.k), 0.0)


def _residual(of: _Slices) -> np.ndarray:
    return _residual_norms(of.weight, of.layer, of.scheme, of.k, of.largest)


def _frobenius(of: _Slices) -> np.ndarray:
    return np.append(np.sqrt(_dropped_share(of.values**2)), 0.0)


def _nuclear(of: _Slices) -> np.ndarray:
    return np.append(_dropped_share(of.values), 0.0)


_MEASURES: dict[str, Callable[[_Slices], np.ndarray]] = {
    "spectral": _spectral,
    "spectral-sqrt": _spectral_sqrt,
    "residual": _residual,
    "frobenius": _frobenius,
    "nuclear": _nuclear,
}
WEIGHT_MEASURES = tuple(_MEASURES)
"""Names of the measures of weights alone."""


def _dropped_share(values: np.ndarray) -> np.ndarray:
    """Sum over all slices of what is dropped at each rank, as a share of their own sum: nothing kept is exactly 1."""
    dropped = np.cumsum(values.sum(axis=0)[::-1])[::-1]
    return _over(dropped, dropped[0])


def _over(values: np.ndarray, largest: float) -> np.ndarray:
    return values / largest if largest > 0 else np.zeros_like(values)


def _residual_norms(weight: np.ndarray, layer: Layer, scheme: Scheme, k: int, largest: float) -> np.ndarray:
    """Spectral norm of the whole residual, by rank: the root of the largest eigenvalue of R R^T."""
    blocks = sliced(unfold(weight.astype(np.float64), layer, scheme), k)
    left, values, _ = np.linalg.svd(blocks, full_matrices=False)
    full = values.shape[1]
    errors = np.zeros(full + 1)
    scaled = (left * values[:, None, :]).reshape(layer.groups, k, left.shape[1], full)
    gram = np.zeros((layer.groups, left.shape[1], left.shape[1]))
    for j in range(full - 1, -1, -1):
        column = scaled[..., j]
        gram += np.einsum("gkr,gks->grs", column, column)
        errors[j] = np.sqrt(max(0.0, np.linalg.eigvalsh(gram)[:, -1].max()))
    return errors / largest if largest > 0 else errors


Tables = dict[str, np.ndarray]


def weights_digest(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of named arrays: names, shapes, bytes."""
    digest = hashlib.sha256()
    for name, array in weights.items():
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def kept_tables(
    kind: str,
    digest: str,
    make: Callable[[], Tables],
    *,
    lengths: Mapping[str, int],
    cache_dir: str | os.PathLike[str] | None = None,
) -> Tables:
    """Arrays by name, read from the cache or made and kept there.

    Args:
        kind: What they are: a measure and whatever else decides them.
        digest: Of the weights (and of the data, where they depend on it).
        make: Makes them.
        lengths: Numbers in each of them.
        cache_dir: Folder; None takes `spectra` in the cache folder.
    """
    key = hashlib.sha256(f"{_VERSION}|{kind}|{digest}".encode()).hexdigest()[:24]

    def read(path: Path) -> Tables:
        tables = as_arrays(path, read_safetensors(path)[0])
        if {name: table.shape for name, table in tables.items()} != {name: (n,) for name, n in lengths.items()}:
            raise UsageError(f"{path} holds tables of another network")
        return tables

    return kept(
        cache_file("spectra", key, name=kind.split("|")[0], folder=cache_dir), make, read=read, encode=save
    ).value


def table_lengths(layers: Sequence[Layer], schemes: Sequence[Scheme]) -> dict[str, int]:
    """Numbers in each of the layers' tables, by `option_key`: one for each rank from 0 to the full one."""
    return {
        option_key(layer.name, scheme, k): layer.full_rank(scheme, k) + 1
        for layer in layers
        for scheme in schemes
        if scheme in layer.schemes
        for k in layer.slices
    }


def error_tables(
    weights: Mapping[str, np.ndarray],
    layers: list[Layer],
    *,
    measure: Measure = "spectral",
    schemes: tuple[Scheme, ...] = (0,),
    cache_dir: str | os.PathLike[str] | None = None,
) -> Tables:
    """`weight_errors` of all layers, by `option_key`; computed once for given weights, then read from disk.

    Args:
        weights: Of each layer, by its name.
        layers: Their descriptions.
        measure: One of `WEIGHT_MEASURES`.
        schemes: Those to tabulate, where a layer has them.
        cache_dir: As in `kept_tables`.
    """
    own = {layer.name: weights[layer.name] for layer in layers}
    kind = f"{measure}|{schemes}|{[(layer.name, layer.groups, layer.slices) for layer in layers]}"

    def make() -> Tables:
        return {
            option_key(layer.name, scheme, k): errors
            for layer in layers
            for scheme in schemes
            if scheme in layer.schemes
            for k, errors in weight_errors(own[layer.name], layer, scheme, measure).items()
        }

    lengths = table_lengths(layers, schemes)
    return kept_tables(kind, weights_digest(own), make, lengths=lengths, cache_dir=cache_dir)

"""The two factors of a layer: by the SVD of its slices, or optimal for its inputs on data."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from problems.lowrank.layer_matrices import Layer, Scheme, sliced, unfold

_TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class Factors:
    """W' = decoder @ encoder, slice by slice.

    Args:
        encoder: (g k, j, columns of a slice) float64.
        decoder: (g k, rows, j) float64.
    """

    encoder: np.ndarray
    decoder: np.ndarray

    @property
    def product(self) -> np.ndarray:
        """(g k, rows, columns of a slice): the slices of W'."""
        return self.decoder @ self.encoder


def svd_factors(weight: np.ndarray, layer: Layer, scheme: Scheme, k: int, j: int) -> Factors:
    """The best rank-j factors of every slice in the spectral and in the Frobenius norm: U sqrt(S), sqrt(S) V^T."""
    left, values, right = np.linalg.svd(sliced(unfold(weight.astype(np.float64), layer, scheme), k), False)
    root = np.sqrt(values[:, :j])
    return Factors(root[:, :, None] * right[:, :j], left[:, :, :j] * root[:, None, :])


class DataFactors:
    """Factors of a layer's slices that are optimal on data, for every rank at once.

    The encoder of a slice projects W_g x on the principal directions of W_g x itself, U_j^T W_g, which is the
    optimal rank-j map of that slice alone (for one slice: the PCA of the layer's outputs). The decoder is then
    solved for all slices together, because their inputs are correlated:
    D = W C E^T (E C E^T)^-1, the least squares of W x on E x.

    Args:
        weight: Of the layer.
        layer: Its description.
        metric: (g, m, m) C, as `moments.metrics` gives it.
        k: Slices.
    """

    def __init__(self, weight: np.ndarray, layer: Layer, metric: np.ndarray, k: int) -> None:
        matrices = unfold(weight.astype(np.float64), layer, 0)
        g = layer.groups
        self.k, self.groups = k, g
        self._matrix = matrices.reshape(g, matrices.shape[1], -1)
        self._metric = metric
        slices = sliced(matrices, k)
        n, rows, columns = slices.shape
        full = min(rows, columns)
        blocks = metric.reshape(g, k, columns, k, columns)[:, np.arange(k), :, np.arange(k)]
        # numpy puts the advanced index first: (k, g, columns, columns)
        blocks = blocks.swapaxes(0, 1).reshape(n, columns, columns)
        outputs = slices @ blocks @ slices.swapaxes(1, 2)
        _, vectors = np.linalg.eigh((outputs + outputs.swapaxes(1, 2)) / 2)
        self._directions = np.ascontiguousarray(vectors[:, :, ::-1][:, :, :full])
        self._encoder = self._directions.swapaxes(1, 2) @ slices

    @functools.cached_property
    def errors(self) -> np.ndarray:
        """(ranks + 1,) sqrt(E ||(W - D E) x||^2 / E ||W x||^2) with 0 .. all ranks of every slice, D solved for.

        One QR of the encoders in the metric, ranks in their order: what each rank adds to what the outputs hold.
        """
        g, k = self.groups, self.k
        full = self._encoder.shape[1]
        left, total = np.zeros(full + 1), 0.0
        for group in range(g):
            values, vectors = np.linalg.eigh(self._metric[group])
            root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
            target = root @ self._matrix[group].T
            # rank 1 of every slice first, then rank 2 ...: any number of ranks is a leading part
            encoders = spread(self._encoder[group * k : (group + 1) * k]).swapaxes(0, 1).reshape(k * full, -1)
            explained = _explained(root @ encoders.T, target)
            energy = float(np.square(target).sum())
            gained = np.concatenate([[0.0], np.cumsum(explained.reshape(full, k).sum(axis=1))])
            left += np.maximum(energy - gained, 0.0)
            total += energy
        if total <= 0:
            return np.zeros(full + 1)
        errors = np.sqrt(left / total)
        # rounding leaves about 1e-8 where nothing is left
        errors[errors < 1e-7] = 0.0
        return errors

    def at(self, j: int, *, solve: bool = True) -> Factors:
        """Factors of rank j.

        Args:
            j: 1 to the full rank of a slice.
            solve: Whether the decoder is solved for all slices together; else each slice's own.
        """
        g, k = self.groups, self.k
        encoder = self._encoder[:, :j]
        if not solve or k == 1:
            return Factors(encoder, self._directions[:, :, :j])
        decoder = np.empty((g, k, self._matrix.shape[1], j))
        for group in range(g):
            whole = spread(encoder[group * k : (group + 1) * k]).reshape(k * j, -1)
            right = whole @ self._metric[group]
            solved = _solve(right @ whole.T, right @ self._matrix[group].T)
            decoder[group] = solved.T.reshape(-1, k, j).swapaxes(0, 1)
        return Factors(encoder, decoder.reshape(g * k, -1, j))


def _explained(columns: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(n,) sum of squares of the target, (m, t), that each column, (m, n), holds and those before it do not."""
    basis, triangle = np.linalg.qr(columns)
    diagonal = np.abs(np.diagonal(triangle))
    explained = np.zeros(columns.shape[1])
    tiny = _TINY * max(float(np.linalg.norm(columns, axis=0).max(initial=0.0)), np.finfo(float).tiny)
    if (diagonal > tiny).all():
        explained[: len(diagonal)] = np.square(basis.T @ target).sum(axis=1)
        return explained
    # a column that depends on those before it has no direction of its own: one after another, and it is left out
    found = np.zeros((columns.shape[0], 0))
    for i in range(columns.shape[1]):
        rest = columns[:, i]
        for _ in range(2):
            rest = rest - found @ (found.T @ rest)
        length = float(np.linalg.norm(rest))
        if length > tiny:
            found = np.column_stack([found, rest / length])
            explained[i] = float(np.square(rest @ target / length).sum())
    return explained


def spread(encoder: np.ndarray) -> np.ndarray:
    """(k, j, columns) encoders of slices to (k, j, k columns), each on its own columns."""
    k, j, columns = encoder.shape
    out = np.zeros((k, j, k, columns))
    out[np.arange(k), :, np.arange(k)] = encoder
    return out.reshape(k, j, k * columns)


def _solve(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    """gram^-1 right for a symmetric matrix that may be singular: its smallest eigenvalues are left out."""
    values, vectors = np.linalg.eigh(gram)
    is_used = values > _TINY * max(float(values.max(initial=0.0)), np.finfo(float).tiny)
    v = vectors[:, is_used]
    return v @ ((v.T @ right) / values[is_used, None])

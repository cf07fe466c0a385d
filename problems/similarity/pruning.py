"""Structured pruning: scores of hidden neurons, and the smaller network that is left of the kept ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch

from opt.console.errors import check_choice
from problems.networks.architectures.fully_connected import FullyConnected


def neuron_scores(
    model: FullyConnected,
    kind: str = "l1",
    *,
    inputs: torch.Tensor | None = None,
    rng: np.random.Generator | None = None,
) -> list[np.ndarray]:
    """Score of each hidden neuron; the higher, the more it should be kept.

    Args:
        model: The network.
        kind: `l1` or `l2` norm of the incoming weights; `outgoing`, the l2 norm of the incoming weights times that
            of the outgoing ones (unchanged when a neuron is scaled up and its outputs down);
            `activation`, the mean activation on `inputs`; `random`, uniform.
        inputs: (n, ...) images, for `activation`.
        rng: For `random`.

    Returns:
        One (h,) float64 array for each hidden layer.

    Raises:
        UsageError: unknown kind.
        ValueError: `inputs` or `rng` lacks where needed.

    Source: Li et al. 2017, arXiv:1608.08710 (l1); Hu et al. 2016, arXiv:1607.03250 (activation, there as the share
        of zeros).
    """
    return SCORES[check_choice("scores", kind, SCORES)](model, inputs, rng)


Inputs = torch.Tensor | None
Rng = np.random.Generator | None


def _incoming_l1(model: FullyConnected, inputs: Inputs, rng: Rng) -> list[np.ndarray]:
    weights, _ = model.to_arrays()
    return [np.abs(w).sum(axis=1, dtype=np.float64) for w in weights[:-1]]


def _incoming_l2(model: FullyConnected, inputs: Inputs, rng: Rng) -> list[np.ndarray]:
    weights, _ = model.to_arrays()
    return [_norm(w, axis=1) for w in weights[:-1]]


def _incoming_and_outgoing(model: FullyConnected, inputs: Inputs, rng: Rng) -> list[np.ndarray]:
    weights, _ = model.to_arrays()
    return [_norm(w, axis=1) * _norm(after, axis=0) for w, after in itertools.pairwise(weights)]


def _mean_activation(model: FullyConnected, inputs: Inputs, rng: Rng) -> list[np.ndarray]:
    if inputs is None:
        raise ValueError("scores of kind 'activation' need inputs, got None; pass images of the search split.")
    with torch.no_grad():
        return [a.double().mean(dim=0).numpy() for a in model.hidden(inputs)]


def _random(model: FullyConnected, inputs: Inputs, rng: Rng) -> list[np.ndarray]:
    if rng is None:
        raise ValueError("scores of kind 'random' need rng, got None; pass a numpy Generator.")
    return [rng.random(width) for width in model.hidden_widths]


SCORES: dict[str, Callable[[FullyConnected, Inputs, Rng], list[np.ndarray]]] = {
    "l1": _incoming_l1,
    "l2": _incoming_l2,
    "outgoing": _incoming_and_outgoing,
    "activation": _mean_activation,
    "random": _random,
}
"""What computes each kind of neuron scores: `(model, inputs, rng) -> one array a hidden layer`."""


def keep_top(scores: np.ndarray, width: int) -> np.ndarray:
    """Ids of the `width` highest scores, ascending; of equal scores the lower ids are kept.

    Args:
        scores: (h,).
        width: 1 to h.

    Returns:
        (width,) int64.
    """
    if not 1 <= width <= len(scores):
        raise ValueError(f"width must be from 1 to {len(scores)}, got {width}.")
    return np.sort(np.argsort(-np.asarray(scores), kind="stable")[:width])


def prune(model: FullyConnected, kept: Sequence[np.ndarray]) -> FullyConnected:
    """The network of the kept neurons only, with the rows, columns and biases that belong to them.

    Its outputs are those of `model` with the other neurons' activations set to zero.

    Args:
        model: Left as it is.
        kept: For each hidden layer, ids of the neurons to keep; their order becomes the order in the new network.

    Raises:
        ValueError: not one array of ids for each hidden layer, an id out of range, twice, or none.
    """
    return FullyConnected.from_arrays(*prune_arrays(*model.to_arrays(), kept))


def prune_arrays(
    weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], kept: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """`prune` on plain arrays: weights [(out, in), ...] and biases [(out,), ...] of all layers, copies returned."""
    ids = _checked_ids([len(b) for b in biases[:-1]], kept)
    rows = [*ids, np.arange(len(biases[-1]))]
    columns = [np.arange(weights[0].shape[1]), *ids]
    return (
        [w[np.ix_(r, c)] for w, r, c in zip(weights, rows, columns, strict=True)],
        [b[r] for b, r in zip(biases, rows, strict=True)],
    )


def _checked_ids(widths: Sequence[int], kept: Sequence[np.ndarray]) -> list[np.ndarray]:
    if len(kept) != len(widths):
        raise ValueError(f"kept must hold ids for each of the {len(widths)} hidden layers, got {len(kept)} arrays.")
    checked = []
    for layer, (width, given) in enumerate(zip(widths, kept, strict=True), start=1):
        ids = np.asarray(given)
        is_good = ids.ndim == 1 and ids.size > 0 and ids.dtype.kind in "iu"
        if not is_good or ids.min() < 0 or ids.max() >= width or len(np.unique(ids)) != len(ids):
            raise ValueError(f"kept ids of layer {layer} must be different numbers from 0 to {width - 1}, got {given}.")
        checked.append(ids.astype(np.int64))
    return checked


def _norm(weight: np.ndarray, axis: int) -> np.ndarray:
    return np.sqrt(np.square(weight, dtype=np.float64).sum(axis=axis))

"""Least-squares refit of the layers that follow removed neurons, towards the parent's own pre-activations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from problems.networks.architectures.fully_connected import FullyConnected
from problems.similarity.pruning import prune_arrays


@dataclasses.dataclass(frozen=True)
class Moments:
    """Sums over the points of a split from which a linear layer can be refitted on any subset of its inputs.

    Args:
        gram: (h + 1, h + 1) float64, A^T A with A = [activations, 1].
        cross: (h + 1, m) float64, A^T T with the targets T.
        n_points: Points summed over.
    """

    gram: np.ndarray
    cross: np.ndarray
    n_points: int


def accumulate_moments(activations: Tensor, targets: Tensor, *, chunk: int = 2000) -> Moments:
    """Moments of a layer's inputs and of the outputs it should have, summed in float64.

    Args:
        activations: (n, h) inputs of the layer.
        targets: (n, m) wanted outputs, before any activation function.
        chunk: Points converted to float64 at once.
    """
    if activations.dim() != 2 or targets.dim() != 2 or len(activations) != len(targets):
        raise ValueError(
            f"activations (n, h) and targets (n, m) must have the same n, got {tuple(activations.shape)} and "
            f"{tuple(targets.shape)}."
        )
    h, m = activations.shape[1], targets.shape[1]
    gram = torch.zeros(h + 1, h + 1, dtype=torch.float64)
    cross = torch.zeros(h + 1, m, dtype=torch.float64)
    for a, t in zip(activations.split(chunk), targets.split(chunk), strict=True):
        augmented = torch.cat([a.double(), torch.ones(len(a), 1, dtype=torch.float64)], dim=1)
        gram.addmm_(augmented.T, augmented)
        cross.addmm_(augmented.T, t.double())
    return Moments(gram.numpy(), cross.numpy(), len(activations))


def solve(
    moments: Moments,
    kept: np.ndarray,
    *,
    outputs: np.ndarray | None = None,
    ridge: float = 1e-4,
    has_bias: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias that reproduce the targets best from the kept inputs alone.

    Minimises |A_S [W^T; b^T] - T|^2 + ridge * g * |W|^2 with g the mean of the kept inputs' sums of squares
    (at least a tiny number, so that inputs that are always zero get zero weights); the bias is not penalised.

    Args:
        moments: From `accumulate_moments`.
        kept: (k,) ids of the inputs that remain.
        outputs: (m',) ids of the outputs to solve for; None is all.
        ridge: >= 0, in units of the inputs' own mean square.
        has_bias: Whether there is a bias; else it is 0.

    Returns:
        Weight (m, k) and bias (m,), float64.
    """
    index = np.asarray(kept, dtype=np.int64)
    n_inputs = len(index)
    index = np.append(index, len(moments.gram) - 1) if has_bias else index
    system = moments.gram[np.ix_(index, index)]
    right = moments.cross[index] if outputs is None else moments.cross[np.ix_(index, outputs)]
    diagonal = np.einsum("ii->i", system)
    # 1e-10 of the scale even without a ridge: dead and duplicate neurons make the system singular.
    diagonal[:n_inputs] += max(ridge, 1e-10) * max(float(diagonal[:n_inputs].mean()), 1e-30)
    factor = scipy.linalg.cho_factor(system, lower=True, overwrite_a=True, check_finite=False)
    solution = scipy.linalg.cho_solve(factor, right, check_finite=False)
    bias = solution[-1] if has_bias else np.zeros(solution.shape[1])
    return np.ascontiguousarray(solution[:n_inputs].T), bias


def solve_many(
    moments: Moments, kept: Sequence[np.ndarray], *, ridge: float = 1e-4
) -> list[tuple[np.ndarray, np.ndarray]]:
    """`solve` for many subsets of one layer's inputs; the moments are summed once for all of them."""
    return [solve(moments, ids, ridge=ridge) for ids in kept]


class SequentialRefit:
    """Refits a pruned network layer by layer, from the second on.

    Layer 1 keeps the parent's rows of the kept neurons. Each later layer is solved towards the parent's
    pre-activations of its kept neurons (for the output layer, the parent's logits), its inputs being the activations
    of the child as refitted so far, so that it also corrects what the layers before could not.

    Args:
        parent: A fully connected network.
        inputs: (n, ...) images to refit on, of the search split or of the train split.
        ridge: As in `solve`.

    Example:
        >>> parent = FullyConnected((4, 3, 2))
        >>> SequentialRefit(parent, torch.rand(50, 4)).refit([np.array([0, 2])]).widths
        (4, 2, 2)

    Source: He et al. 2017, arXiv:1707.06168, sec. 3.1 (reconstruction of the next layer's output after pruning).
    """

    def __init__(self, parent: FullyConnected, inputs: Tensor, *, ridge: float = 1e-4) -> None:
        if not parent.hidden_widths:
            raise ValueError(f"a refit needs a network with hidden layers, got widths {parent.widths}.")
        self.ridge = ridge
        self._arrays = parent.to_arrays()
        with torch.no_grad():
            hidden = parent.hidden(inputs)
            # Targets of layers 2, 3, ..., output: the parent's values before ReLU.
            self._targets = [layer(a) for layer, a in zip(parent.linear_layers[1:], hidden, strict=True)]
        self._first = hidden[0]
        self._first_moments = accumulate_moments(hidden[0], self._targets[0])

    def refit(self, kept: Sequence[np.ndarray]) -> FullyConnected:
        """The refitted child as a network; `kept` as in `pruning.prune`."""
        return FullyConnected.from_arrays(*self.refit_arrays(kept))

    def refit_arrays(self, kept: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The refitted child as weights [(out, in), ...] and biases [(out,), ...], float32."""
        weights, biases = prune_arrays(*self._arrays, kept)
        activations: Tensor | None = None
        for layer in range(1, len(weights)):
            outputs = kept[layer] if layer < len(kept) else None
            if activations is None:
                weight, bias = solve(self._first_moments, kept[0], outputs=outputs, ridge=self.ridge)
            else:
                targets = self._targets[layer - 1]
                targets = targets if outputs is None else targets[:, torch.as_tensor(outputs)]
                moments = accumulate_moments(activations, targets)
                weight, bias = solve(moments, np.arange(activations.shape[1]), ridge=self.ridge)
            weights[layer], biases[layer] = weight.astype(np.float32), bias.astype(np.float32)
            if layer < len(weights) - 1:
                inputs = self._first[:, torch.as_tensor(np.asarray(kept[0]))] if activations is None else activations
                activations = torch.relu(inputs @ torch.from_numpy(weights[layer]).T + torch.from_numpy(biases[layer]))
        return weights, biases

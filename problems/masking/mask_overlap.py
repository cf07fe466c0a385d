"""How alike masks are, and what is left of a network under one: orthogonality, and the input-output Jacobian."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from problems.networks.layers.prunable import prunable_layers


def cosine_matrix(masks: Sequence[np.ndarray]) -> np.ndarray:
    """(m, m) cosines of masks, (n,) bool each: shared ones over the geometric mean of their numbers of ones."""
    M = np.array(masks, dtype=np.float64)
    norms = np.maximum(np.sqrt(M.sum(axis=1)), 1e-12)
    return np.asarray(M @ M.T / np.outer(norms, norms))


def excess_matrix(masks: Sequence[np.ndarray]) -> np.ndarray:
    """(m, m) cosines less what two random masks with these numbers of ones share on average.

    That is the geometric mean of the two fractions kept: with 20 % kept, random masks have a cosine of 0.2.
    """
    kept = np.sqrt([mask.mean() for mask in masks])
    return cosine_matrix(masks) - np.outer(kept, kept)


def orthogonality(weights: Sequence[np.ndarray]) -> float:
    """Sum over layers of ||W^T W - I||_F, W of shape (n_in, n_out) with what is dropped at zero.

    Args:
        weights: (n_out, ...) arrays, masked.

    Source: Lee et al. 2020, arXiv:1906.06307, eq. 6.
    """
    return float(sum(np.linalg.norm(_gram(w) - np.eye(len(w))) for w in weights))


def mean_orthogonality(weights: Sequence[np.ndarray]) -> float:
    """The thesis's score: the mean of (W^T W - I)^2, averaged over layers."""
    return float(np.mean([np.mean((_gram(w) - np.eye(len(w))) ** 2) for w in weights]))


def kept_energy(weights: Sequence[np.ndarray]) -> float:
    """Sum of squares of all weights, of which the thesis's score is nearly a function."""
    return float(sum(np.square(w, dtype=np.float64).sum() for w in weights))


def _gram(weight: np.ndarray) -> np.ndarray:
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    return np.asarray(rows @ rows.T)


def jacobian_singular_values(
    model: nn.Module, state: Mapping[str, Tensor], images: Tensor, *, chunk: int = 25
) -> np.ndarray:
    """Singular values of the derivative of the logits by the pixels, for each image, largest first.

    Args:
        model: The network, in evaluation mode.
        state: Its state, with zeros where a mask drops weights.
        images: (n, ...) images.
        chunk: Images at once.

    Returns:
        (n, n_classes) float64.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    state = {name: tensor.detach() for name, tensor in state.items()}

    def logits(image: Tensor) -> Tensor:
        return functional_call(model, dict(state), (image[None],))[0]

    take = vmap(jacrev(logits))
    parts = [take(part).flatten(2) for part in images.split(chunk)]
    return np.concatenate([torch.linalg.svdvals(part.double()).numpy() for part in parts])


def masked_weights(model: nn.Module, state: Mapping[str, Tensor], names: Sequence[str]) -> list[np.ndarray]:
    """Weights of the layers `names` in a state."""
    layers = prunable_layers(model)
    return [state[f"{name}.weight"].detach().numpy() for name in names if name in layers]

"""Criteria that look at gradients before training: SNIP, GraSP, SynFlow."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from problems.data.examples import Inputs, call, mapped
from problems.networks.layers.batch_norms import batch_norms
from problems.networks.layers.prunable import prunable_layers
from problems.networks.training.descent import Loss
from problems.networks.training.training import one_thread

GRASP_TEMPERATURE = 200.0
"""By which GraSP divides the logits. Source: Wang et al. 2020, arXiv:2002.07376, the authors' setting."""

Pick = Callable[[Any], Tensor]
"""What is judged of a network's outputs."""


def _as_it_is(outputs: Any) -> Tensor:
    return outputs


def snip_scores(
    model: nn.Module,
    names: Sequence[str],
    inputs: Inputs,
    targets: Tensor,
    *,
    loss: Loss = functional.cross_entropy,
    pick: Pick = _as_it_is,
) -> list[np.ndarray]:
    """|w dL/dw| over its sum over all layers, one float64 array a layer; keep the highest.

    Args:
        model: Left as it is; run with batch statistics where it normalises batches, without dropout.
        names: Layers.
        inputs: (n, ...), taken at once.
        targets: (n, ...).
        loss: Mean loss of answers and targets.
        pick: Takes the answers from what the network returns.

    Source: Lee et al. 2019, arXiv:1810.02340, eq. 5.
    """
    with one_thread():
        model, weights = _prepared(model, names)
        value = loss(pick(_outputs(model, inputs)), targets)
        gradients = _gradients(value, weights)
    scores = [(w * g).detach().abs().double().numpy() for w, g in zip(weights, gradients, strict=True)]
    total = max(sum(float(s.sum()) for s in scores), 1e-300)
    return [s / total for s in scores]


def grasp_scores(
    model: nn.Module,
    names: Sequence[str],
    inputs: Inputs,
    targets: Tensor,
    *,
    loss: Loss = functional.cross_entropy,
    pick: Pick = _as_it_is,
    temperature: float = GRASP_TEMPERATURE,
) -> list[np.ndarray]:
    """W * (H g), one float64 array a layer; keep the highest, which are those whose removal costs gradient flow.

    The paper removes the highest of -w * (H g), which is the same.

    Args:
        model: As in `snip_scores`.
        names: Layers.
        inputs: (n, ...), taken at once.
        targets: (n, ...).
        loss: As in `snip_scores`.
        pick: As in `snip_scores`.
        temperature: What answers are divided by; 1 for those that are no logits of classes.

    Source: Wang et al. 2020, arXiv:2002.07376, eq. 8.
    """
    # fused attention has no second derivative
    with one_thread(), sdpa_kernel(SDPBackend.MATH):
        model, weights = _prepared(model, names)
        value = loss(pick(_outputs(model, inputs)) / temperature, targets)
        gradients = _gradients(value, weights, create_graph=True)
        product = sum(((g.detach() * g).sum() for g in gradients), torch.zeros(()))
        hessian_gradient = _gradients(product, weights)
    return [(w * h).detach().double().numpy() for w, h in zip(weights, hessian_gradient, strict=True)]


def synflow_scores(
    model: nn.Module,
    names: Sequence[str],
    example: Inputs,
    masks: Sequence[np.ndarray] | None = None,
    *,
    pick: Pick = _as_it_is,
) -> list[np.ndarray]:
    """|dR/dw * w| of R = 1^T prod |w| 1, one float64 array a layer; keep the highest.

    All parameters are taken by magnitude, inputs of ones go in (whole numbers, as words are, go in as they are), and
    batch norms pass what they get, times their |weight|.

    Args:
        model: Left as it is.
        names: Layers.
        example: Inputs of one example or more; of numbers only their shapes count.
        masks: What is kept of each layer so far; None keeps all.
        pick: Takes the answers from what the network returns.

    Source: Tanaka et al. 2020, arXiv:2006.05467, eq. 4 and algorithm 1.
    """
    with one_thread():
        # float64: products over many layers leave float32's range
        model, weights = _prepared(model, names, double=True)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.abs_()
            for norm in batch_norms(model):
                norm.eval()
                norm.running_mean = torch.zeros(norm.num_features, dtype=torch.float64)
                norm.running_var = torch.ones(norm.num_features, dtype=torch.float64)
            for weight, mask in zip(weights, masks or (), strict=masks is not None):
                weight.mul_(torch.from_numpy(mask))
        ones = mapped(example, lambda t: torch.ones(t.shape, dtype=torch.float64) if t.is_floating_point() else t)
        gradients = _gradients(pick(_outputs(model, ones)).sum(), weights)
    return [(w * g).detach().abs().numpy() for w, g in zip(weights, gradients, strict=True)]


def _outputs(model: nn.Module, inputs: Inputs) -> Any:
    """What a network returns for inputs, which are left as they are."""
    return call(model, mapped(inputs, Tensor.clone))


def _gradients(value: Tensor, weights: list[Tensor], *, create_graph: bool = False) -> Sequence[Tensor]:
    """Of a value by weights; zero for those that it does not depend on."""
    return torch.autograd.grad(value, weights, create_graph=create_graph, allow_unused=True, materialize_grads=True)


def synflow_rounds(
    score: Callable[[np.ndarray | None], np.ndarray],
    choose: Callable[[np.ndarray, int], np.ndarray],
    n: int,
    n_kept: int,
    *,
    rounds: int = 100,
) -> np.ndarray:
    """The mask after `rounds` rounds in which the number kept falls geometrically and scores are taken anew.

    Args:
        score: `(mask or None) -> (n,)` scores of all places under the mask so far.
        choose: `(scores, k) -> (n,)` bool mask of the k places to keep.
        n: Places.
        n_kept: Places kept in the end.
        rounds: Rounds.

    Returns:
        (n,) bool.
    """
    mask: np.ndarray | None = None
    for k in range(1, rounds + 1):
        scores = score(mask)
        if mask is not None:
            scores = np.where(mask, scores, -np.inf)
        mask = choose(scores, max(n_kept, round(n * (n_kept / n) ** (k / rounds))))
    assert mask is not None
    return mask


def _prepared(model: nn.Module, names: Sequence[str], *, double: bool = False) -> tuple[nn.Module, list[Tensor]]:
    """A copy with gradients, batch statistics in use and dropout off, and the weights of its layers."""
    model = copy.deepcopy(model)
    model = model.double() if double else model
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    model.eval()
    for norm in batch_norms(model):
        norm.train()
    layers = prunable_layers(model)
    return model, [layers[name].weight for name in names]

"""What a decomposed network is by itself: its sizes counted on its modules, its layers' errors from its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from problems.data.examples import Inputs, len_of
from problems.lowrank.choices import Choice, Size
from problems.lowrank.decomposable import Answers
from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.lowrank.layer_matrices import Layer, sliced, unfold
from problems.lowrank.materialise import multiplied
from problems.lowrank.spectra import Measure
from problems.networks.layers.prunable import prunable_layers


def counted_sizes(network: nn.Module, example: Inputs, answers: Answers) -> dict[Size, float]:
    """Parameters, multiply-adds for one example, and bytes of parameters of a network, counted on its modules."""
    parameters = list(network.parameters())
    n_bytes = sum(p.numel() * p.element_size() for p in parameters)
    return {
        "parameters": sum(p.numel() for p in parameters),
        "macs": _counted_macs(network, example, answers),
        "bytes": n_bytes,
    }


def _counted_macs(network: nn.Module, example: Inputs, answers: Answers) -> float:
    """Multiply-adds of all convolutions and linear layers, for one example."""
    total = 0

    def count(module: Any, arguments: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        if isinstance(output, Tensor) and not output.is_nested:
            # each value of the output is a sum over one row of the weight
            total += output.numel() * math.prod(module.weight.shape[1:])

    handles = [module.register_forward_hook(count) for module in prunable_layers(network).values()]
    try:
        with torch.no_grad():
            answers(network, example)
    finally:
        for handle in handles:
            handle.remove()
    return total / len_of(example)


def layer_bounds(
    network: DecomposableNetwork, decomposed: nn.Module, choices: Mapping[str, Choice | None], measure: Measure
) -> dict[str, float]:
    """Relative errors of decomposed layers by a measure, from the weights that their two factors multiply to.

    Args:
        network: The original.
        decomposed: Its materialised decomposition, without compensation.
        choices: What was done with each layer.
        measure: One of `WEIGHT_MEASURES`, or "data".
    """
    errors = {}
    modules = prunable_layers(network.model)
    for name, choice in choices.items():
        if choice is None:
            continue
        pair = decomposed.get_submodule(name)
        first, second = (_double(pair.get_submodule(part)) for part in ("encoder", "decoder"))
        weight = multiplied(first, second, modules[name]).numpy()
        before = network.weights[name].astype(np.float64)
        layer = network.by_name[name]
        if measure == "data":
            errors[name] = _error_on_data(before, weight, layer, network.metrics[name])
        else:
            errors[name] = _error_of_weights(before, before - weight, layer, choice, measure)
    return errors


def _double(module: Any) -> Tensor:
    return module.weight.detach().double()


def _error_on_data(before: np.ndarray, after: np.ndarray, layer: Layer, metric: np.ndarray) -> float:
    lost = whole = 0.0
    for group, c in enumerate(metric):
        # products in single precision leave eigenvalues below zero
        values, vectors = np.linalg.eigh(c)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        b, a = (w.reshape(layer.groups, layer.n_out // layer.groups, -1)[group] for w in (before, after))
        lost += float(np.square((b - a) @ root).sum())
        whole += float(np.square(b @ root).sum())
    return float(np.sqrt(lost / whole)) if whole > 0 else 0.0


def _error_of_weights(
    before: np.ndarray, residual: np.ndarray, layer: Layer, choice: Choice, measure: Measure
) -> float:
    whole, rest = unfold(before, layer, choice.scheme), unfold(residual, layer, choice.scheme)
    if measure == "residual":
        sizes = [np.linalg.svd(sliced(m, 1), compute_uv=False).max() for m in (rest, whole)]
    elif measure in ("spectral", "spectral-sqrt"):
        largest = np.linalg.svd(sliced(whole, 1), compute_uv=False).max()
        factor = math.sqrt(choice.k) if measure == "spectral-sqrt" else 1.0
        sizes = [factor * np.linalg.svd(sliced(rest, choice.k), compute_uv=False).max(), largest]
    elif measure == "frobenius":
        sizes = [np.linalg.norm(m) for m in (rest, whole)]
    else:
        sizes = [np.linalg.svd(sliced(m, choice.k), compute_uv=False).sum() for m in (rest, whole)]
    return float(sizes[0] / sizes[1]) if sizes[1] > 0 else 0.0

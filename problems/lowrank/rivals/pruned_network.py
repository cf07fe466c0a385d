"""Networks with zeros in place of pruned weights: what has to be stored and computed, what changed."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from problems.data.examples import mapped
from problems.lowrank.choices import Size
from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.networks.layers.prunable import Prunable, prunable_layers

_PROBES = 64


def pruned_sizes(network: DecomposableNetwork, model: nn.Module, *, is_structured: bool) -> dict[Size, int]:
    """What a network with zeros has to store and compute.

    Args:
        network: The original.
        model: With zeros in place of pruned weights.
        is_structured: Whether whole filters go: then weights that no longer touch the outputs, because what they
            read is always zero or what they write is never read, are not counted either.
    """
    live = (
        live_weights(network, model)
        if is_structured
        else {name: np.count_nonzero(m.weight.detach().numpy()) for name, m in _modules(network, model).items()}
    )
    gone = {layer.name: layer.parameters - live[layer.name] for layer in network.layers}
    parameters = network.whole.parameters - sum(gone.values())
    macs = network.whole.macs - sum(gone[layer.name] * layer.uses for layer in network.layers)
    n_bytes = network.whole.size_bytes - sum(gone[layer.name] * layer.itemsize for layer in network.layers)
    return {"parameters": int(parameters), "macs": int(macs), "bytes": int(n_bytes)}


def live_weights(network: DecomposableNetwork, model: nn.Module) -> dict[str, int]:
    """Weights of each layer that still count: not zero, and with an influence on the outputs.

    An influence is a gradient of a random sum of the outputs other than zero on calibration images; a weight that has
    none in the original network either (a unit that is never active) is counted.
    """
    used = _has_gradient(network, model)
    reference = _has_gradient(network, network.model)
    out = {}
    for name, module in prunable_layers(model).items():
        if name in network.by_name:
            is_alive = (module.weight.detach() != 0) & (used[name] | ~reference[name])
            out[name] = int(is_alive.sum())
    return out


def _has_gradient(network: DecomposableNetwork, model: nn.Module) -> dict[str, Tensor]:
    model = copy.deepcopy(model).eval().requires_grad_(False)
    modules = prunable_layers(model)
    for name in network.by_name:
        modules[name].weight.requires_grad_(True)
    generator = torch.Generator().manual_seed(0)
    few = mapped(network.calibration, lambda tensor: tensor[:_PROBES])
    with torch.enable_grad():
        outputs = network.answers(model, few)
        (outputs * torch.rand(outputs.shape, generator=generator)).sum().backward()
    return {name: modules[name].weight.grad != 0 for name in network.by_name}  # type: ignore[misc]


def layer_errors(network: DecomposableNetwork, model: nn.Module) -> dict[str, float]:
    """Spectral norm of each layer's change, relative to that of the layer: for networks that are no decompositions."""
    out = {}
    for name, module in _modules(network, model).items():
        before = network.weights[name].reshape(len(network.weights[name]), -1).astype(np.float64)
        after = module.weight.detach().double().numpy().reshape(before.shape)
        norm = float(np.linalg.norm(before, 2))
        out[name] = float(np.linalg.norm(before - after, 2)) / norm if norm else 0.0
    return out


def output_errors(network: DecomposableNetwork, model: nn.Module) -> dict[str, float]:
    """Root mean square change of each layer's outputs on the calibration images' inputs, relative to the outputs."""
    out = {}
    for name, module in _modules(network, model).items():
        layer = network.by_name[name]
        before = network.weights[name].reshape(layer.groups, layer.n_out // layer.groups, -1).astype(np.float64)
        after = module.weight.detach().double().numpy().reshape(before.shape)
        lost, whole = (
            np.einsum("gfm,gmn,gfn->", w, network.metrics[name], w, optimize=True) for w in (before - after, before)
        )
        out[name] = float(np.sqrt(max(lost, 0.0) / whole)) if whole > 0 else 0.0
    return out


def _modules(network: DecomposableNetwork, model: nn.Module) -> dict[str, Prunable]:
    modules = prunable_layers(model)
    return {layer.name: modules[layer.name] for layer in network.layers}

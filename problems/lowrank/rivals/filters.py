"""Rivals that prune: filters by norm (FT), filters by sensitivity on data (PFP), weights by magnitude."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from problems.data.examples import len_of, mapped
from problems.lowrank.choices import Size
from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.lowrank.layer_matrices import Layer
from problems.lowrank.moments import patches, sampled_positions
from problems.lowrank.rivals.pruned_network import pruned_sizes
from problems.networks.layers.prunable import hooked, prunable_layers

_BISECTIONS = 18
_SENSITIVITY_IMAGES = 128
_SENSITIVITY_SAMPLES = 16_384
_LEAST_SUM = 1.2e-7
_FAILURE = 1e-16


def magnitude_pruning(network: DecomposableNetwork, budget: float, *, size: Size = "parameters") -> nn.Module:
    """The weights of least magnitude over all layers become zero, as many as the budget of non-zeros asks."""
    weights = np.concatenate([np.abs(w).reshape(-1) for w in network.weights.values()])
    costs = np.concatenate(
        [
            np.full(layer.parameters, layer.uses if size == "macs" else layer.itemsize if size == "bytes" else 1)
            for layer in network.layers
        ]
    )
    total = {"parameters": network.whole.parameters, "macs": network.whole.macs, "bytes": network.whole.size_bytes}
    order = np.argsort(weights, kind="stable")
    excess = total[size] - budget
    n = int(np.searchsorted(np.cumsum(costs[order]), excess)) + 1 if excess > 0 else 0
    is_gone = np.zeros(len(weights), dtype=bool)
    is_gone[order[:n]] = True
    model = copy.deepcopy(network.model)
    modules, start = prunable_layers(model), 0
    for layer in network.layers:
        mask = torch.from_numpy(is_gone[start : start + layer.parameters])
        weight = modules[layer.name].weight
        weight.data[mask.reshape(weight.shape)] = 0.0
        start += layer.parameters
    return model.eval()


def filter_thresholding(network: DecomposableNetwork, budget: float, *, size: Size = "parameters") -> nn.Module | None:
    """Filters whose norm is below one share of their layer's largest are removed; the share is found for the budget.

    The last layer, whose filters are the classes, stays whole; so does the largest filter of every layer.

    Source: Li et al. 2017, arXiv:1608.08710, with one relative threshold for all layers as in Liebenwein et al. 2021.
    """
    relative = {}
    for layer in network.layers[:-1]:
        norms = np.linalg.norm(network.weights[layer.name].reshape(layer.n_out, -1), axis=1)
        relative[layer.name] = norms / max(float(norms.max()), 1e-30)

    def at(threshold: float) -> nn.Module:
        return without_filters(network, {name: r < threshold for name, r in relative.items()})

    return _fitting(network, at, budget, size)


def provable_filter_pruning(
    network: DecomposableNetwork, budget: float, *, size: Size = "parameters"
) -> nn.Module | None:
    """Input channels of least sensitivity are removed, as many a layer as an error common to all layers allows.

    A layer's number of channels for an error eps is the expected number of different ones in m draws in proportion to
    sensitivity, m = 3 (6 + 2 eps) S a / eps^2, with S the sum of its sensitivities and
    a = 6 log(8 (p + 1) q / delta) for p positions, q kernel entries and a probability of failure delta; those of the
    highest sensitivity are kept. eps is found for the budget. The first layer's inputs, the image, stay.

    Source: Liebenwein et al. 2020, arXiv:1911.07412, theorem 1 and sec. 4 (deterministic variant).
    """
    sensitivity = channel_sensitivities(network)

    def at(error: float) -> nn.Module:
        model = copy.deepcopy(network.model)
        modules = prunable_layers(model)
        for name, s in sensitivity.items():
            layer = network.by_name[name]
            gone = np.argsort(-s, kind="stable")[_kept_channels(s, error, layer) :]
            _columns(modules[name].weight, layer)[:, torch.from_numpy(gone)] = 0.0
        return model.eval()

    return _fitting(network, lambda t: at(float(np.exp(16 * t - 4))), budget, size)


def _kept_channels(sensitivity: np.ndarray, error: float, layer: Layer) -> int:
    total, n_entries = float(sensitivity.sum()), layer.parameters // (layer.n_out * layer.n_in)
    if total == 0:
        return len(sensitivity)
    scale = 6 * np.log(8 * (layer.positions + 1) * n_entries / _FAILURE)
    n_draws = np.ceil(3 * (6 + 2 * error) * total * scale / error**2)
    expected = np.ceil((1 - (1 - sensitivity / total) ** n_draws).sum())
    return int(np.clip(expected, 1, len(sensitivity)))


def channel_sensitivities(network: DecomposableNetwork) -> dict[str, np.ndarray]:
    """(c,) largest relative contribution of each input channel, for every layer without groups but the first.

    The sensitivity of a channel is the largest share that a single product of one of its inputs and a weight has of the
    positive, or of the negative, part of a pre-activation: over kernel entries, filters, positions and images.

    Source: Liebenwein et al. 2020, arXiv:1911.07412, sec. 3, with products of negative inputs apart from those of
    positive ones.
    """
    model, modules = network.model, prunable_layers(network.model)
    chosen = {layer.name: layer for layer in network.layers[1:] if layer.groups == 1}
    images = mapped(network.calibration, lambda tensor: tensor[:_SENSITIVITY_IMAGES])
    found: dict[str, np.ndarray] = {}

    def see(name: str, x: Tensor) -> None:
        layer, module = chosen[name], modules[name]
        positions = sampled_positions(layer, _SENSITIVITY_SAMPLES // len_of(images))
        c = layer.n_in
        weight = module.weight.detach().reshape(layer.n_out, c, -1)
        inputs = patches(module, 1, x, positions)[0].reshape(c, weight.shape[2], -1)
        if bool((inputs < 0).any()):
            inputs = torch.cat([inputs.clamp_min(0), (-inputs).clamp_min(0)], dim=2)
        best = torch.zeros(c)
        for row in weight:
            for signed in (row.clamp_min(0), (-row).clamp_min(0)):
                total = torch.einsum("cq,cqs->s", signed, inputs)
                share = signed[:, :, None] * (inputs / torch.where(total > _LEAST_SUM, total, torch.inf))
                best = torch.maximum(best, share.amax(dim=(1, 2)))
        found[name] = best.double().numpy()

    with hooked({name: modules[name] for name in chosen}, see), torch.no_grad():
        network.answers(model, images)
    return found


def without_filters(network: DecomposableNetwork, gone: Mapping[str, np.ndarray]) -> nn.Module:
    """A copy of the network with filters set to zero, their biases and batch-norm channels too.

    Args:
        network: The original, left alone.
        gone: By layer, (f,) bool.
    """
    model = copy.deepcopy(network.model)
    modules = prunable_layers(model)
    for name, is_gone in gone.items():
        mask, module = torch.from_numpy(np.asarray(is_gone)), modules[name]
        module.weight.data[mask] = 0.0
        if module.bias is not None:
            module.bias.data[mask] = 0.0
        norm = network.by_name[name].norm
        if norm is not None:
            batch_norm = model.get_submodule(norm)
            for tensor in (batch_norm.weight, batch_norm.bias, batch_norm.running_mean):
                if isinstance(tensor, Tensor):
                    tensor.data[mask] = 0.0
    return model.eval()


def _columns(weight: Tensor, layer: Layer) -> Tensor:
    """(f, c, ...) view of a weight."""
    return weight.data.reshape(layer.n_out, layer.n_in, -1)


def _fitting(
    network: DecomposableNetwork, at: Callable[[float], nn.Module], budget: float, size: Size
) -> nn.Module | None:
    """The mildest of a family of prunings, parameter 0 to 1, that stays within the budget; None where none does."""
    low, high = 0.0, 1.0
    best = at(high)
    if pruned_sizes(network, best, is_structured=True)[size] > budget:
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        model = at(middle)
        if pruned_sizes(network, model, is_structured=True)[size] <= budget:
            high, best = middle, model
        else:
            low = middle
    return best

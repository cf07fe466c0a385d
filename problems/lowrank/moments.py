"""First and second moments of layers' inputs on data: what an error measured on data needs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from problems.lowrank.layer_matrices import Layer
from problems.networks.layers.prunable import Prunable, hooked, padded, prunable_layers

_CHUNK = 64

SAMPLES = 16_384
"""Of a layer's inputs and outputs, over images and positions."""


@dataclasses.dataclass(frozen=True)
class InputMoments:
    """Moments of what a layer multiplies its weights by, over images and positions.

    Args:
        mean: (g, m) float64, m = c kh kw / g in the order of the unfolded weight's columns.
        second: (g, m, m) float64, E[x x^T].
    """

    mean: np.ndarray
    second: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """(g, m, m): second moments about the mean."""
        return self.second - self.mean[:, :, None] * self.mean[:, None, :]


def patches(module: Prunable, groups: int, x: Tensor, positions: Tensor | None = None) -> Tensor:
    """(g, m, n p) inputs of a layer, as the columns of its unfolded weight meet them.

    Args:
        module: A convolution or linear layer.
        groups: Its groups.
        x: (n, ...) its input.
        positions: (p,) int64, positions of the output map to take, row by row; None takes all.
    """
    if isinstance(module, nn.Linear):
        rows = x.reshape(len(x), -1, x.shape[-1])
        rows = rows if positions is None else rows[:, positions]
        return rows.flatten(0, 1).T[None]
    room = padded(module, x)
    sides = room.shape[2:]
    # rows of channels, so that one position of all channels is one copy
    rows = room.movedim(1, -1).reshape(len(x), -1, x.shape[1])
    taken = rows[:, _places(module, sides, positions).reshape(-1)]
    n, c = taken.shape[0], taken.shape[2]
    n_places = math.prod(module.kernel_size)
    split = taken.reshape(n, n_places, -1, c).permute(3, 1, 0, 2)
    return split.reshape(groups, c // groups * n_places, -1)


def _places(module: nn.Conv1d | nn.Conv2d | nn.Conv3d, sides: Sequence[int], positions: Tensor | None) -> Tensor:
    """(places of the kernel, p) int64: where in the padded, flat map each output position meets each of them."""
    starts, offsets = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    for side, kernel, stride, spread in zip(sides, module.kernel_size, module.stride, module.dilation, strict=True):
        n_out = (side - spread * (kernel - 1) - 1) // stride + 1
        starts = (starts[:, None] * side + torch.arange(n_out) * stride).reshape(-1)
        offsets = (offsets[:, None] * side + torch.arange(kernel) * spread).reshape(-1)
    return offsets[:, None] + (starts if positions is None else starts[positions])


def sampled_positions(layer: Layer, n_images: int, *, seed: int = 0) -> Tensor:
    """(p,) int64, ascending: positions of a layer's map that give about 16,384 samples over the images."""
    used = max(1, min(layer.positions, -(-SAMPLES // max(1, n_images))))
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(layer.positions, generator=generator)[:used].sort().values


def input_moments(model: nn.Module, layers: Sequence[Layer], images: Tensor) -> dict[str, InputMoments]:
    """Moments of the input of every layer, by name, at `sampled_positions`.

    Args:
        model: In evaluation mode.
        layers: Layers of it.
        images: (n, ...) to run.

    Products are taken in float32 and added up in float64.
    """
    modules = prunable_layers(model)
    groups = {layer.name: layer.groups for layer in layers}
    positions = {layer.name: sampled_positions(layer, len(images)) for layer in layers}
    sums: dict[str, tuple[Tensor, Tensor, int]] = {}

    def see(name: str, x: Tensor) -> None:
        p = patches(modules[name], groups[name], x, positions[name])
        first, second, n = p.sum(dim=2).double(), (p @ p.transpose(1, 2)).double(), p.shape[2]
        if name in sums:
            before = sums[name]
            first, second, n = first + before[0], second + before[1], n + before[2]
        sums[name] = (first, second, n)

    with hooked({name: modules[name] for name in groups}, see), torch.no_grad():
        for part in images.split(_CHUNK):
            model(part)
    return {name: InputMoments((first / n).numpy(), (second / n).numpy()) for name, (first, second, n) in sums.items()}


def metrics(layers: Sequence[Layer], moments: Mapping[str, InputMoments]) -> dict[str, np.ndarray]:
    """For each layer the (g, m, m) matrix C in which its error is measured: E || (W - W') x ||^2 = tr(D C D^T).

    About the mean where something behind the layer takes the mean over (its own bias, or a batch norm whose
    statistics are computed anew), else about zero.
    """
    return {
        layer.name: (moments[layer.name].covariance if takes_mean(layer) else moments[layer.name].second)
        for layer in layers
    }


def takes_mean(layer: Layer) -> bool:
    """Whether a shift of the layer's outputs costs nothing: it has a bias, or a batch norm follows."""
    return layer.has_bias or layer.norm is not None

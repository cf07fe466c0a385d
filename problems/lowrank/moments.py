"""First and second moments of layers' inputs on data: what an error measured on data needs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.data.examples import Inputs, len_of, mapped, spans
from problems.lowrank.decomposable import Answers, tensor_answers
from problems.lowrank.layer_matrices import Layer
from problems.networks.layers.prunable import Prunable, hooked, padded, prunable_layers

_CHUNK = 64
_NOISE = 1e-6

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
    x = with_batch(module, x)
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


def with_batch(module: Prunable, x: Tensor) -> Tensor:
    """A layer's input with an axis of examples; what is given without one is one example."""
    n_axes = 1 if isinstance(module, nn.Linear) else len(module.kernel_size) + 1
    return x[None] if x.ndim == n_axes else x


def wide(x: Tensor) -> Tensor:
    """Numbers of half precision in single precision; others as they are."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


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
    return _sampled(layer.positions, n_images, seed=seed)


def _sampled(n_positions: int, n_images: int, *, seed: int = 0) -> Tensor:
    used = max(1, min(n_positions, -(-SAMPLES // max(1, n_images))))
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(n_positions, generator=generator)[:used].sort().values


def _n_positions(module: Prunable, x: Tensor) -> int:
    """Places of the output map for an input with a batch."""
    if isinstance(module, nn.Linear):
        return math.prod(x.shape[1:-1])
    return math.prod(
        (side - spread * (kernel - 1) - 1) // stride + 1
        for side, kernel, stride, spread in zip(
            padded(module, x[:1]).shape[2:], module.kernel_size, module.stride, module.dilation, strict=True
        )
    )


def input_moments(
    model: nn.Module, layers: Sequence[Layer], inputs: Inputs, *, answers: Answers = tensor_answers
) -> dict[str, InputMoments]:
    """Moments of the input of every layer, by name, at `sampled_positions`, over all its calls.

    Args:
        model: In evaluation mode.
        layers: Layers of it.
        inputs: Of n examples, to run.
        answers: Runs the network.

    Products are taken in float32 and added up in float64.

    Raises:
        UsageError: A layer's inputs cannot be seen.
    """
    modules = prunable_layers(model)
    by_name = {layer.name: layer for layer in layers}
    n = len_of(inputs)
    positions = {layer.name: sampled_positions(layer, n) for layer in layers}
    sums: dict[str, tuple[Tensor, Tensor, int]] = {}

    def see(name: str, x: Tensor) -> None:
        module = modules[name]
        if not x.numel():
            return  # an expert that is sent no example
        x = wide(with_batch(module, x))
        n_places = _n_positions(module, x)
        # a map of another size than in the first pass has positions of its own
        chosen = positions[name] if n_places == by_name[name].positions else _sampled(n_places, n)
        p = patches(module, by_name[name].groups, x, chosen)
        first, second, n_columns = p.sum(dim=2).double(), (p @ p.transpose(1, 2)).double(), p.shape[2]
        if name in sums:
            before = sums[name]
            first, second, n_columns = first + before[0], second + before[1], n_columns + before[2]
        sums[name] = (first, second, n_columns)

    with hooked({name: modules[name] for name in by_name}, see), torch.no_grad():
        for part in spans(n, _CHUNK):
            answers(model, mapped(inputs, lambda tensor, rows=part: tensor[rows]))  # type: ignore[misc]
    return {name: _moments(name, *of) for name, of in sums.items()}


def _moments(name: str, first: Tensor, second: Tensor, n: int) -> InputMoments:
    try:
        return InputMoments((first / n).numpy(), (second / n).numpy())
    except RuntimeError as error:  # a mapped call hides its values
        reason = " ".join(str(error).split())[:100]
        raise UsageError(
            f"what layer {name!r} gets cannot be seen ({reason}); take another --problem.measure than data, or leave "
            "the layer out with --problem.layers"
        ) from None


def metrics(layers: Sequence[Layer], moments: Mapping[str, InputMoments]) -> dict[str, np.ndarray]:
    """For each layer the (g, m, m) matrix C in which its error is measured: E || (W - W') x ||^2 = tr(D C D^T).

    About the mean where something behind the layer takes the mean over (its own bias, or a batch norm whose
    statistics are computed anew), else about zero. Inputs that do not vary have no error about their mean: what single
    precision leaves of it is noise.
    """
    return {layer.name: _metric(moments[layer.name], is_about_mean=takes_mean(layer)) for layer in layers}


def _metric(of: InputMoments, *, is_about_mean: bool) -> np.ndarray:
    if not is_about_mean:
        return of.second
    about_mean = of.covariance
    varies = np.trace(about_mean, axis1=1, axis2=2).sum() > _NOISE * np.trace(of.second, axis1=1, axis2=2).sum()
    return about_mean if varies else np.zeros_like(about_mean)


def takes_mean(layer: Layer) -> bool:
    """Whether a shift of the layer's outputs costs nothing: it has a bias, or a batch norm follows."""
    return layer.has_bias or layer.norm is not None

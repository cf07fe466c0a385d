"""Scores of single weights: how much a network loses when one is set to zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from opt.console.errors import check_choice
from problems.data.examples import Inputs, call, len_of, mapped
from problems.networks.layers.prunable import Prunable, hooked, kernel_windows, output_positions, prunable_layers

ScoreName = Literal["magnitude", "rms", "std"]


@dataclass(frozen=True)
class InputStatistics:
    """What a layer's inputs look like over a set of images.

    Attributes:
        mean: Mean of the input that each weight meets, in the shape of the weight.
        square: Mean of its square, likewise.
        positions: How often each weight is used for one example.
    """

    mean: np.ndarray
    square: np.ndarray
    positions: int

    @property
    def rms(self) -> np.ndarray:
        """Root mean square of the input."""
        return np.sqrt(self.square)

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of the input."""
        return np.sqrt(np.maximum(self.square - self.mean**2, 0.0))


@torch.no_grad()
def input_statistics(
    model: nn.Module, names: list[str], inputs: Inputs, *, batch_size: int = 2000
) -> list[InputStatistics]:
    """Statistics of the inputs of layers, from one pass of examples through the unpruned network.

    A weight of a convolution meets another set of pixels at each place of the kernel, padding
    included, so every weight has a mean and a mean square of its own.

    Args:
        model: The network, in evaluation mode.
        names: Names of convolutions and linear layers.
        inputs: Of n examples; left as they are.
        batch_size: Examples at once.

    Returns:
        One `InputStatistics` a layer, float64.
    """
    layers = {name: layer for name, layer in prunable_layers(model).items() if name in names}
    total = dict.fromkeys(layers, 0)
    first = {name: np.zeros(_field(layer)) for name, layer in layers.items()}
    second = {name: np.zeros(_field(layer)) for name, layer in layers.items()}
    positions = dict.fromkeys(layers, 0)
    n_passes = 0

    def see(name: str, x: Tensor) -> None:
        layer = layers[name]
        if n_passes == 1:  # a layer that runs twice uses its weights twice
            positions[name] += output_positions(layer, x)
        if isinstance(layer, nn.Linear):
            rows = x.reshape(-1, layer.in_features).double()
            first[name] += rows.sum(0).numpy()
            second[name] += rows.square().sum(0).numpy()
            total[name] += len(rows)
            return
        for place, window in kernel_windows(layer, x):
            at: Any = (slice(None), *place)
            channels = window.transpose(0, 1).flatten(1).double()
            first[name][at] += channels.sum(1).numpy()
            second[name][at] += channels.square().sum(1).numpy()
        total[name] += channels.shape[1]

    with hooked(layers, see):
        for start in range(0, len_of(inputs), batch_size):
            n_passes += 1
            call(model, mapped(inputs, lambda part, at=start: part[at : at + batch_size].clone()))  # type: ignore[misc]
    return [
        InputStatistics(
            _as_weight(first[name] / total[name], layers[name]),
            _as_weight(second[name] / total[name], layers[name]),
            positions[name],
        )
        for name in names
    ]


def weight_scores(kind: ScoreName, weight: np.ndarray, inputs: InputStatistics) -> np.ndarray:
    """Score of every weight of a layer: the smaller, the sooner it is removed.

    Args:
        kind: "magnitude", |w|; "rms", |w| rms(x); "std", |w| std(x), for layers whose bias takes over
            w mean(x) of each removed weight, so that only the input's variation is lost.
        weight: (out, in, ...) weights.
        inputs: Statistics of the layer's inputs.

    Returns:
        float64 scores in the shape of `weight`.

    Source: "rms" is Sun et al. 2024, arXiv:2306.11695 (Wanda), eq. 1; there weights are compared within a row,
        which is the scope "channel" here. "std" is the same for centred inputs: the square of a weight's score is
        the mean squared change of the output when that weight alone goes (cf. An et al. 2024, arXiv:2312.11983).
    """
    size = np.abs(weight.astype(np.float64))
    factor = SCORES[check_choice("score", kind, SCORES)](inputs)
    return size if factor is None else size * factor


SCORES: dict[str, Callable[[InputStatistics], np.ndarray | None]] = {
    "magnitude": lambda inputs: None,
    "rms": lambda inputs: inputs.rms,
    "std": lambda inputs: inputs.std,
}
"""What |w| is multiplied by, of the inputs' statistics, by kind of score; None for nothing."""


def _field(layer: Prunable) -> tuple[int, ...]:
    if isinstance(layer, nn.Linear):
        return (layer.in_features,)
    return (layer.in_channels, *layer.kernel_size)


def _as_weight(values: np.ndarray, layer: Prunable) -> np.ndarray:
    """(in, ...) values of all inputs as one value for each weight: a row sees the channels of its own group."""
    n_groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    by_group = values.reshape(n_groups, -1, *values.shape[1:])
    return np.repeat(by_group, layer.weight.shape[0] // n_groups, axis=0)

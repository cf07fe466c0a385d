"""Scores of single weights: how much a network loses when one is set to zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from opt.console.errors import check_choice
from problems.data.examples import Inputs, call, len_of, mapped, spans
from problems.networks.layers.prunable import Prunable, hooked, kernel_windows, prunable_layers

ScoreName = Literal["magnitude", "rms", "std"]


@dataclass(frozen=True)
class InputStatistics:
    """What a layer's inputs look like over a set of images.

    Attributes:
        mean: Mean of the input that each weight meets, in the shape of the weight.
        square: Mean of its square, likewise.
        positions: How often each weight is used for one example.
        unknown: Why the inputs are not known, where they could not be seen; all else then is zero.
    """

    mean: np.ndarray
    square: np.ndarray
    positions: float
    unknown: str = ""

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
    sums = {name: _Sums(layer) for name, layer in layers.items()}
    with hooked(layers, lambda name, x: sums[name].add(x)):
        for part in spans(len_of(inputs), batch_size):
            call(model, mapped(inputs, lambda tensor, rows=part: tensor[rows].clone()))  # type: ignore[misc]
    return [sums[name].statistics(len_of(inputs)) for name in names]


class _Sums:
    """Sums over the inputs that each weight of a layer meets.

    Args:
        layer: A convolution or a linear layer.
    """

    def __init__(self, layer: Prunable) -> None:
        self._layer = layer
        self._n = 0
        field = (layer.in_features,) if isinstance(layer, nn.Linear) else (layer.in_channels, *layer.kernel_size)
        self._first, self._second = np.zeros(field), np.zeros(field)
        self._unknown = ""

    def add(self, x: Tensor) -> None:
        """Add what the layer meets in one call; a layer that runs twice uses its weights twice."""
        try:
            self._add(torch.cat(x.unbind()) if x.is_nested else x)
        except (
            RuntimeError,
            IndexError,
            ValueError,
        ) as error:  # a mapped call hides its values; own layers take anything
            self._unknown = " ".join(str(error).split())[:100]

    def _add(self, x: Tensor) -> None:
        x = x.cpu()  # sums of doubles, which not every device has
        if isinstance(self._layer, nn.Linear):
            rows = x.reshape(-1, self._layer.in_features).double()
            self._first += rows.sum(0).numpy()
            self._second += rows.square().sum(0).numpy()
            self._n += len(rows)
            return
        if x.ndim == len(self._layer.kernel_size) + 1:  # one example without a batch
            x = x[None]
        for place, window in kernel_windows(self._layer, x):
            at: Any = (slice(None), *place)
            channels = window.transpose(0, 1).flatten(1).double()
            self._first[at] += channels.sum(1).numpy()
            self._second[at] += channels.square().sum(1).numpy()
        self._n += channels.shape[1]

    def statistics(self, n_examples: int) -> InputStatistics:
        """Of all that was added, for so many examples."""
        mean, square = (_as_weight(values / max(self._n, 1), self._layer) for values in (self._first, self._second))
        if self._unknown:
            return InputStatistics(0 * mean, 0 * square, 0.0, self._unknown)
        return InputStatistics(mean, square, self._n / n_examples)


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


def _as_weight(values: np.ndarray, layer: Prunable) -> np.ndarray:
    """(in, ...) values of all inputs as one value for each weight: a row sees the channels of its own group."""
    n_groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    by_group = values.reshape(n_groups, -1, *values.shape[1:])
    return np.repeat(by_group, layer.weight.shape[0] // n_groups, axis=0)

"""Weights as symmetric int8 for each output channel, and training that sees them so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from problems.data.data import Split
from problems.networks.layers.prunable import prunable_layers
from problems.networks.training.training import History, train

LARGEST = 127
"""Codes run from -127 to 127: symmetric, so that zero is exact and no code has no negative."""


def channel_scales(weight: Tensor) -> Tensor:
    """Largest absolute weight of each output channel over 127, (channels, 1, ...); 1 for a channel of zeros."""
    largest = weight.detach().abs().flatten(1).amax(dim=1)
    scale = torch.where(largest > 0, largest / LARGEST, torch.ones_like(largest))
    return scale.view(-1, *([1] * (weight.ndim - 1)))


class FakeQuantised(nn.Module):
    """A parametrization of a weight: rounded to the int8 grid forward, the identity backward.

    w -> s round(w / s), s = max |w| / 127 over the output channel; the gradient passes straight through.

    Source: Bengio et al. 2013, arXiv:1308.3432, sec. 4; Krishnamoorthi 2018, arXiv:1806.08342, sec. 2.4.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """(channels, ...) to the same shape, on the grid of int8 codes."""
        scale = channel_scales(weight)
        # |w| <= 127 s by the choice of s: nothing is clipped
        return weight + (torch.round(weight / scale) * scale - weight).detach()


@contextmanager
def fake_quantised(model: nn.Module) -> Iterator[None]:
    """While open, every convolution and linear layer computes with rounded weights; behind it they are on the grid."""
    layers = list(prunable_layers(model).values())
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", FakeQuantised())
    try:
        yield
    finally:
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def train_quantised(
    model: nn.Module,
    data: Split,
    *,
    seed: int,
    epochs: int = 10,
    batch_size: int = 100,
    lr: float = 1e-3,
    patience: int = 3,
    validation: float = 0.1,
    progress: bool = True,
) -> History:
    """`train` with int8 weights in the forward pass and straight-through gradients.

    Behind it every weight of a convolution or linear layer is its channel's scale times a code: what was trained, and
    the validation loss that chose the epoch, are those of the int8 network. Biases and normalisation stay float32.

    Args:
        model: As in `train`.
        data: As in `train`.
        seed: As in `train`.
        epochs: As in `train`.
        batch_size: As in `train`.
        lr: As in `train`.
        patience: As in `train`.
        validation: As in `train`.
        progress: As in `train`.

    Returns:
        The history.

    Raises:
        ValueError: an option out of range.
    """
    with fake_quantised(model):
        return train(
            model, data, seed=seed, epochs=epochs, batch_size=batch_size, lr=lr, patience=patience,
            validation=validation, progress=progress,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Int8Weight:
    """One layer's weight as codes and scales: weight = scale * code, exact in float32 but for one rounding.

    Args:
        codes: (channels, ...) int8, -127 to 127.
        scale: (channels, 1, ...) float32.
    """

    codes: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, weight: Tensor) -> Int8Weight:
        """Quantise a weight; one that is on the grid already keeps its codes, and gets the same scale to an ulp."""
        weight = weight.detach().float().cpu()
        scale = channel_scales(weight)
        return cls(torch.round(weight / scale).to(torch.int8).numpy(), scale.numpy())

    def weight(self, codes: np.ndarray | None = None) -> Tensor:
        """float32 weight for these codes (any int8, of the layer's shape), or for its own."""
        own = self.codes if codes is None else codes
        if own.shape != self.codes.shape or own.dtype != np.int8:
            raise ValueError(f"codes must be int8 of shape {self.codes.shape}, got {own.dtype} {own.shape}.")
        return torch.from_numpy(own.astype(np.float32)) * torch.from_numpy(self.scale)


def int8_weights(model: nn.Module) -> dict[str, Int8Weight]:
    """Every convolution's and linear layer's weight as int8, by the layer's name."""
    return {name: Int8Weight.of(layer.weight) for name, layer in prunable_layers(model).items()}


def put_back(model: nn.Module, weights: Mapping[str, Int8Weight], codes: Mapping[str, np.ndarray]) -> None:
    """Give layers the weights of these codes, in place, with the scales that they had.

    Args:
        model: The network.
        weights: Its int8 weights, as `int8_weights` gave them; other layers get their own codes again.
        codes: int8 arrays of a layer's shape, by the layer's name.
    """
    layers = prunable_layers(model)
    for name, own in weights.items():
        layers[name].weight.data = own.weight(codes.get(name)).to(layers[name].weight)

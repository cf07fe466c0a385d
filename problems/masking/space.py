"""What the places of a mask stand for: single weights of a network's layers, or its channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from problems.networks.layers.prunable import hooked, output_positions, prunable_layers


class MaskSpace(Protocol):
    """Places of a mask and what they hide.

    Attributes:
        names: Layers whose scores decide, in the order in which the network runs them.
        labels: A name for each layer of places.
        sizes: Places of each layer.
    """

    names: list[str]
    labels: list[str]
    sizes: tuple[int, ...]

    def tensors(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Bool masks of parameters by their names in the state dict, each in its parameter's shape, of (n,) bool."""

    def pool(self, scores: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Scores of single weights, one array for each of `names`, summed up to one (size,) array a layer of places."""

    def cost(self, mask: np.ndarray) -> tuple[int, int]:
        """Parameters and multiply-adds of the network that a mask, (n,) bool, leaves."""


class WeightSpace:
    """One place for each weight of the chosen layers, in C order.

    Args:
        model: The network, in evaluation mode.
        names: Layers that are masked, in the order in which they run.
        example: (n, ...) images, run once to count how often each weight is used.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], example: Tensor) -> None:
        layers = prunable_layers(model)
        self.names = list(names)
        self.labels = list(names)
        self._shapes = [tuple(layers[name].weight.shape) for name in names]
        self.sizes = tuple(int(np.prod(shape)) for shape in self._shapes)
        self._starts = np.cumsum([0, *self.sizes])
        positions: dict[str, int] = {}

        def see(name: str, x: Tensor) -> None:
            positions[name] = output_positions(layers[name], x)

        with hooked(layers, see), torch.no_grad():
            model(example[:2])
        self._positions = np.array([positions[name] for name in names])
        weights = sum(p.numel() for p in model.parameters())
        self._other_parameters = weights - sum(self.sizes)
        everything = sum(layers[n].weight.numel() * positions[n] for n in positions)
        self._other_macs = everything - int((np.array(self.sizes) * self._positions).sum())

    def tensors(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        """The mask of each layer's weight."""
        return {f"{name}.weight": part for name, part in zip(self.names, self._parts(mask), strict=True)}

    def _parts(self, mask: np.ndarray) -> list[np.ndarray]:
        bounds = zip(self._shapes, self._starts, self._starts[1:], strict=False)
        return [mask[a:b].reshape(shape) for shape, a, b in bounds]

    def pool(self, scores: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The scores themselves."""
        return [s.ravel() for s in scores]

    def cost(self, mask: np.ndarray) -> tuple[int, int]:
        """Kept weights and what is not masked; their multiply-adds, as a sparse product would make them."""
        kept = np.array([int(np.count_nonzero(part)) for part in self._parts(mask)])
        return int(kept.sum()) + self._other_parameters, int((kept * self._positions).sum()) + self._other_macs


@torch.no_grad()
def with_masks(state: Mapping[str, Tensor], masks: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """A state dict whose masked parameters are zero where their mask is false; the other tensors are shared."""
    return {n: t * torch.tensor(masks[n], dtype=t.dtype) if n in masks else t for n, t in state.items()}


@torch.no_grad()
def with_signed_constants(state: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """A state dict in which each weight of the layers is its sign times the layer's standard deviation.

    Source: Zhou et al. 2019, arXiv:1905.01067, sec. 4.1.
    """
    weights = {f"{name}.weight" for name in names}
    return {n: torch.where(t < 0, -t.std(), t.std()) if n in weights else t for n, t in state.items()}

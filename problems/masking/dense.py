"""Fully connected networks of any torch module, as layers that exact evaluation takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from operators.masks.genome import MaskGenome
from problems.data.examples import Examples, ImageExamples
from problems.masking.exact import Derivative, ExactNetwork
from problems.networks.architectures.fully_connected import FullyConnected


def dense_layers(model: nn.Module) -> list[str] | None:
    """Names of the linear layers of a network that is linear layers with ReLU between them, else None."""
    if isinstance(model, FullyConnected):
        return [name for name, layer in model.named_children() if isinstance(layer, nn.Linear)]
    if type(model) is not nn.Sequential or any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()):
        return None
    parts = [(n, m) for n, m in model._modules.items() if not isinstance(m, (nn.Flatten, nn.Dropout, nn.Identity))]
    linear, between = parts[::2], parts[1::2]
    if len(linear) != len(between) + 1 or not all(type(m) is nn.Linear for _, m in linear):
        return None
    if not all(type(m) is nn.ReLU for _, m in between):
        return None
    if len({m.bias is None for _, m in linear}) > 1:
        return None
    return [name for name, _ in linear]


class MaskedDense:
    """A fully connected network under weight masks: `ExactNetwork` on a state dict.

    Args:
        names: Its linear layers, all of them masked.
        state: Weights, and biases where it has them.
        split: Images.
    """

    def __init__(self, names: Sequence[str], state: Mapping[str, Tensor], split: ImageExamples) -> None:
        weights = [state[f"{name}.weight"].numpy() for name in names]
        biases = [state[f"{name}.bias"].numpy() for name in names] if f"{names[0]}.bias" in state else None
        self._exact = ExactNetwork(weights, biases, _pixels(split), white=split.split.white)

    def show(self, split: Examples) -> None:
        """Take other images from now on."""
        self._exact.show(_pixels(split))

    def logits(self, genomes: Sequence[MaskGenome]) -> Iterator[np.ndarray]:
        """(n_classes, n) float32 logits of each mask; do not change them."""
        for genome in genomes:
            yield self._exact.logits(genome)

    def slope(self, genome: MaskGenome, derivative: Derivative, split: Examples | None = None) -> np.ndarray:
        """(n,) float32 derivative of a loss by the mask, on images of `split` or those of now."""
        return self._exact.slope(genome, derivative, None if split is None else _pixels(split))


def _pixels(examples: Examples) -> np.ndarray:
    assert isinstance(examples, ImageExamples)
    return examples.split.pixels.flatten(1).numpy()

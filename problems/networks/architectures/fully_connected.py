"""Fully connected networks with ReLU, their arrays, and their files."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.networks.storage.checkpoints import as_arrays, read_safetensors, save_network


class FullyConnected(nn.Module):
    """Linear layers with biases and ReLU between them, no activation after the last.

    The hidden layers are named `layer_1_linear`, `layer_2_linear`, ..., the last one `output`.
    Weights are drawn as torch does by default (uniform within 1 / sqrt(inputs)) but from a seed of their own;
    torch's global generator is neither read nor moved.

    Args:
        widths: (inputs, hidden ..., outputs), at least two numbers.
        seed: Of the initial weights.
    """

    def __init__(self, widths: Sequence[int], *, seed: int = 0) -> None:
        super().__init__()
        self.widths = tuple(int(w) for w in widths)
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise ValueError(f"widths must be at least two positive numbers (inputs, ..., outputs), got {widths}.")
        generator = torch.Generator().manual_seed(seed)
        for name, n_in, n_out in zip(layer_names(len(self.widths) - 1), self.widths, self.widths[1:], strict=False):
            layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
            bound = 1 / math.sqrt(n_in)
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
            self.add_module(name, layer)

    @property
    def linear_layers(self) -> list[nn.Linear]:
        """The layers in order, the output layer last."""
        return [layer for layer in self.children() if isinstance(layer, nn.Linear)]

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """Neurons of each hidden layer."""
        return self.widths[1:-1]

    def hidden(self, x: Tensor) -> list[Tensor]:
        """Activations after ReLU, (n, h) for each hidden layer, of inputs (n, ...) that are flattened."""
        x, activations = x.flatten(1), []
        for layer in self.linear_layers[:-1]:
            x = torch.relu(layer(x))
            activations.append(x)
        return activations

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, n_classes) of inputs (n, ...) that are flattened."""
        x = x.flatten(1)
        *hidden, output = self.children()  # by place, not by class: another module may stand for a layer
        for layer in hidden:
            x = torch.relu(layer(x))
        logits: Tensor = output(x)
        return logits

    def to_arrays(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Copies of the weights [(h1, inputs), ..., (outputs, h)] and biases [(h1,), ...], float32."""
        layers = self.linear_layers
        weights = [layer.weight.detach().cpu().numpy().copy() for layer in layers]
        return weights, [layer.bias.detach().cpu().numpy().copy() for layer in layers]

    @classmethod
    def from_arrays(cls, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> FullyConnected:
        """A network with these weights and biases, copied, as float32.

        Raises:
            ValueError: the shapes don't make a network.
        """
        shapes = [np.shape(w) for w in weights], [np.shape(b) for b in biases]
        fits = len(weights) == len(biases) > 0 and all(len(s) == 2 and s[:1] == b for s, b in zip(*shapes, strict=True))
        if not fits or any(a[0] != b[1] for a, b in zip(shapes[0], shapes[0][1:], strict=False)):
            raise ValueError(f"weights (out, in) and biases (out,) must chain from layer to layer, got {shapes}.")
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        model.widths = (shapes[0][0][1], *(s[0] for s in shapes[0]))
        for name, weight, bias in zip(layer_names(len(weights)), weights, biases, strict=True):
            layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
            with torch.no_grad():
                layer.weight.copy_(torch.as_tensor(np.ascontiguousarray(weight)))
                layer.bias.copy_(torch.as_tensor(np.ascontiguousarray(bias)))
            model.add_module(name, layer)
        return model


def layer_names(n_layers: int) -> list[str]:
    """Names of the linear layers of a network that has `n_layers` of them."""
    return [*(f"layer_{i}_linear" for i in range(1, n_layers)), "output"]


def save_fully_connected(
    model: FullyConnected, path: str | os.PathLike[str], *, metadata: Mapping[str, object] | None = None
) -> None:
    """Write a network as safetensors, whole or not at all.

    Args:
        model: The network; stored as float32.
        path: File to write; its folder is made.
        metadata: Plain values, kept with the weights as JSON.

    Raises:
        UsageError: the file can't be written.
    """
    save_network(model, path, metadata=metadata)


def load_fully_connected(path: str | os.PathLike[str]) -> FullyConnected:
    """Read a network from safetensors: `layer_1_linear.weight`, `layer_1_linear.bias`, ..., `output.bias`.

    Raises:
        UsageError: the file is missing, damaged, or holds other tensors than those of a fully connected network.
    """
    tensors, _ = read_safetensors(Path(path))
    n_layers = 1 + sum(bool(re.fullmatch(r"layer_\d+_linear\.weight", name)) for name in tensors)
    names = layer_names(n_layers)
    expected = {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}
    if set(tensors) != expected:
        wrong = sorted(set(tensors) ^ expected)
        raise UsageError(
            f"{path} is not a fully connected network: expected tensors layer_1_linear.weight, layer_1_linear.bias, "
            f"..., output.weight, output.bias; missing or unknown: {', '.join(wrong[:4])}; convert it to these names."
        )
    if not all(tensor.is_floating_point() and bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise UsageError(f"{path} holds weights that are not finite numbers; give another checkpoint.")
    arrays = {name: array.astype(np.float32) for name, array in as_arrays(path, tensors).items()}
    try:
        return FullyConnected.from_arrays(
            [arrays[f"{name}.weight"] for name in names], [arrays[f"{name}.bias"] for name in names]
        )
    except ValueError as error:
        raise UsageError(f"{path} is not a fully connected network: {error} Give another checkpoint.") from error

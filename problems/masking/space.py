"""What the places of a mask stand for: single weights of a network's layers, or its channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from problems.data.examples import Inputs, call, len_of, mapped
from problems.networks.layers.prunable import Prunable, prunable_layers


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

    def cut(self, network: nn.Module, mask: np.ndarray) -> nn.Module:
        """What is left of a network whose masked parameters are zero: of single weights the network itself."""

    def trained_by(
        self, network: nn.Module, state: dict[str, Tensor], mask: np.ndarray
    ) -> tuple[nn.Module, dict[str, Tensor], dict[str, np.ndarray]]:
        """Network, state and masks of parameters by which a mask is trained."""

    def metadata(self, mask: np.ndarray) -> dict[str, str]:
        """Text for the header of a file with what is left of a network."""


class WeightSpace:
    """One place for each weight of the chosen layers, in C order.

    Args:
        model: The network, in evaluation mode.
        names: Layers that are masked, in the order in which they run.
        example: Inputs of a few examples, run once to count how often each weight is used.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], example: Inputs) -> None:
        layers = prunable_layers(model)
        self.names = list(names)
        self.labels = list(names)
        self._shapes = [tuple(layers[name].weight.shape) for name in names]
        self.sizes = tuple(int(np.prod(shape)) for shape in self._shapes)
        self._starts = np.cumsum([0, *self.sizes])
        positions = _positions(model, layers, example)
        self._positions = np.array([positions[name] for name in names])
        weights = sum(p.numel() for p in model.parameters())
        self._other_parameters = weights - sum(self.sizes)
        everything = sum(layers[n].weight.numel() * positions[n] for n in positions)
        self._other_macs = everything - (np.array(self.sizes) * self._positions).sum()

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
        macs = (kept * self._positions).sum() + self._other_macs
        return int(kept.sum()) + self._other_parameters, round(float(macs))

    def cut(self, network: nn.Module, mask: np.ndarray) -> nn.Module:
        """The network itself: single weights leave zeros."""
        return network

    def trained_by(
        self, network: nn.Module, state: dict[str, Tensor], mask: np.ndarray
    ) -> tuple[nn.Module, dict[str, Tensor], dict[str, np.ndarray]]:
        """The masked network."""
        return network, state, self.tensors(mask)

    def metadata(self, mask: np.ndarray) -> dict[str, str]:
        """None."""
        return {}


def _positions(model: nn.Module, layers: Mapping[str, Prunable], example: Inputs) -> dict[str, float]:
    """How often each weight of the layers that run is used for an example, all their runs together."""
    n_values: dict[str, int] = {}

    def see(name: str) -> Any:
        def saw(module: nn.Module, arguments: Any, output: Any) -> None:
            # in a mapped call each example is one of its own
            times = len_of(example) if torch._C._functorch.is_functorch_wrapped_tensor(output) else 1
            n_values[name] = n_values.get(name, 0) + times * output.numel()

        return saw

    handles = [layer.register_forward_hook(see(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            call(model, mapped(example, Tensor.clone))
    finally:
        for handle in handles:
            handle.remove()
    n = len_of(example)
    return {name: total / (len(layers[name].weight) * n) for name, total in n_values.items()}


def one_value_each(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A state in which a parameter that stands under two names of the network has one value, that of its first."""
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    names = {name: first[id(p)] for name, p in model.named_parameters(remove_duplicate=False)}
    return {name: state[names.get(name, name)] for name in state}


@contextmanager
def parameters_replaced(model: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """While open, a network computes with other tensors in place of parameters, which stay as they are.

    `torch.func.functional_call` refuses modules that stand under two names, and leaves them with the other tensors.

    Args:
        model: The network.
        tensors: By the parameters' names.
    """
    before: list[tuple[nn.Module, str, nn.Parameter | None]] = []
    try:
        for name, tensor in tensors.items():
            path, _, kind = name.rpartition(".")
            module = model.get_submodule(path)
            before.append((module, kind, module._parameters[kind]))
            module._parameters[kind] = tensor  # type: ignore[assignment]  # a module only computes with it
        yield
    finally:
        for module, kind, parameter in reversed(before):
            module._parameters[kind] = parameter


@torch.no_grad()
def mask_parameters(model: nn.Module, masks: Mapping[str, np.ndarray]) -> None:
    """Put a network's parameters to zero, in place, where their mask is false; what shares them shares that."""
    for name, mask in masks.items():
        parameter = model.get_parameter(name)
        parameter.mul_(torch.tensor(mask, dtype=parameter.dtype))


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

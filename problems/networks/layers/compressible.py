"""Which layers of a network can be made smaller, which cannot and why, and what share of it they hold."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from opt.console.errors import UsageError
from problems.data.examples import Inputs
from problems.networks.layers.plain_attention import is_packed
from problems.networks.layers.prunable import Prunable, prunable_layers, running_order
from problems.networks.layers.shared_parameters import shared_parameters


@dataclass(frozen=True)
class Compressible:
    """The layers that a task may change.

    Args:
        layers: By name, in the order of the modules.
        left_out: Reasons by the names of modules and parameters that stay as they are.
        share: Share of the network's parameters that the layers' weights hold.
    """

    layers: dict[str, Prunable]
    left_out: dict[str, str]
    share: float

    def summary(self) -> str:
        """One line: the share, and what is left out."""
        n = len(self.layers)
        text = f"weights that can be changed: {self.share:.1%} of the parameters, in {n} layer{'s' if n != 1 else ''}"
        return text + (f"; left as they are: {self._reasons()}" if self.left_out else "")

    def check(self) -> None:
        """Refuse a network of which nothing can be changed.

        Raises:
            UsageError: With what is left out, and why.
        """
        if not self.layers:
            reasons = f": {self._reasons()}" if self.left_out else ""
            raise UsageError(f"the network has no convolution and no linear layer that can be made smaller{reasons}")

    def _reasons(self) -> str:
        reasons: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            reasons.setdefault(reason, []).append(name)
        return "; ".join(
            f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''} ({why})" for why, names in reasons.items()
        )


def compressible_layers(network: nn.Module, example: Inputs | None = None) -> Compressible:
    """The convolutions and linear layers that run, and whose weight is a parameter of theirs alone.

    Args:
        network: In evaluation mode, with computed weights baked in.
        example: Inputs of some examples, run once to see which layers run; None takes all.
    """
    shared = shared_parameters(network)
    layers: dict[str, Prunable] = {}
    left_out: dict[str, str] = {}
    prunable = prunable_layers(network)
    running = set(prunable if example is None else running_order(network, prunable, example))
    for name, layer in prunable.items():
        weight = layer._parameters.get("weight")
        if weight is None:
            left_out[name] = "its weight is computed"
        elif id(weight) in shared:
            left_out[name] = "its weight is shared"
        elif is_packed(_parent(network, name)):
            left_out[name] = "a projection of packed attention"
        elif name not in running:
            left_out[name] = "does not run"
        elif not weight.is_floating_point() or weight.numel() == 0:
            left_out[name] = "its weight holds no numbers"
        else:
            layers[name] = layer
    own = {id(layer.weight) for layer in layers.values()}
    for name, module in network.named_modules():
        if name in layers or name in left_out:
            continue
        sizes = [p.numel() for p in module._parameters.values() if p is not None and p.ndim > 1]
        if sizes and (reason := _reason(module)):
            left_out[name or "the network itself"] = reason
    n = sum(p.numel() for p in network.parameters())
    held = sum(p.numel() for p in network.parameters() if id(p) in own)
    return Compressible(layers, left_out, held / n if n else 0.0)


def _parent(network: nn.Module, name: str) -> nn.Module:
    return network.get_submodule(name.rpartition(".")[0])


def _reason(module: nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return "scripted"
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return "an embedding"
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return "a recurrent cell"
    if is_packed(module):
        return "packed attention"
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return "a transposed convolution"
    return "bare parameters"

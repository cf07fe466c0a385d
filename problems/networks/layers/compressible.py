"""Which layers of a network can be made smaller, which cannot and why, and what share of it they hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from torch import nn

from problems.networks.layers.prunable import Prunable, prunable_layers


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
        text = f"weights that can be changed: {self.share:.1%} of the parameters, in {len(self.layers)} layers"
        reasons: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            reasons.setdefault(reason, []).append(name)
        parts = [f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''} ({why})" for why, names in reasons.items()]
        return text + (f"; left as they are: {'; '.join(parts)}" if parts else "")


def compressible_layers(network: nn.Module) -> Compressible:
    """The convolutions and linear layers whose weight is a parameter of theirs alone.

    Args:
        network: With computed weights baked in.
    """
    owners = Counter(id(p) for module in network.modules() for p in module._parameters.values() if p is not None)
    layers: dict[str, Prunable] = {}
    left_out: dict[str, str] = {}
    for name, layer in prunable_layers(network).items():
        weight = layer._parameters.get("weight")
        if weight is None:
            left_out[name] = "its weight is computed"
        elif owners[id(weight)] > 1:
            left_out[name] = "its weight is shared"
        elif isinstance(_parent(network, name), nn.MultiheadAttention):
            left_out[name] = "a projection of packed attention"
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
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return "an embedding"
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return "a recurrent cell"
    if isinstance(module, nn.MultiheadAttention):
        return "packed attention"
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return "a transposed convolution"
    return "bare parameters"

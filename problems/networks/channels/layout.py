"""Layouts of cut networks: which entries of tensors are kept, and the attributes of modules that follow from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from problems.networks.channels.loading import FORMAT, KEY, VERSION
from problems.networks.channels.tracing import ATTRIBUTE, HEADS, WIDTH

Kept = Mapping[str, Mapping[int, np.ndarray]]
"""For each tensor that is cut: the kept entries of each axis that is."""


def layout_of(network: nn.Module, kept: Kept) -> dict[str, Any]:
    """What `loading.apply_layout` makes of a network of the original widths.

    Args:
        network: Of the original widths.
        kept: By names of its tensors.
    """
    own = {name for name, _ in (*network.named_parameters(), *network.named_buffers())}
    whole = {name: list(t.shape) for name, t in network.state_dict().items() if isinstance(t, Tensor)}
    modules = {}
    for name, module in network.named_modules():
        attributes = attributes_of(name, module, kept)
        for key in (key for key in kept if key.startswith(name + ATTRIBUTE)):
            attribute, _, at = key.removeprefix(name + ATTRIBUTE).partition(":")
            value: Any = len(kept[key][0])
            if at:
                sizes = attributes.get(attribute, getattr(module, attribute))
                value = [value if k == int(at) else size for k, size in enumerate(sizes)]
            attributes[attribute] = value
        if attributes:
            modules[name] = attributes
    tensors = {
        name: {str(axis): places.tolist() for axis, places in axes.items()}
        for name, axes in kept.items()
        if name in own
    }
    return {"format": FORMAT, "version": VERSION, "whole": whole, "modules": modules, "tensors": tensors}


def metadata_of(layout: Mapping[str, Any]) -> dict[str, str]:
    """A layout as a safetensors file's metadata."""
    return {KEY: json.dumps(layout, separators=(",", ":"))}


def attributes_of(name: str, module: nn.Module, kept: Kept) -> dict[str, Any]:
    """Attributes of a module that change where entries of its tensors go, by their new values."""
    for kinds, rule in _RULES:
        if isinstance(module, kinds):
            return {
                key: value for key, value in rule(name, module, kept).items() if getattr(module, key, None) != value
            }
    return {}


def _size(name: str, tensor: Tensor | None, axis: int, kept: Kept, *, default: int) -> int:
    """Entries of an axis that are left."""
    if axis in kept.get(name, {}):
        return len(kept[name][axis])
    return default if tensor is None else tensor.shape[axis]


def _linear(name: str, layer: Any, kept: Kept) -> dict[str, Any]:
    sizes = (("out_features", 0), ("in_features", 1))
    return {key: len(kept[f"{name}.weight"][axis]) for key, axis in sizes if axis in kept.get(f"{name}.weight", {})}


def _convolution(name: str, layer: Any, kept: Kept) -> dict[str, Any]:
    rows = _size(f"{name}.weight", layer.weight, 0, kept, default=0)
    columns = _size(f"{name}.weight", layer.weight, 1, kept, default=0)
    if layer.transposed:
        if layer.groups > 1 and layer.in_channels == layer.groups:
            return {"in_channels": rows, "out_channels": rows * columns, "groups": rows}
        return {"in_channels": rows, "out_channels": columns * layer.groups}
    if layer.groups > 1 and layer.in_channels == layer.groups:
        left = kept.get(f"{name}.weight", {}).get(0, np.arange(layer.out_channels))
        groups = len(np.unique(left // (layer.out_channels // layer.groups)))
        return {"in_channels": groups, "out_channels": rows, "groups": groups}
    return {"in_channels": columns * layer.groups, "out_channels": rows}


def _norm(name: str, layer: Any, kept: Kept) -> dict[str, Any]:
    for tensor in ("weight", "running_mean"):
        if getattr(layer, tensor, None) is not None:
            return {"num_features": _size(f"{name}.{tensor}", getattr(layer, tensor), 0, kept, default=0)}
    return {"num_features": _size(name + WIDTH, None, 0, kept, default=layer.num_features)}


def _group_norm(name: str, layer: Any, kept: Kept) -> dict[str, Any]:
    n = layer.num_channels
    weight = f"{name}.weight" if layer.weight is not None else name + WIDTH
    left = _size(weight, None, 0, kept, default=n)
    return {"num_channels": left, "num_groups": left if layer.num_groups == n else layer.num_groups}


def _layer_norm(name: str, layer: Any, kept: Kept) -> dict[str, Any]:
    shape = layer.normalized_shape
    weight = f"{name}.weight" if layer.weight is not None else name + WIDTH
    return {"normalized_shape": tuple(_size(weight, None, a, kept, default=n) for a, n in enumerate(shape))}


def _slopes(name: str, layer: Any, kept: Kept) -> dict[str, Any]:
    return {"num_parameters": _size(f"{name}.weight", layer.weight, 0, kept, default=0)}


def _embedding(name: str, layer: Any, kept: Kept) -> dict[str, Any]:
    return {"embedding_dim": _size(f"{name}.weight", layer.weight, 1, kept, default=0)}


def _recurrent(name: str, layer: Any, kept: Kept) -> dict[str, Any]:
    first = "weight_ih_l0" if isinstance(layer, nn.RNNBase) else "weight_ih"
    return {"input_size": _size(f"{name}.{first}", getattr(layer, first), 1, kept, default=0)}


def _attention(name: str, layer: Any, kept: Kept) -> dict[str, Any]:
    own = [key for key in kept if key.rpartition(".")[0] in (name, f"{name}.out_proj") or key == name + HEADS]
    if not own:
        return {}
    heads = kept.get(name + HEADS, {}).get(0, np.arange(layer.num_heads)).tolist()
    packed = layer.in_proj_weight is not None
    weights = ["in_proj_weight"] * 3 if packed else ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
    widths = [_size(f"{name}.{weight}", getattr(layer, weight), 1, kept, default=0) for weight in weights]
    return {
        "num_heads": len(heads),
        "embed_dim": widths[0],
        "kdim": widths[1],
        "vdim": widths[2],
        "heads": heads,
        "n_heads_whole": layer.num_heads,
    }


_RULES: tuple[tuple[Any, Any], ...] = (
    (nn.Linear, _linear),
    (nn.modules.conv._ConvNd, _convolution),
    ((nn.modules.batchnorm._NormBase,), _norm),
    (nn.GroupNorm, _group_norm),
    ((nn.LayerNorm, nn.RMSNorm), _layer_norm),
    (nn.PReLU, _slopes),
    ((nn.Embedding, nn.EmbeddingBag), _embedding),
    ((nn.RNNBase, nn.RNNCellBase), _recurrent),
    (nn.MultiheadAttention, _attention),
)

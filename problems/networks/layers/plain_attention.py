"""`nn.MultiheadAttention` with four linear layers in place of its packed projections: the same answers, and back."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from problems.networks.layers.shared_parameters import shared_parameters
from problems.networks.layers.sparse import SUFFIX

PROJECTIONS = ("q", "k", "v")
"""Names of the linear layers of queries, keys and values; that of the output stays `out_proj`."""

_PACKED = ("in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_TOLERANCE = 1e-5


class PlainAttention(nn.MultiheadAttention):
    """Multi-head attention of the linear layers `q`, `k`, `v` and `out_proj`, with torch's masks and options.

    It is made of an `nn.MultiheadAttention` by `unpack`. torch's own fast ways, which read packed weights past the
    layers, are not taken: they ask for `in_proj_bias`, which this has not.

    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1 and sec. 3.2.2.
    """

    q: nn.Linear
    k: nn.Linear
    v: nn.Linear

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `nn.MultiheadAttention`."""
        projected = (self.q(query), self.k(key), self.v(value))
        mixed = _attended(
            *projected,
            self.bias_k,
            self.bias_v,
            key_padding_mask,
            attn_mask,
            n_heads=self.num_heads,
            batch_first=self.batch_first,
            has_zero=self.add_zero_attn,
            dropout=self.dropout if self.training else 0.0,
            need_weights=need_weights,
            is_averaged=average_attn_weights,
            is_causal=is_causal,
        )
        return self.out_proj(mixed[0]), mixed[1]


def _attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    padding: Tensor | None,
    mask: Tensor | None,
    *,
    n_heads: int,
    batch_first: bool,
    has_zero: bool,
    dropout: float,
    need_weights: bool,
    is_averaged: bool,
    is_causal: bool,
) -> tuple[Tensor, Tensor | None]:
    """What the heads mix of projected values, in the layout of the query, and their weights where they are needed."""
    if is_causal and mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    is_batched = query.dim() == 3
    # batches first inside: (n, tokens, width)
    if not is_batched:
        query, key, value = (x.unsqueeze(0) for x in (query, key, value))
        padding = None if padding is None else padding.unsqueeze(0)
    elif not batch_first:
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    if bias_k is not None and bias_v is not None:
        key = torch.cat([key, bias_k.expand(len(key), 1, -1)], dim=1)
        value = torch.cat([value, bias_v.expand(len(value), 1, -1)], dim=1)
    if has_zero:
        key, value = (torch.cat([x, x.new_zeros(len(x), 1, x.shape[2])], dim=1) for x in (key, value))
    query, key, value = (x.unflatten(2, (n_heads, -1)).transpose(1, 2) for x in (query, key, value))
    # as in torch, the hint stands for the mask where nothing else is masked
    is_hint = is_causal and padding is None and not need_weights
    total = None if is_hint else _merged(mask, padding, query, key.shape[2])
    weights = None
    if need_weights:
        scores = (query * math.sqrt(1 / query.shape[3])) @ key.transpose(2, 3)
        weights = torch.softmax(scores if total is None else scores + total, dim=3)
        weights = functional.dropout(weights, dropout) if dropout else weights
        mixed = weights @ value
        weights = weights.mean(dim=1) if is_averaged else weights
        weights = weights if is_batched else weights.squeeze(0)
    else:
        mixed = functional.scaled_dot_product_attention(query, key, value, total, dropout, is_hint)
    mixed = mixed.transpose(1, 2).flatten(2)
    if not is_batched:
        return mixed.squeeze(0), weights
    return (mixed if batch_first else mixed.transpose(0, 1)), weights


fx.wrap("_attended")  # one step of a traced graph: it branches on shapes


def _merged(mask: Tensor | None, padding: Tensor | None, query: Tensor, n_keys: int) -> Tensor | None:
    """Both masks as numbers that are added to scores (n, heads, tokens, keys); keys added behind are never masked."""
    total = None
    if mask is not None:
        mask = _as_numbers(mask, query)
        total = mask[None, None] if mask.dim() == 2 else mask.view(len(query), -1, *mask.shape[1:])
        total = functional.pad(total, (0, n_keys - total.shape[3]))
    if padding is not None:
        padding = _as_numbers(padding, query)[:, None, None]
        padding = functional.pad(padding, (0, n_keys - padding.shape[3]))
        total = padding if total is None else total + padding
    return total


def _as_numbers(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, -math.inf)


# -- made and unmade --------------------------------------------------------------------------


def plain_attention(network: nn.Module, answers: Callable[[], Tensor]) -> list[str]:
    """Make a network's packed attention of linear layers, in place, where its answers stay the same.

    Args:
        network: In evaluation mode; changed.
        answers: The network's answers to a few examples, which are compared before and behind.

    Returns:
        Names of the modules that were changed; where answers would differ, or a tensor is shared, one stays packed.
    """
    shared = shared_parameters(network)
    found = {name: module for name, module in network.named_modules() if _can_be_plain(module, shared)}
    if not found:
        return []
    before = answers()
    if _all_the_same(network, list(found.values()), answers, before):
        return list(found)
    return [name for name, module in found.items() if _all_the_same(network, [module], answers, before)]


def _all_the_same(
    network: nn.Module, modules: list[nn.MultiheadAttention], answers: Callable[[], Tensor], before: Tensor
) -> bool:
    """Whether answers stay what they were with these modules unpacked; else they are packed again."""
    kinds = [module.__class__ for module in modules]
    states = [(dict(module._parameters), dict(module._modules)) for module in modules]
    encoders = [(e, e.use_nested_tensor) for e in network.modules() if isinstance(e, nn.TransformerEncoder)]
    for module in modules:
        unpack(module)
    _without_nested_tensors(network)
    try:
        after = answers()
        if after.shape == before.shape:
            scale = max(1.0, float(before.double().abs().nan_to_num(posinf=0.0).max()))
            if torch.allclose(before.double(), after.double(), rtol=0, atol=_TOLERANCE * scale, equal_nan=True):
                return True
    except Exception:  # a user's forward may read the packed weights itself, and raise anything
        pass
    for module, kind, (parameters, children) in zip(modules, kinds, states, strict=True):
        module.__class__ = kind
        module._parameters, module._modules = parameters, children
    for encoder, is_nested in encoders:
        encoder.use_nested_tensor = is_nested
    return False


def unpack_named(network: nn.Module, names: Iterable[str]) -> None:
    """Unpack, in place, attention that a saved network has as linear layers: one of the names is NAME.q.weight, say."""
    keys = {part.rpartition(".q.")[0] for part in names if ".q." in f".{part}"}
    for name, module in list(network.named_modules()):
        if is_packed(module) and name in keys:
            unpack(module)
    _without_nested_tensors(network)


def _without_nested_tensors(network: nn.Module) -> None:
    """Let torch's encoders of unpacked attention give up their nested tensors, which are for packed layers."""
    for encoder in network.modules():
        if isinstance(encoder, nn.TransformerEncoder) and any(
            isinstance(part, PlainAttention) for part in encoder.modules()
        ):
            encoder.use_nested_tensor = False


def _can_be_plain(module: nn.Module, shared: set[int]) -> bool:
    if not isinstance(module, nn.MultiheadAttention) or isinstance(module, (PlainAttention, torch.jit.ScriptModule)):
        return False
    own = [p for p in module._parameters.values() if p is not None]
    is_whole = module._parameters.get("in_proj_weight") is not None or all(
        module._parameters.get(f"{name}_proj_weight") is not None for name in PROJECTIONS
    )
    has_names = any(hasattr(module, name) for name in PROJECTIONS)
    return is_whole and not has_names and not any(id(p) in shared for p in own)


def unpack(module: nn.MultiheadAttention) -> None:
    """Make an attention with packed projections a `PlainAttention` of the same tensors, in place.

    A class that derives from `nn.MultiheadAttention` keeps its own methods.
    """
    own = module._parameters
    width = module.embed_dim
    packed, bias = own["in_proj_weight"], own["in_proj_bias"]
    for k, name in enumerate(PROJECTIONS):
        rows = slice(k * width, (k + 1) * width)
        separate = own[f"{name}_proj_weight"] if packed is None else packed[rows]
        assert separate is not None
        layer = nn.Linear(1, 1, bias=bias is not None)
        layer.out_features, layer.in_features = separate.shape
        layer.weight = nn.Parameter(separate.detach().clone(), requires_grad=separate.requires_grad)
        if bias is not None:
            layer.bias = nn.Parameter(bias[rows].detach().clone(), requires_grad=bias.requires_grad)
        layer.train(module.training)
        setattr(module, name, layer)
    kind = type(module)
    module.__class__ = (
        PlainAttention if kind is nn.MultiheadAttention else type(f"Plain{kind.__name__}", (kind, PlainAttention), {})
    )
    module._parameters = {name: None if name in _PACKED else p for name, p in own.items()}


def with_packed_attention(network: nn.Module) -> nn.Module:
    """A copy of a network whose `PlainAttention` is `nn.MultiheadAttention` again, where its layers' shapes still fit.

    A projection that was decomposed into two layers, or lost outputs, does not fit: its attention stays as it is.
    """
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, PlainAttention) and _fits(module):
            _pack(module)
    return network


def _fits(module: PlainAttention) -> bool:
    layers = [getattr(module, name) for name in PROJECTIONS]
    if not all(isinstance(layer, nn.Linear) for layer in (*layers, module.out_proj)):
        return False
    widths = [(module.embed_dim, width) for width in (module.embed_dim, module.kdim, module.vdim)]
    return [tuple(layer.weight.shape) for layer in layers] == widths


def _pack(module: PlainAttention) -> None:
    layers = [getattr(module, name) for name in PROJECTIONS]
    for name in PROJECTIONS:
        delattr(module, name)
    kind = type(module)
    module.__class__ = nn.MultiheadAttention if kind is PlainAttention else kind.__mro__[1]
    weights = [layer.weight.detach() for layer in layers]
    if module._qkv_same_embed_dim:
        module.in_proj_weight = nn.Parameter(torch.cat(weights), requires_grad=False)
    else:
        for name, weight in zip(PROJECTIONS, weights, strict=True):
            setattr(module, f"{name}_proj_weight", nn.Parameter(weight.clone(), requires_grad=False))
    if layers[0].bias is not None:
        module.in_proj_bias = nn.Parameter(torch.cat([layer.bias.detach() for layer in layers]), requires_grad=False)


def packed_with_masks(
    network: nn.Module, state: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """A network's state and the masks of its pruned weights, `NAME_mask`, under the names of the user's own network.

    Args:
        network: With `PlainAttention`, whose q, k and v are linear layers.
        state: Its tensors.
        masks: Bool, by the names of some of them.
    """
    masks = dict(masks)
    for name, _ in _plain_modules(network):
        weights = [f"{name}{part}.weight" for part in PROJECTIONS]
        if any(weight in masks for weight in weights):  # what is not pruned of a packed weight is kept
            masks |= {weight: np.ones_like(state[weight], dtype=bool) for weight in weights if weight not in masks}
    named = {name + SUFFIX: mask for name, mask in packed_state(network, masks).items()}
    return packed_state(network, state) | named


def packed_state(network: nn.Module, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors by the names of the user's own network: what stands for packed projections is one tensor again.

    Args:
        network: With `PlainAttention`.
        tensors: By names of its state; weights or biases of q, k and v are packed where all three are there.
    """
    packed = dict(tensors)
    for name, module in _plain_modules(network):
        for kind in ("weight", "bias"):
            keys = [f"{name}{part}.{kind}" for part in PROJECTIONS]
            if not all(key in packed for key in keys):
                continue
            parts = [packed.pop(key) for key in keys]
            if kind == "bias" or module._qkv_same_embed_dim:
                packed[f"{name}in_proj_{kind}"] = np.concatenate(parts)
            else:
                packed |= {f"{name}{p}_proj_weight": part for p, part in zip(PROJECTIONS, parts, strict=True)}
    return packed


def _plain_modules(network: nn.Module) -> Iterator[tuple[str, PlainAttention]]:
    """The attention of linear layers under all its names, each with a dot behind it."""
    for name, module in network.named_modules(remove_duplicate=False):
        if isinstance(module, PlainAttention):
            yield f"{name}." if name else "", module


def is_packed(module: Any) -> bool:
    """Whether a module is torch's attention with its packed projections."""
    return isinstance(module, nn.MultiheadAttention) and not isinstance(module, PlainAttention)

"""Load a network whose channels were cut out: the original architecture and a file make the smaller network.

    network = load_cut(MyNetwork(), "solution.safetensors")

This file needs torch and safetensors alone, and may be copied into any project.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

FORMAT = "cut-channels"
VERSION = 1
KEY = "layout"
"""Under which a file's metadata holds the layout, as JSON."""


def load_cut(network: nn.Module, file: str | os.PathLike[str]) -> nn.Module:
    """The smaller network of a file, in evaluation mode.

    Args:
        network: Of the original architecture and widths, whatever its weights; left as it is.
        file: A safetensors file with a layout in its metadata.

    Raises:
        ValueError: The file is damaged or holds no layout, or the network is not the one that it was cut from.
    """
    layout, tensors = _read(os.fspath(file))
    network = unwrapped(network)
    check_network(network, layout["whole"])
    try:
        cut = apply_layout(_copied(network), layout)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{file}: the parts of its layout do not fit the network ({reason})") from None
    state = cut.state_dict()
    for name, tensor in tensors.items():
        if not state[name].ndim and tensor.numel() == 1:
            tensors[name] = tensor.reshape(())  # some writers give single numbers an axis
        elif state[name].shape != tensor.shape:
            raise ValueError(f"{file}: tensor {name!r} is not of the shape that the layout says; the file is damaged")
    for owner, leaf, own in _owned(cut):
        given = tensors.get(f"{owner}.{leaf}" if owner else leaf)
        if given is not None and given.dtype != own.dtype:
            own.data = own.data.to(given.dtype)
    other = {name: part for name, part in state.items() if not isinstance(part, Tensor)}
    cut.load_state_dict({**tensors, **other})
    cut.eval()  # `eval` of a user's may return nothing
    return cut


def _copied(network: nn.Module) -> nn.Module:
    """A copy; what earlier passes have left in attributes is detached from them."""
    left = [t for module in network.modules() for t in _tensors_in(vars(module)) if not t.is_leaf]
    return copy.deepcopy(network, {id(t): t.detach().clone() for t in left})


def _tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = list(value.values()) if isinstance(value, dict) else value
    return [t for part in parts for t in _tensors_in(part)] if isinstance(parts, (list, tuple, set)) else []


def _read(file: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The layout and the tensors of a file."""
    try:
        with safe_open(file, framework="pt") as opened:
            layout = read_layout(opened.metadata(), file)
            names = set(opened.keys())
            missing = [name for name in layout["whole"] if name not in names]
            if missing:
                raise ValueError(f"{file} lacks tensor {missing[0]!r} of the network; the file is damaged")
            return layout, {name: opened.get_tensor(name) for name in layout["whole"]}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} cannot be read as safetensors: {' '.join(str(error).split())}") from None


def read_layout(metadata: Mapping[str, str] | None, file: str) -> dict[str, Any]:
    """The layout in a file's metadata.

    Raises:
        ValueError: There is none, or it is another's.
    """
    text = (metadata or {}).get(KEY)
    if text is None:
        raise ValueError(f"{file} holds no layout of a cut network in its metadata; load it as a plain state")
    try:
        layout = json.loads(text)
        if layout["format"] != FORMAT:
            raise ValueError(f"format {layout['format']!r}")
        if layout["version"] != VERSION:
            raise ValueError(f"version {layout['version']!r}, and {VERSION} is expected")
        whole, modules, tensors = layout["whole"], layout["modules"], layout["tensors"]
        if not all(isinstance(part, dict) for part in (whole, modules, tensors)):
            raise ValueError("parts that are no objects")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{file}: its metadata is no layout of a cut network ({reason})") from None
    return layout


def unwrapped(network: nn.Module) -> nn.Module:
    """A network out of wrappers of parallel or compiled running."""
    while True:
        inner = getattr(network, "_orig_mod", None)
        if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = network.module
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def check_network(network: nn.Module, whole: Mapping[str, list[int]]) -> None:
    """Refuse a network whose tensors are not those of the one that was cut.

    Raises:
        ValueError: With the first names and shapes that differ.
    """
    own = {name: list(t.shape) for name, t in network.state_dict().items() if isinstance(t, Tensor)}
    other = [f"has no {name!r} {shape}" for name, shape in whole.items() if name not in own]
    other += [f"has {name!r} {shape}" for name, shape in own.items() if name not in whole]
    other += [
        f"has {name!r} {own[name]} instead of {shape}"
        for name, shape in whole.items()
        if name in own and own[name] != list(shape)
    ]
    if other:
        more = f", and {len(other) - 3} more" if len(other) > 3 else ""
        raise ValueError(f"this is not the network that was cut: it {'; '.join(other[:3])}{more}")


def apply_layout(network: nn.Module, layout: Mapping[str, Any]) -> nn.Module:
    """Make a network's modules and tensors smaller, in place; the smaller tensors hold the kept entries.

    Args:
        network: Of the original widths; changed and returned.
        layout: As `load_cut` reads it: attributes by module, kept entries of axes by tensor.
    """
    _replace_tensors(network, layout["tensors"])
    for name, attributes in layout["modules"].items():
        module = network.get_submodule(name)
        for key, value in attributes.items():
            before = getattr(module, key, None)
            setattr(module, key, tuple(value) if isinstance(before, tuple) else value)
        if isinstance(module, nn.MultiheadAttention):
            _change_class(module)
    if any(isinstance(module, CutAttention) for module in network.modules()):
        for module in network.modules():
            if isinstance(module, nn.TransformerEncoder):
                module.enable_nested_tensor = module.use_nested_tensor = False
    return network


def _replace_tensors(network: nn.Module, entries: Mapping[str, Mapping[str, list[int]]]) -> None:
    """Cut parameters and buffers; one that several modules hold stays one."""
    new: dict[int, Tensor] = {}
    for owner, leaf, tensor in list(_owned(network)):
        kept = entries.get(f"{owner}.{leaf}" if owner else leaf)
        if kept is not None and id(tensor) not in new:
            new[id(tensor)] = _cut(tensor, kept)
    for module in network.modules():
        for own in (module._parameters, module._buffers):
            for leaf, tensor in own.items():
                if tensor is not None and id(tensor) in new:
                    own[leaf] = new[id(tensor)]  # type: ignore[assignment]  # of the same kind
        if isinstance(module, nn.RNNBase):
            module._flat_weights = [getattr(module, leaf) for leaf in module._flat_weights_names]


def _owned(network: nn.Module) -> Any:
    for owner, module in network.named_modules():
        for tensors in (module._parameters, module._buffers):
            for leaf, tensor in tensors.items():
                if tensor is not None:
                    yield owner, leaf, tensor


def _cut(tensor: Tensor, kept: Mapping[str, list[int]]) -> Tensor:
    values = tensor.detach()
    for axis, places in kept.items():
        values = values.index_select(int(axis), torch.tensor(places, dtype=torch.int64, device=values.device))
    values = values.contiguous()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(values, requires_grad=tensor.requires_grad)
    return values


class CutAttention(nn.MultiheadAttention):
    """Attention of some of its heads: the projections are narrower inside than the inputs and outputs.

    Attributes:
        heads: Numbers of the heads that are left.
        n_heads_whole: Heads of the original, for attention masks of one layer a head.
    """

    heads: list[int]
    n_heads_whole: int

    def forward(  # torch's own signature
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
        """As `nn.MultiheadAttention.forward`."""
        is_batched = query.dim() == 3
        if not is_batched:
            query, key, value = (x.unsqueeze(0) for x in (query, key, value))
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = self._projected(query, key, value)
        mask = self._mask(q, k, attn_mask, key_padding_mask, is_batched)
        scores = q @ k.mT * self.head_dim**-0.5
        weights = functional.softmax(scores if mask is None else scores + mask, dim=-1)
        mixed = functional.dropout(weights, self.dropout, self.training) @ v
        out = functional.linear(mixed.transpose(1, 2).flatten(2), self.out_proj.weight, self.out_proj.bias)
        if average_attn_weights:
            weights = weights.mean(dim=1)
        if not is_batched:
            out, weights = out.squeeze(0), weights.squeeze(0)
        elif not self.batch_first:
            out = out.transpose(0, 1)
        return out, weights if need_weights else None

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(n, heads, tokens, head_dim) of each."""
        if self.in_proj_weight is not None:
            weights = self.in_proj_weight.chunk(3)
        else:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (functional.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
        if self.bias_k is not None and self.bias_v is not None:
            k = torch.cat([k, self.bias_k.expand(len(k), 1, -1)], dim=1)
            v = torch.cat([v, self.bias_v.expand(len(v), 1, -1)], dim=1)
        if self.add_zero_attn:
            k, v = (functional.pad(x, (0, 0, 0, 1)) for x in (k, v))
        q, k, v = (x.unflatten(2, (len(self.heads), self.head_dim)).transpose(1, 2) for x in (q, k, v))
        return q, k, v

    def _mask(
        self, q: Tensor, k: Tensor, attn_mask: Tensor | None, padding: Tensor | None, is_batched: bool
    ) -> Tensor | None:
        """What is added to scores, (n or 1, heads or 1, queries, keys)."""
        total = None
        more = (self.bias_k is not None) + bool(self.add_zero_attn)
        if attn_mask is not None:
            total = functional.pad(_as_numbers(attn_mask, q), (0, more))
            if total.dim() == 3:
                total = total.unflatten(0, (-1, self.n_heads_whole))[:, self.heads]
        if padding is not None:
            hidden = functional.pad(_as_numbers(padding if is_batched else padding.unsqueeze(0), q), (0, more))
            total = hidden[:, None, None] if total is None else total + hidden[:, None, None]
        return total


def _as_numbers(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, float("-inf"))
    return mask.to(like.dtype)


def _change_class(module: nn.MultiheadAttention) -> None:
    """Let attention, also of a class that is derived from torch's, compute with narrower projections."""
    own = type(module)
    if not issubclass(own, CutAttention):
        bases = (own, CutAttention)
        module.__class__ = CutAttention if own is nn.MultiheadAttention else type(f"Cut{own.__name__}", bases, {})
    module._qkv_same_embed_dim = False  # else torch's fast ways through whole encoder layers are taken

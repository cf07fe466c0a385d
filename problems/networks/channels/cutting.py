"""Cutting channels out of a network, and the network of full width that must give the same answers."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from problems.networks.channels.groups import Group
from problems.networks.channels.layout import Kept, layout_of
from problems.networks.channels.loading import apply_layout
from problems.networks.channels.tracing import WIDTH


def kept_entries(groups: Sequence[Group], masks: Sequence[np.ndarray]) -> dict[str, dict[int, np.ndarray]]:
    """Entries that are left of each axis that loses some.

    Args:
        groups: Of a network.
        masks: (size,) bool for each group.
    """
    stays: dict[str, dict[int, np.ndarray]] = {}
    for group, mask in zip(groups, masks, strict=True):
        if mask.all():
            continue
        for name, axes in group.places.items():
            for axis, along in axes.items():
                goes = np.append(~mask, False)[along]
                own = stays.setdefault(name, {})
                own[axis] = own.get(axis, np.ones(len(along), dtype=bool)) & ~goes
    return {
        name: {axis: np.flatnonzero(stay) for axis, stay in axes.items() if not stay.all()}
        for name, axes in stays.items()
    }


def cut(network: nn.Module, kept: Kept) -> nn.Module:
    """The smaller network that is left of the kept entries, a copy in evaluation mode.

    Args:
        network: Left as it is.
        kept: Of its tensors.
    """
    smaller = copy.deepcopy(network)
    apply_layout(smaller, layout_of(network, kept))
    smaller.eval()  # `eval` of a user's may return nothing
    return smaller


def masked(network: nn.Module, kept: Kept) -> nn.Module:
    """A copy of full width in which all that belongs to dropped channels is zero.

    What makes them is zero, and what takes them in, so that it does not matter what activations make of zero.

    Args:
        network: Left as it is.
        kept: Of its tensors.
    """
    whole = copy.deepcopy(network)
    tensors = dict([*whole.named_parameters(), *whole.named_buffers()])
    with torch.no_grad():
        for name, axes in kept.items():
            if (tensor := tensors.get(name)) is not None:
                for axis, places in axes.items():
                    gone = np.setdiff1d(np.arange(tensor.shape[axis]), places)
                    tensor.index_fill_(axis, torch.from_numpy(gone).to(tensor.device), 0)
    return whole


@contextmanager
def statistics_of_kept(network: nn.Module, kept: Kept) -> Iterator[None]:
    """While open, norms over several channels take the statistics of the kept ones alone.

    Args:
        network: A masked one.
        kept: What it keeps.
    """
    handles = []
    for name, module in network.named_modules():
        if not isinstance(module, (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)):
            continue
        axes = kept.get(f"{name}.weight", kept.get(name + WIDTH, {}))
        if axes:
            handles.append(module.register_forward_hook(_of_kept(axes), with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _of_kept(axes: Mapping[int, np.ndarray]) -> Any:
    def replace(module: Any, arguments: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> Tensor:
        x = next(iter((*arguments, *named.values())))
        is_grouped = isinstance(module, nn.GroupNorm)
        first = 1 if is_grouped else x.ndim - len(module.normalized_shape)
        weight, bias = module.weight, getattr(module, "bias", None)
        at = [np.arange(n) for n in x.shape]
        part = x
        for axis, places in axes.items():
            ids = torch.from_numpy(places).to(x.device)
            part = part.index_select(first + axis, ids)
            weight = None if weight is None else weight.index_select(axis, ids)
            bias = None if bias is None else bias.index_select(axis, ids)
            at[first + axis] = places
        if is_grouped:
            n_groups = module.num_groups if module.num_groups < module.num_channels else part.shape[1]
            normed = functional.group_norm(part, n_groups, weight, bias, module.eps)
        elif isinstance(module, nn.RMSNorm):
            normed = functional.rms_norm(part, part.shape[first:], weight, module.eps)
        else:
            normed = functional.layer_norm(part, part.shape[first:], weight, bias, module.eps)
        result = torch.zeros_like(output)
        result[np.ix_(*at)] = normed
        return result

    return replace

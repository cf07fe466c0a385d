"""Parameters that several layers own, or that lie in each other's memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def shared_parameters(network: nn.Module) -> set[int]:
    """Ids of tensors that several modules own, or that lie where other tensors of the network lie."""
    owned = [
        tensor
        for module in network.modules()
        for tensors in (module._parameters, module._buffers)
        for tensor in tensors.values()
        if tensor is not None and tensor.layout == torch.strided and tensor.numel()
    ]
    shared = set()
    end, last = 0, None
    for tensor in sorted(owned, key=Tensor.data_ptr):
        if last is not None and tensor.data_ptr() < end:
            shared |= {id(last), id(tensor)}
        extent = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        if last is None or tensor.data_ptr() + extent * tensor.element_size() > end:
            end, last = tensor.data_ptr() + extent * tensor.element_size(), tensor
    return shared

"""Initial weights of convolutional networks, drawn from a seed of their own."""

from __future__ import annotations

import math

import torch
from torch import nn


def draw_weights(model: nn.Module, *, seed: int) -> None:
    """Fill every convolution and linear layer in place: normal with variance 2 / fan_in, biases zero.

    Batch norms are left as they are made: scale 1, shift 0. torch's global generator is neither read nor moved.

    Source: He et al. 2015, arXiv:1502.01852, eq. 10.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0.0, math.sqrt(2 / fan_in), generator=generator)
                if module.bias is not None:
                    module.bias.zero_()

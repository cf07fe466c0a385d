"""Snowfall: the small convolutional network whose dense layer the published threshold search prunes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_KERNEL = 3
_POOL = 2
# The least side at which two valid 3 x 3 convolutions, each halved by a pool, leave one pixel or more.
_SMALLEST_VALID = 10


class Snowfall(nn.Module):
    """Convolution 3@3x3, swish, average pool 2, convolution 6@3x3, swish, average pool 2, flatten, dense.

    1,708 parameters for 28 x 28 images of one channel and ten classes, 1,500 of them weights of the
    dense layer. The convolutions are valid, as published; images of fewer than ten pixels a side would
    vanish in them, so there both are padded by one pixel: the 8 x 8 digits give 2 x 2 x 6 = 24 features
    and 240 dense weights.

    Weights are drawn uniformly within sqrt(6 / (fan_in + fan_out)), biases start at zero, from a seed of
    their own: torch's global generator is neither read nor moved.

    Args:
        input_shape: (channels, height, width) of an image.
        n_classes: Outputs.
        seed: Of the initial weights.

    Source of the initial weights: Glorot and Bengio 2010, eq. 16.
    """

    def __init__(self, input_shape: Sequence[int], n_classes: int, *, seed: int = 0) -> None:
        super().__init__()
        channels, height, width = (int(n) for n in input_shape)
        padding = 1 if min(height, width) < _SMALLEST_VALID else 0
        sides = [height, width]
        for _ in range(2):
            sides = [(side + 2 * padding - _KERNEL + 1) // _POOL for side in sides]
        if min(sides) < 1:
            raise ValueError(f"input_shape must be at least 4 x 4 pixels for this network, got {tuple(input_shape)}.")
        self.conv_1 = nn.utils.skip_init(nn.Conv2d, channels, 3, _KERNEL, padding=padding)
        self.conv_2 = nn.utils.skip_init(nn.Conv2d, 3, 6, _KERNEL, padding=padding)
        self.swish = nn.SiLU()
        self.pool = nn.AvgPool2d(_POOL)
        self.dense = nn.utils.skip_init(nn.Linear, 6 * sides[0] * sides[1], n_classes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.conv_1, self.conv_2, self.dense):
                field = math.prod(layer.weight.shape[2:])
                bound = math.sqrt(6 / (field * (layer.weight.shape[0] + layer.weight.shape[1])))
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, n_classes) of images (n, channels, height, width)."""
        x = self.pool(self.swish(self.conv_1(x)))
        x = self.pool(self.swish(self.conv_2(x)))
        return self.dense(x.flatten(1))

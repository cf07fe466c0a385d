"""What a network does with images before its first layer: standardised, padded, channels repeated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from problems.data.data import Dataset

PUBLISHED_STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "fashion-mnist": ((0.2860,), (0.3530,)),
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
"""Mean and standard deviation of each channel over the whole training set, as everyone rounds them."""

_SMALL, _USUAL = 16, 32


class Prepare(nn.Module):
    """Images (n, c, h, w) in [0, 1] to (n, channels, size, size): standardised first, then padded with zeros.

    The statistics are buffers, so that a checkpoint holds them.

    Args:
        mean: One value a channel of the images.
        std: Likewise, above 0.
        size: Side that images are padded to, evenly; larger images stay as they are.
        channels: Channels that images of one channel are repeated to; None leaves them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, size: int, channels: int | None = None) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(s > 0 for s in std):
            raise ValueError(f"mean and std must have one value a channel and std above 0, got {mean} and {std}.")
        self.size, self.channels = size, channels
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, size, size) float32."""
        x = (x - self.mean) / self.std
        gap = [max(0, self.size - side) for side in (x.shape[3], x.shape[2])]
        x = functional.pad(x, (gap[0] // 2, gap[0] - gap[0] // 2, gap[1] // 2, gap[1] - gap[1] // 2))
        if self.channels is not None and x.shape[1] == 1:
            x = x.expand(-1, self.channels, -1, -1)
        return x


def padded_size(input_shape: Sequence[int]) -> int:
    """Side of the padded images: 32 for the usual sets, 16 for images of at most 16 pixels, else their own."""
    side = max(input_shape[1:])
    return _SMALL if side <= _SMALL else max(side, _USUAL)


def channel_statistics(dataset: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel: the published values of known sets, else of the train split."""
    known = PUBLISHED_STATISTICS.get(dataset.name)
    if known is not None:
        return known
    images = dataset.train.images
    mean, std = images.mean(dim=(0, 2, 3)), images.std(dim=(0, 2, 3))
    return tuple(round(float(m), 4) for m in mean), tuple(max(round(float(s), 4), 1e-4) for s in std)

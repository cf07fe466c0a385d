"""Augmentation of training images: random shifts and mirror images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_FARTHEST = 4


def shifted_and_mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every image moved by -4 to 4 pixels each way, black behind it, and half of them mirrored.

    Args:
        images: (n, c, h, w).
        generator: What is drawn comes from it.
    """
    n, _, height, width = images.shape
    room = functional.pad(images, (_FARTHEST,) * 4)
    down, right = torch.randint(0, 2 * _FARTHEST + 1, (2, n), generator=generator)
    rows = down[:, None] + torch.arange(height)
    columns = right[:, None] + torch.arange(width)
    is_mirrored = torch.rand(n, generator=generator) < 0.5
    columns = torch.where(is_mirrored[:, None], columns.flip(1), columns)
    return room[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

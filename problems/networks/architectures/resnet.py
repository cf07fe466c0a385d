"""Residual networks for small images: ResNet-20 and its deeper siblings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from problems.data.preparation import Prepare, padded_size
from problems.networks.architectures.initial_weights import draw_weights


class ResNet(nn.Module):
    """3 n blocks of two 3 x 3 convolutions on 16, 32 and 64 channels: depth 6 n + 2.

    ResNet-20 (n = 3) has 272,474 parameters for ten classes. Where the shape changes, the way around a
    block is a 1 x 1 convolution with a batch norm (option B).

    Args:
        input_shape: (channels, height, width) of an image; one channel is repeated to three.
        n_classes: Outputs.
        mean: Of each channel of the images, for their preparation.
        std: Likewise.
        blocks: Blocks a stage, n.
        seed: Of the initial weights.

    Source: He et al. 2016, arXiv:1512.03385, sec. 4.2.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_classes: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        blocks: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.prepare = Prepare(mean, std, size=padded_size(input_shape), channels=3)
        self.conv1 = nn.Conv2d(3 if input_shape[0] == 1 else input_shape[0], 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.fc = nn.Linear(64, n_classes)
        draw_weights(self, seed=seed)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, n_classes) of images (n, channels, height, width) in [0, 1]."""
        x = torch.relu(self.bn1(self.conv1(self.prepare(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean(dim=(2, 3)))


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch norms, and a way around them.

    Args:
        n_in: Channels of the input.
        n_out: Channels of the output.
        stride: Of the first convolution and of the way around.
    """

    def __init__(self, n_in: int, n_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample = nn.Sequential()
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """(n, n_out, h / stride, w / stride)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


def _stage(n_in: int, n_out: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = Block(n_in, n_out, stride=stride)
    return nn.Sequential(first, *(Block(n_out, n_out, stride=1) for _ in range(blocks - 1)))

"""MobileNetV2 for images of 32 x 32 pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 32
"""Images of fewer pixels a side are padded with zeros to this."""

# (expansion, channels, repeats, stride of the first): table 2 of the paper. For 32 x 32 images the stem and the two
# stages that would leave less than 4 x 4 pixels keep their resolution.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 1),
    (6, 320, 1, 1),
)
_STEM = 32
_HEAD = 1280


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter each channel by 3x3, project by 1x1; the input is added where the shapes agree."""

    def __init__(self, n_in: int, n_out: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        inner = n_in * expansion
        self.is_residual = stride == 1 and n_in == n_out
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [_convolution(n_in, inner, 1), nn.BatchNorm2d(inner), nn.ReLU6()]
        layers += [_convolution(inner, inner, 3, stride=stride, groups=inner), nn.BatchNorm2d(inner), nn.ReLU6()]
        layers += [_convolution(inner, n_out, 1), nn.BatchNorm2d(n_out)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(n, n_in, h, w) to (n, n_out, h / stride, w / stride)."""
        return x + self.layers(x) if self.is_residual else self.layers(x)


class MobileNetV2(nn.Module):
    """52 convolutions and a linear classifier; the width multiplies every number of channels.

    As published for 224 x 224 images, but with less stride: 32 x 32 pixels leave 4 x 4 before the average. Channels are
    rounded to multiples of four. Weights are drawn from a normal distribution of variance 2 / fan-out from a
    seed of their own: torch's global generator is neither read nor moved.

    Args:
        input_shape: (channels, height, width) of an image.
        n_classes: Outputs.
        width: Multiplier of the channels, above 0.
        seed: Of the initial weights.

    Source: Sandler et al. 2018, arXiv:1801.04381, table 2; initial weights: He et al. 2015, arXiv:1502.01852, sec. 2.2.
    """

    def __init__(self, input_shape: Sequence[int], n_classes: int, *, width: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        if not 0 < width < math.inf:
            raise ValueError(f"width must be above 0, got {width}.")
        channels, height, width_px = (int(n) for n in input_shape)
        sides = (max(0, SIDE - width_px), max(0, SIDE - height))
        self._padding = [part for side in sides for part in (side // 2, side - side // 2)]
        n = _rounded(_STEM * width)
        blocks: list[nn.Module] = [_convolution(channels, n, 3), nn.BatchNorm2d(n), nn.ReLU6()]
        for expansion, n_channels, repeats, stride in _STAGES:
            n_out = _rounded(n_channels * width)
            for k in range(repeats):
                blocks.append(InvertedResidual(n, n_out, expansion=expansion, stride=stride if k == 0 else 1))
                n = n_out
        head = _rounded(_HEAD * max(width, 0.25))
        blocks += [_convolution(n, head, 1), nn.BatchNorm2d(head), nn.ReLU6()]
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.utils.skip_init(nn.Linear, head, n_classes)
        self._draw(torch.Generator().manual_seed(seed))

    def _draw(self, generator: torch.Generator) -> None:
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    fan_out = module.weight.shape[0] * math.prod(module.kernel_size) // module.groups
                    module.weight.normal_(0.0, math.sqrt(2 / fan_out), generator=generator)
            self.classifier.weight.normal_(0.0, 0.01, generator=generator)
            self.classifier.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, n_classes) of images (n, channels, height, width)."""
        if any(self._padding):
            x = functional.pad(x, self._padding)
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def _convolution(n_in: int, n_out: int, size: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    layer: nn.Conv2d = nn.utils.skip_init(
        nn.Conv2d, n_in, n_out, size, stride=stride, padding=size // 2, groups=groups, bias=False
    )
    return layer


def _rounded(channels: float) -> int:
    return max(4, 4 * round(channels / 4))

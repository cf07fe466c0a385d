"""A small VGG for small images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from problems.data.preparation import Prepare, padded_size
from problems.networks.architectures.initial_weights import draw_weights


class SmallVGG(nn.Module):
    """3 x 3 convolutions 32, 32, pool, 64, 64, pool, 128, 128, mean over the map, linear.

    About 289,000 parameters for ten classes; each convolution is followed by a batch norm and ReLU. The plan is that of
    Simonyan and Zisserman 2015, arXiv:1409.1556, at a quarter of the width, with one linear layer.

    Args:
        input_shape: (channels, height, width) of an image.
        n_classes: Outputs.
        mean: Of each channel of the images, for their preparation.
        std: Likewise.
        seed: Of the initial weights.
    """

    PLAN = ((32, 32), (64, 64), (128, 128))

    def __init__(
        self, input_shape: Sequence[int], n_classes: int, *, mean: Sequence[float], std: Sequence[float], seed: int = 0
    ) -> None:
        super().__init__()
        self.prepare = Prepare(mean, std, size=padded_size(input_shape))
        n_in = input_shape[0]
        for stage, widths in enumerate(self.PLAN, start=1):
            for place, width in enumerate(widths, start=1):
                self.add_module(f"conv{stage}_{place}", nn.Conv2d(n_in, width, 3, padding=1, bias=False))
                self.add_module(f"bn{stage}_{place}", nn.BatchNorm2d(width))
                n_in = width
        self.fc = nn.Linear(n_in, n_classes)
        draw_weights(self, seed=seed)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, n_classes) of images (n, channels, height, width) in [0, 1]."""
        x = self.prepare(x)
        for stage, widths in enumerate(self.PLAN, start=1):
            if stage > 1:
                x = functional.max_pool2d(x, 2)
            for place in range(1, len(widths) + 1):
                convolution, norm = getattr(self, f"conv{stage}_{place}"), getattr(self, f"bn{stage}_{place}")
                x = torch.relu(norm(convolution(x)))
        return self.fc(x.mean(dim=(2, 3)))

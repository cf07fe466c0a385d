"""LeNet-5 of 3 x 3 convolutions on images padded to 32 pixels, as the low-rank literature uses it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from problems.data.preparation import Prepare, padded_size
from problems.networks.architectures.initial_weights import draw_weights


class PaddedLeNet5(nn.Module):
    """Convolution 6@3x3, pool, convolution 16@3x3, pool, then 120, 84 and n_classes units.

    81,194 parameters for 32 x 32 images of one channel and ten classes. The layer of 120 units is a
    convolution over the whole of what the second pool leaves, as in LeCun et al. 1998 (there "C5"): the
    same function as a linear layer on flattened maps, and its input channels stay visible.

    Args:
        input_shape: (channels, height, width) of an image.
        n_classes: Outputs.
        mean: Of each channel of the images, for their preparation.
        std: Likewise.
        seed: Of the initial weights.
    """

    def __init__(
        self, input_shape: Sequence[int], n_classes: int, *, mean: Sequence[float], std: Sequence[float], seed: int = 0
    ) -> None:
        super().__init__()
        size = padded_size(input_shape)
        self.prepare = Prepare(mean, std, size=size)
        left = ((size - 2) // 2 - 2) // 2
        self.conv1 = nn.utils.skip_init(nn.Conv2d, input_shape[0], 6, 3)
        self.conv2 = nn.utils.skip_init(nn.Conv2d, 6, 16, 3)
        self.fc1 = nn.utils.skip_init(nn.Conv2d, 16, 120, left)
        self.fc2 = nn.utils.skip_init(nn.Linear, 120, 84)
        self.fc3 = nn.utils.skip_init(nn.Linear, 84, n_classes)
        draw_weights(self, seed=seed)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, n_classes) of images (n, channels, height, width) in [0, 1]."""
        x = functional.max_pool2d(torch.relu(self.conv1(self.prepare(x))), 2)
        x = functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.relu(self.fc1(x)).flatten(1)
        return self.fc3(torch.relu(self.fc2(x)))

"""LeNet-5 of valid 5 x 5 convolutions, with ReLU and max-pooling: whose weights the published circuits compute."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_SIDE = 28
"""Images of fewer pixels a side are enlarged to this."""

_KERNEL = 5
_POOL = 2


class ValidLeNet5(nn.Module):
    """Convolution 6@5x5, ReLU, max-pool 2, convolution 16@5x5, ReLU, max-pool 2, dense 120, 84, classes.

    Convolutions are valid: an image of 28 x 28 pixels gives 16 x 4 x 4 = 256 features, and with one channel the
    convolutions have 150 and 2,400 weights. Smaller images, such as the 8 x 8 digits, are enlarged bilinearly to 28
    pixels a side before the first layer. Weights and biases are drawn uniformly within 1 / sqrt(fan-in) from a
    seed of their own: torch's global generator is neither read nor moved.

    Args:
        input_shape: (channels, height, width) of an image.
        n_classes: Outputs.
        seed: Of the initial weights.

    Source: LeCun et al. 1998, doi:10.1109/5.726791. Differs: ReLU, max-pooling, full connection between the
    convolutions and a linear output, as in the published weight search.
    """

    def __init__(self, input_shape: Sequence[int], n_classes: int, *, seed: int = 0) -> None:
        super().__init__()
        channels, height, width = (int(n) for n in input_shape)
        self._size = (max(height, LEAST_SIDE), max(width, LEAST_SIDE))
        self._is_enlarged = self._size != (height, width)
        sides = self._size
        for _ in range(2):
            sides = ((sides[0] - _KERNEL + 1) // _POOL, (sides[1] - _KERNEL + 1) // _POOL)
        self.conv1 = nn.utils.skip_init(nn.Conv2d, channels, 6, _KERNEL)
        self.conv2 = nn.utils.skip_init(nn.Conv2d, 6, 16, _KERNEL)
        self.fc1 = nn.utils.skip_init(nn.Linear, 16 * sides[0] * sides[1], 120)
        self.fc2 = nn.utils.skip_init(nn.Linear, 120, 84)
        self.fc3 = nn.utils.skip_init(nn.Linear, 84, n_classes)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.conv1, self.conv2, self.fc1, self.fc2, self.fc3):
                bound = 1 / math.sqrt(math.prod(layer.weight.shape[1:]))
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, n_classes) of images (n, channels, height, width)."""
        if self._is_enlarged:
            x = functional.interpolate(x, size=self._size, mode="bilinear", align_corners=False)
        x = functional.max_pool2d(torch.relu(self.conv1(x)), _POOL)
        x = functional.max_pool2d(torch.relu(self.conv2(x)), _POOL).flatten(1)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))

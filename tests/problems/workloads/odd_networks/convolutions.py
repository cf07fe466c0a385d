"""Convolutions: groups, padding, dimensions, and what stands between them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from odd_networks.case import N_CLASSES, chain, convolution, odd, wired


def _head(n: int) -> nn.Sequential:
    return chain(nn.ReLU(), nn.Flatten(), nn.Linear(n, N_CLASSES))


@odd()
def grouped_reflect() -> nn.Module:
    """Groups, padded by reflection."""
    return chain(convolution(3, 6), nn.ReLU(), convolution(6, 8, groups=2, padding_mode="reflect"), _head(512))


@odd()
def grouped_zeros_without_bias() -> nn.Module:
    """Three groups, no bias."""
    return chain(
        convolution(3, 9, groups=3, bias=False), nn.ReLU(), convolution(9, 6, groups=3, bias=False), _head(384)
    )


@odd()
def depthwise_replicate() -> nn.Module:
    """Each channel by itself, padded by its border."""
    middle = convolution(6, 6, groups=6, padding_mode="replicate")
    return chain(convolution(3, 6), nn.ReLU(), middle, nn.ReLU(), nn.Conv2d(6, 4, 1), _head(256))


@odd()
def channel_multiplier_circular() -> nn.Module:
    """Depthwise with two filters a channel, padded around."""
    return chain(convolution(3, 4), nn.ReLU(), convolution(4, 8, groups=4, padding_mode="circular"), _head(512))


@odd()
def same_padding_of_even_kernels() -> nn.Module:
    """Kernels of four and two with dilation, padded unevenly by "same"."""
    first = nn.Conv2d(3, 6, 4, padding="same", padding_mode="reflect")
    return chain(first, nn.ReLU(), nn.Conv2d(6, 4, 2, padding="same", dilation=3), _head(256))


@odd()
def strided_rectangles() -> nn.Module:
    """Kernels, strides and dilations that differ by axis, no padding."""
    first = nn.Conv2d(3, 6, (1, 3), stride=(2, 1), padding="valid")
    return chain(first, nn.ReLU(), nn.Conv2d(6, 5, (3, 2), dilation=(1, 2)), _head(40))


@odd()
def one_channel() -> nn.Module:
    """A convolution with one output channel, and one with one input channel."""
    return chain(convolution(3, 1), nn.ReLU(), convolution(1, 4), _head(256))


@odd(noted="a transposed convolution")
def transposed_convolution() -> nn.Module:
    """Down and up again."""
    up = nn.ConvTranspose2d(6, 5, 2, stride=2)
    return chain(convolution(3, 6, stride=2), nn.ReLU(), up, nn.ReLU(), convolution(5, 4), _head(256))


@odd(refused="a transposed convolution")
def transposed_convolutions_alone() -> nn.Module:
    """Nothing but transposed convolutions."""
    return chain(nn.ConvTranspose2d(3, N_CLASSES, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def volumes(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 2, 5, 5, 5) and classes."""
    return torch.randn(n, 2, 5, 5, 5, generator=generator), torch.randint(0, N_CLASSES, (n,), generator=generator)


@odd(volumes)
def convolution_3d() -> nn.Module:
    """Three axes, the second layer in groups and padded by its border."""
    second = nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1), groups=2, padding_mode="replicate")
    return chain(nn.Conv3d(2, 4, 3), nn.ReLU(), second, _head(108))


@odd()
def pixel_shuffle() -> nn.Module:
    """Channels become pixels and pixels channels."""
    return chain(
        convolution(3, 8, stride=2),
        nn.PixelShuffle(2),
        convolution(2, 3),
        nn.PixelUnshuffle(4),
        nn.Conv2d(48, 4, 1),
        _head(16),
    )


@odd()
def channel_shuffle() -> nn.Module:
    """Groups whose channels are mixed by views."""
    return wired(
        lambda self, x: self.head(self.second(self.first(x).unflatten(1, (3, 2)).transpose(1, 2).flatten(1, 2))),
        first=convolution(3, 6, groups=3),
        second=convolution(6, 6, groups=2),
        head=_head(384),
    )


@odd()
def split_channels() -> nn.Module:
    """Halves of the channels take different ways."""

    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        left, right = self.first(x).chunk(2, dim=1)
        return self.head(torch.cat([right, self.second(left)], dim=1))

    return wired(forward, first=convolution(3, 8), second=convolution(4, 4), head=_head(512))


@odd()
def squeeze_and_excite() -> nn.Module:
    """Channels scaled by what the image is."""

    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.first(x))
        scale = torch.sigmoid(self.excite(functional.relu(self.squeeze(x.mean((2, 3))))))
        return self.head(x * scale[:, :, None, None])

    return wired(forward, first=convolution(3, 6), squeeze=nn.Linear(6, 3), excite=nn.Linear(3, 6), head=_head(384))


@odd()
def one_example_at_a_time() -> nn.Module:
    """Convolutions on single images without a batch axis."""
    return wired(
        lambda self, x: self.head(torch.stack([self.second(functional.relu(self.first(image))) for image in x])),
        first=convolution(3, 6),
        second=convolution(6, 4),
        head=_head(256),
    )


@odd()
def linear_on_channels() -> nn.Module:
    """Channels moved last for a norm and linear layers, as in ConvNeXt."""

    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.down(functional.gelu(self.up(self.norm(self.depthwise(x).permute(0, 2, 3, 1)))))
        return self.head((x + self.scale * y.permute(0, 3, 1, 2)).mean((2, 3)))

    return wired(
        forward,
        stem=nn.Conv2d(3, 6, 2, stride=2),
        depthwise=convolution(6, 6, groups=6),
        norm=nn.LayerNorm(6),
        up=nn.Linear(6, 12),
        down=nn.Linear(12, 6),
        scale=nn.Parameter(torch.full((6, 1, 1), 0.5)),
        head=nn.Linear(6, N_CLASSES),
    )


def segments(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 3, 8, 8) and a class for each pixel."""
    return torch.randn(n, 3, 8, 8, generator=generator), torch.randint(0, 3, (n, 8, 8), generator=generator)


@odd(segments)
def u_net() -> nn.Module:
    """Concatenation over a bottleneck; a class for each pixel."""

    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        skip = functional.relu(self.down(x))
        low = functional.relu(self.bottom(functional.max_pool2d(skip, 2)))
        up = functional.interpolate(low, scale_factor=2, mode="nearest")
        return self.out(torch.cat([up, skip], dim=1))

    return wired(forward, down=convolution(3, 4), bottom=convolution(4, 6), out=convolution(10, 3))


@odd()
def fully_convolutional() -> nn.Module:
    """No linear layer: classes are the mean over the image."""
    return chain(convolution(3, 6), nn.ReLU6(), nn.Conv2d(6, N_CLASSES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@odd()
def kernel_by_hand() -> nn.Module:
    """A convolution that runs, and once more as a product of its weight and unfolded patches."""

    def forward(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.conv(x))
        patches = functional.unfold(x, 3, padding=1)
        return self.head((self.conv.weight.flatten(1) @ patches).unflatten(2, (8, 8)))

    return wired(forward, conv=convolution(3, 3), head=_head(192))


@odd()
def learned_slopes() -> nn.Module:
    """PReLU with a slope a channel, and with one for all."""
    return chain(convolution(3, 6), nn.PReLU(6), convolution(6, 4), nn.PReLU(), nn.Flatten(), nn.Linear(256, N_CLASSES))

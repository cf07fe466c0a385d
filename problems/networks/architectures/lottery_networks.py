"""Networks whose masks are searched, by name, with initial weights from a seed of their own."""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal

from torch import nn

from opt.console.errors import UsageError, check_choice
from problems.networks.architectures.initial_weights import draw_weights

Init = Literal["glorot", "uniform"]

_STRIDED = (64, 128, 256, 512)
_DROPOUT = 0.3
# So many pixels a side are the least for the strided network without padding, and for LeNet-5's second convolution.
_LEAST_STRIDED, _LEAST_LENET = 23, 12


def build_architecture(
    name: str,
    input_shape: Sequence[int],
    n_classes: int,
    *,
    seed: int = 0,
    width: float = 1.0,
    bias: bool | None = None,
    init: Init = "glorot",
) -> nn.Sequential:
    """A network at its initial weights.

    `lenet-300-100`: 784-300-100-10, ReLU. `lenet-5`: 6@5x5, 16@5x5, 120, 84. `conv-2`, `conv-4`, `conv-6`: pairs of
    3x3 convolutions and a pool, then 256, 256. `strided-cnn`: 3x3 convolutions without padding, 64 (stride 2), 128,
    256 (stride 2), 512, each followed by ReLU, dropout 0.3 and batch norm; 960 filters, one dense layer.
    Images too small for a convolution without padding are padded.

    Args:
        name: One of `ARCHITECTURES`.
        input_shape: (channels, height, width) of an image.
        n_classes: Outputs.
        seed: Of the initial weights; torch's global generator is neither read nor moved.
        width: Factor on the number of neurons and filters of every hidden layer.
        bias: Whether layers have biases; None gives them to convolutional networks alone.
        init: Glorot's normal distribution with biases at zero, or torch's own uniform one.

    Raises:
        UsageError: No such network.

    Source: LeNets: LeCun et al. 1998, doi:10.1109/5.726791; Conv-2/4/6: Frankle and Carbin 2019, arXiv:1803.03635,
        fig. 2; init: Glorot and Bengio 2010, eq. 16 as a normal distribution.
    """
    build = ARCHITECTURES[check_choice("model", name, ARCHITECTURES, more=" or package.module:function")]
    if not width > 0:
        raise UsageError(f"width must be above 0, got {width}")
    model = nn.Sequential(OrderedDict(build(tuple(input_shape), n_classes, width, bias)))
    draw_weights(model, seed=seed, init=init)
    return model


Parts = list[tuple[str, nn.Module]]


def _scaled(size: int, width: float) -> int:
    return max(1, round(size * width))


def _linear(n_in: int, n_out: int, bias: bool) -> nn.Linear:
    return nn.utils.skip_init(nn.Linear, n_in, n_out, bias=bias)


def _conv(n_in: int, n_out: int, kernel: int, bias: bool, *, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    return nn.utils.skip_init(nn.Conv2d, n_in, n_out, kernel, stride=stride, padding=padding, bias=bias)


def _dense(n_in: int, sizes: Sequence[int], n_classes: int, width: float, bias: bool) -> Parts:
    parts: Parts = []
    for k, size in enumerate(sizes, start=1):
        n_out = _scaled(size, width)
        parts += [(f"fc{k}", _linear(n_in, n_out, bias)), (f"relu_fc{k}", nn.ReLU())]
        n_in = n_out
    return [*parts, (f"fc{len(sizes) + 1}", _linear(n_in, n_classes, bias))]


def _lenet_300_100(shape: tuple[int, ...], n_classes: int, width: float, bias: bool | None) -> Parts:
    return [("flatten", nn.Flatten()), *_dense(math.prod(shape), (300, 100), n_classes, width, bias is True)]


def _same_lenet5(shape: tuple[int, ...], n_classes: int, width: float, bias: bool | None) -> Parts:
    """LeNet-5 whose first convolution keeps the size of the image."""
    channels, *sides = shape
    has_bias = bias is not False
    padding = 2 if min(sides) < _LEAST_LENET else 0
    one, two = _scaled(6, width), _scaled(16, width)
    sides = [((side // 2) + 2 * padding - 4) // 2 for side in sides]
    return [
        ("conv1", _conv(channels, one, 5, has_bias, padding=2)), ("relu1", nn.ReLU()), ("pool1", nn.MaxPool2d(2)),
        ("conv2", _conv(one, two, 5, has_bias, padding=padding)), ("relu2", nn.ReLU()), ("pool2", nn.MaxPool2d(2)),
        ("flatten", nn.Flatten()), *_dense(two * math.prod(sides), (120, 84), n_classes, width, has_bias),
    ]  # fmt: skip


def _conv_pairs(
    shape: tuple[int, ...], n_classes: int, width: float, bias: bool | None, *, filters: Sequence[int]
) -> Parts:
    n_in, *sides = shape
    has_bias = bias is not False
    parts: Parts = []
    for k, size in enumerate(filters, start=1):
        n_out = _scaled(size, width)
        parts += [(f"conv{k}", _conv(n_in, n_out, 3, has_bias, padding=1)), (f"relu{k}", nn.ReLU())]
        n_in = n_out
        if k % 2 == 0:
            parts.append((f"pool{k // 2}", nn.MaxPool2d(2)))
            sides = [side // 2 for side in sides]
    dense = _dense(n_in * math.prod(sides), (256, 256), n_classes, width, has_bias)
    return [*parts, ("flatten", nn.Flatten()), *dense]


def _strided(shape: tuple[int, ...], n_classes: int, width: float, bias: bool | None) -> Parts:
    n_in, *sides = shape
    has_bias = bias is not False
    padding = 1 if min(sides) < _LEAST_STRIDED else 0
    parts: Parts = []
    for k, size in enumerate(_STRIDED, start=1):
        n_out, stride = _scaled(size, width), 2 if k % 2 else 1
        sides = [(side + 2 * padding - 3) // stride + 1 for side in sides]
        parts += [
            (f"conv{k}", _conv(n_in, n_out, 3, has_bias, stride=stride, padding=padding)), (f"relu{k}", nn.ReLU()),
            (f"dropout{k}", nn.Dropout(_DROPOUT)), (f"norm{k}", nn.BatchNorm2d(n_out)),
        ]  # fmt: skip
        n_in = n_out
    return [*parts, ("flatten", nn.Flatten()), ("fc", _linear(n_in * math.prod(sides), n_classes, has_bias))]


ARCHITECTURES: dict[str, Callable[[tuple[int, ...], int, float, bool | None], Parts]] = {
    "lenet-300-100": _lenet_300_100,
    "lenet-5": _same_lenet5,
    "conv-2": functools.partial(_conv_pairs, filters=(64, 64)),
    "conv-4": functools.partial(_conv_pairs, filters=(64, 64, 128, 128)),
    "conv-6": functools.partial(_conv_pairs, filters=(64, 64, 128, 128, 256, 256)),
    "strided-cnn": _strided,
}
"""What makes the layers of each named network: `(input shape, n_classes, width, bias) -> layers by name`."""

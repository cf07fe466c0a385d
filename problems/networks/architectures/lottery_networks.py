"""Networks whose masks are searched, by name, with initial weights from a seed of their own."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from opt.console.errors import UsageError, nearest

Init = Literal["glorot", "uniform"]

ARCHITECTURES = ("lenet-300-100", "lenet-5", "conv-2", "conv-4", "conv-6", "strided-cnn")
"""Names of the networks."""

_CONV = {"conv-2": (64, 64), "conv-4": (64, 64, 128, 128), "conv-6": (64, 64, 128, 128, 256, 256)}
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
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UsageError(
            f"model must be {known} or package.module:function, got {name!r}{nearest(name, ARCHITECTURES)}"
        )
    if not width > 0:
        raise UsageError(f"width must be above 0, got {width}")
    has_bias = name != "lenet-300-100" if bias is None else bias
    if name == "lenet-300-100":
        parts = _dense(math.prod(input_shape), (300, 100), n_classes, width, has_bias)
        model = nn.Sequential(OrderedDict([("flatten", nn.Flatten()), *parts]))
    else:
        make = _strided if name == "strided-cnn" else _lenet_5 if name == "lenet-5" else _pairs
        model = nn.Sequential(OrderedDict(make(name, tuple(input_shape), n_classes, width, has_bias)))
    draw_weights(model, seed=seed, init=init)
    return model


def draw_weights(model: nn.Module, *, seed: int, init: Init) -> None:
    """Draw new weights for every convolution and linear layer, in place, from a seed."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if not isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            continue
        field = math.prod(layer.weight.shape[2:])
        fan_in, fan_out = layer.weight.shape[1] * field, layer.weight.shape[0] * field
        with torch.no_grad():
            if init == "glorot":
                layer.weight.normal_(0.0, math.sqrt(2 / (fan_in + fan_out)), generator=generator)
            else:
                layer.weight.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
            if layer.bias is not None:
                if init == "glorot":
                    layer.bias.zero_()
                else:
                    layer.bias.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)


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


def _lenet_5(name: str, shape: tuple[int, ...], n_classes: int, width: float, bias: bool) -> Parts:
    channels, *sides = shape
    padding = 2 if min(sides) < _LEAST_LENET else 0
    one, two = _scaled(6, width), _scaled(16, width)
    sides = [((side // 2) + 2 * padding - 4) // 2 for side in sides]
    return [
        ("conv1", _conv(channels, one, 5, bias, padding=2)), ("relu1", nn.ReLU()), ("pool1", nn.MaxPool2d(2)),
        ("conv2", _conv(one, two, 5, bias, padding=padding)), ("relu2", nn.ReLU()), ("pool2", nn.MaxPool2d(2)),
        ("flatten", nn.Flatten()), *_dense(two * math.prod(sides), (120, 84), n_classes, width, bias),
    ]  # fmt: skip


def _pairs(name: str, shape: tuple[int, ...], n_classes: int, width: float, bias: bool) -> Parts:
    n_in, *sides = shape
    parts: Parts = []
    for k, size in enumerate(_CONV[name], start=1):
        n_out = _scaled(size, width)
        parts += [(f"conv{k}", _conv(n_in, n_out, 3, bias, padding=1)), (f"relu{k}", nn.ReLU())]
        n_in = n_out
        if k % 2 == 0:
            parts.append((f"pool{k // 2}", nn.MaxPool2d(2)))
            sides = [side // 2 for side in sides]
    return [*parts, ("flatten", nn.Flatten()), *_dense(n_in * math.prod(sides), (256, 256), n_classes, width, bias)]


def _strided(name: str, shape: tuple[int, ...], n_classes: int, width: float, bias: bool) -> Parts:
    n_in, *sides = shape
    padding = 1 if min(sides) < _LEAST_STRIDED else 0
    parts: Parts = []
    for k, size in enumerate(_STRIDED, start=1):
        n_out, stride = _scaled(size, width), 2 if k % 2 else 1
        sides = [(side + 2 * padding - 3) // stride + 1 for side in sides]
        parts += [
            (f"conv{k}", _conv(n_in, n_out, 3, bias, stride=stride, padding=padding)), (f"relu{k}", nn.ReLU()),
            (f"dropout{k}", nn.Dropout(_DROPOUT)), (f"norm{k}", nn.BatchNorm2d(n_out)),
        ]  # fmt: skip
        n_in = n_out
    return [*parts, ("flatten", nn.Flatten()), ("fc", _linear(n_in * math.prod(sides), n_classes, bias))]

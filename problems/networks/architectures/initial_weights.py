"""Initial weights of convolutions and linear layers (He, Glorot, uniform), drawn from a seed of their own."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from opt.console.errors import check_choice

Drawing = Callable[[Tensor, int, int, torch.Generator], object]
"""`(weight, fan_in, fan_out, generator)`: fills a weight in place."""


def _he(weight: Tensor, fan_in: int, fan_out: int, generator: torch.Generator) -> None:
    weight.normal_(0.0, math.sqrt(2 / fan_in), generator=generator)


def _glorot(weight: Tensor, fan_in: int, fan_out: int, generator: torch.Generator) -> None:
    weight.normal_(0.0, math.sqrt(2 / (fan_in + fan_out)), generator=generator)


def _uniform(weight: Tensor, fan_in: int, fan_out: int, generator: torch.Generator) -> None:
    weight.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)


def _zero(bias: Tensor, fan_in: int, fan_out: int, generator: torch.Generator) -> None:
    bias.zero_()


INITS: dict[str, tuple[Drawing, Drawing]] = {
    "he": (_he, _zero),
    "glorot": (_glorot, _zero),
    "uniform": (_uniform, _uniform),
}
"""What fills weights and biases, by the distribution's name."""


@torch.no_grad()
def draw_weights(model: nn.Module, *, seed: int, init: str = "he") -> None:
    """Draw new weights and biases for every convolution and linear layer, in place.

    Batch norms are left as they are made: scale 1, shift 0. torch's global generator is neither read nor moved.

    Args:
        model: The network.
        seed: Of what is drawn, layer by layer in the order of the modules.
        init: Normal with variance 2 / fan_in (he) or 2 / (fan_in + fan_out) (glorot), both with biases at zero, or
            within 1 / sqrt(fan_in), biases too, as torch does (uniform).

    Raises:
        UsageError: No such distribution.

    Source: He et al. 2015, arXiv:1502.01852, eq. 10; Glorot and Bengio 2010, eq. 16 as a normal distribution.
    """
    draw_weight, draw_bias = INITS[check_choice("init", init, INITS)]
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if not isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            continue
        field = math.prod(layer.weight.shape[2:])
        fans = layer.weight.shape[1] * field, layer.weight.shape[0] * field
        draw_weight(layer.weight, *fans, generator)
        if layer.bias is not None:
            draw_bias(layer.bias, *fans, generator)

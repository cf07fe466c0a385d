"""Weights that are computed in each pass: normalised, masked, quantised, adapted."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune

from odd_networks.case import N_CLASSES, chain, convolution, odd, rows, small_cnn, small_mlp, wired

BAKED = "computed weights became parameters"


@odd(rows, noted=BAKED, fresh=small_mlp)
def weight_norm() -> nn.Module:
    """Length and direction apart, by a parametrization."""
    network = small_mlp()
    for layer in network[::2]:
        parametrizations.weight_norm(layer)
    return network


@odd(rows, noted=BAKED, fresh=small_mlp)
def older_weight_norm() -> nn.Module:
    """The same by a hook."""
    network = small_mlp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(network[0])
        nn.utils.weight_norm(network[2], dim=None)
    return network


@odd(noted=BAKED, fresh=small_cnn)
def spectral_norm() -> nn.Module:
    """Divided by the largest singular value, by a parametrization."""
    network = small_cnn()
    parametrizations.spectral_norm(network[0])
    parametrizations.spectral_norm(network[3])
    return network


@odd(noted=BAKED, fresh=small_cnn)
def older_spectral_norm() -> nn.Module:
    """The same by a hook."""
    network = small_cnn()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.spectral_norm(network[3])
    network(torch.randn(2, 3, 8, 8))
    return network


@odd(rows, noted=BAKED, fresh=small_mlp)
def orthogonal_and_symmetric() -> nn.Module:
    """Parametrizations that constrain a weight, one of a user's own, two on one layer."""

    class Symmetric(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.triu() + x.triu(1).t() if x.shape[0] == x.shape[1] else x * 0.5

    network = small_mlp()
    parametrizations.orthogonal(network[0])
    for _ in range(2):
        parametrize.register_parametrization(network[2], "weight", Symmetric())
    parametrize.register_parametrization(network[2], "bias", nn.Tanh())
    return network


@odd(rows, noted=BAKED, fresh=small_mlp)
def pruned_by_torch() -> nn.Module:
    """Masked by torch's own pruning: twice, by rows, and a bias."""
    network = small_mlp()
    prune.l1_unstructured(network[0], "weight", amount=0.3)
    prune.random_unstructured(network[0], "weight", amount=0.2)
    prune.ln_structured(network[2], "weight", amount=0.25, n=2, dim=0)
    prune.l1_unstructured(network[2], "bias", amount=3)
    return network


@odd(rows, noted=BAKED, fresh=small_mlp)
def pruned_and_trained() -> nn.Module:
    """Pruned, and left in the middle of training: gradients, and a weight with a history."""
    network = small_mlp()
    prune.global_unstructured([(network[0], "weight"), (network[4], "weight")], prune.L1Unstructured, amount=0.4)
    network(torch.randn(4, 12)).sum().backward()
    return network


def _recurrent() -> nn.Module:
    return wired(
        lambda self, x: self.out(self.gru(x.transpose(1, 2))[1][-1]),
        gru=nn.GRU(4, 8, batch_first=True),
        out=nn.Linear(8, N_CLASSES),
    )


def _series(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 4, 24, generator=generator), torch.randint(0, N_CLASSES, (n,), generator=generator)


@odd(_series, noted=BAKED, fresh=_recurrent)
def recurrent_weight_norm() -> nn.Module:
    """The hidden weights of a recurrent cell, normalised by a hook."""
    network = _recurrent()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(network.gru, "weight_hh_l0")
    return network


class StandardisedConvolution(nn.Conv2d):
    """Subtracts the mean of each filter in each pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5), self.bias)


@odd()
def weight_standardisation() -> nn.Module:
    """Convolutions of a class of the user's that standardises filters."""
    network = small_cnn()
    network[0], network[3] = StandardisedConvolution(3, 6, 3, padding=1), StandardisedConvolution(6, 8, 3, padding=1)
    return network


class ScaledLinear(nn.Linear):
    """An equalised learning rate: weights are scaled by their fan-in; also takes a second argument by name."""

    def forward(self, values: Tensor, *, gain: float = 1.4) -> Tensor:  # type: ignore[override]
        """Multiply."""
        return functional.linear(values, self.weight * gain * self.in_features**-0.5, self.bias)


@odd(rows)
def scaled_weights() -> nn.Module:
    """Linear layers of a class of the user's, called by the name of its argument."""
    return wired(
        lambda self, x: self.out(values=functional.relu(self.first(values=x, gain=2.0))),
        first=ScaledLinear(12, 16),
        out=ScaledLinear(16, N_CLASSES),
    )


class MaskedLinear(nn.Linear):
    """Connections switched off by a buffer, as in autoregressive networks."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        self.register_buffer("open", (torch.arange(n_in) % 3 < 2).float())

    def forward(self, x: Tensor) -> Tensor:
        """Multiply."""
        return functional.linear(x, self.weight * self.open, self.bias)


@odd(rows)
def masked_linear() -> nn.Module:
    """Masks in buffers of the user's own class."""
    return chain(MaskedLinear(12, 16), nn.ReLU(), MaskedLinear(16, N_CLASSES))


class _Ternary(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, weight: Tensor) -> Tensor:
        return weight.sign() * (weight.abs() > weight.abs().mean() / 2) * weight.abs().mean()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


class TernaryLinear(nn.Linear):
    """Weights of three values by a straight-through function."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiply."""
        return functional.linear(x, _Ternary.apply(self.weight), self.bias)


@odd(rows)
def ternary_weights() -> nn.Module:
    """Quantised in each pass: a removed weight changes the scale of the others."""
    return chain(TernaryLinear(12, 16), nn.ReLU(), TernaryLinear(16, N_CLASSES))


@odd(rows, noted="its weight is computed")
def weight_as_a_property() -> nn.Module:
    """A linear layer without a weight parameter: it is a property."""

    class LowRank(nn.Linear):
        def __init__(self, n_in: int, n_out: int) -> None:
            super().__init__(n_in, n_out)
            del self.weight
            self.left, self.right = nn.Parameter(torch.randn(n_out, 2)), nn.Parameter(torch.randn(2, n_in))

        @property
        def weight(self) -> Tensor:  # type: ignore[override]
            return self.left @ self.right

    return chain(LowRank(12, 16), nn.ReLU(), nn.Linear(16, N_CLASSES))


@odd(rows)
def low_rank_adapters() -> nn.Module:
    """A frozen layer with an adapter beside it."""

    class Adapted(nn.Module):
        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.base = base.requires_grad_(False)
            self.down, self.up = nn.Linear(base.in_features, 2, bias=False), nn.Linear(2, base.out_features, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + 0.5 * self.up(self.down(x))

    return chain(Adapted(nn.Linear(12, 16)), nn.ReLU(), Adapted(nn.Linear(16, N_CLASSES)))


@odd(noted="computed weights became parameters", fresh=lambda: wired(_two_ways, conv=convolution(3, 3), out=_out()))
def normalised_and_shared() -> nn.Module:
    """A spectrally normalised layer that runs twice."""
    return wired(_two_ways, conv=parametrizations.spectral_norm(convolution(3, 3)), out=_out())


def _two_ways(self: nn.Module, x: Tensor) -> Tensor:
    return self.out(functional.relu(self.conv(functional.relu(self.conv(x)))))


def _out() -> nn.Module:
    return chain(nn.Flatten(), nn.Linear(192, N_CLASSES))

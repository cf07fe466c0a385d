"""Decomposed networks in a form that trains as fast as the original: factors multiplied before they are applied."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from problems.lowrank.choices import Choice
from problems.lowrank.materialise import choice_of_shape, choices_of, empty_pair, multiplied
from problems.networks.layers.prunable import Prunable, prunable_layers, replace_module


class ComposedPair(nn.Module):
    """Two factors, applied as the one layer that they stand for.

    The same function of the same parameters, under the same names, as the pair of layers that `materialise` makes, and
    so the same gradients; grouped convolutions take a multiple of the time on a processor.

    Args:
        module: The original layer, for its stride, padding and the like.
        pair: Encoder and decoder, taken over.
    """

    def __init__(self, module: Prunable, pair: nn.Sequential) -> None:
        super().__init__()
        self.encoder = pair.get_submodule("encoder")
        self.decoder = pair.get_submodule("decoder")
        self._original = [module]  # in a list: no part of the state

    def balance(self) -> None:
        """Give each rank's rows of the encoder and columns of the decoder the same norm; their product stays."""
        encoder: Any = self.encoder.weight
        decoder: Any = self.decoder.weight
        with torch.no_grad():
            # rows are (groups, k, j), columns of the decoder (k, j) in every group
            rows = encoder.flatten(1).norm(dim=1)
            groups = decoder.unflatten(0, (len(rows) // decoder.shape[1], -1))
            columns = groups.reshape(*groups.shape[:3], -1).norm(dim=(1, 3)).flatten()
            used = (rows > 0) & (columns > 0)
            scale = torch.where(used, (columns / rows.clamp_min(1e-30)).sqrt(), torch.ones_like(rows))
            encoder *= scale.reshape(-1, *[1] * (encoder.dim() - 1))
            groups /= scale.reshape(len(groups), 1, -1, *[1] * (decoder.dim() - 2))

    def forward(self, input: Tensor) -> Tensor:  # torch's own name, by which it may be called
        """The output of the layer that the factors stand for."""
        module = self._original[0]
        encoder: Any = self.encoder.weight
        decoder: Any = self.decoder.weight
        bias: Any = getattr(self.decoder, "bias", None)
        # the product in full precision, whatever the rest is computed in
        with torch.autocast("cpu", enabled=False):
            weight = multiplied(encoder, decoder, module)
        if isinstance(module, nn.Linear):
            return functional.linear(input, weight, bias)
        return module._conv_forward(input, weight, bias)


def to_composed(model: nn.Module, original: nn.Module) -> nn.Module:
    """A copy of a decomposed network whose pairs are `ComposedPair`s, ready to be trained.

    Each rank's share of the two factors is scaled to equal norms, which leaves their product as it is: a step of
    gradient descent changes a product by about the squared norms of its factors, so that unequal ones train unsteadily.
    """
    model = copy.deepcopy(model).requires_grad_(True)
    modules = prunable_layers(original)
    for name, choice in choices_of(model, original).items():
        if choice is not None:
            pair = model.get_submodule(name)
            assert isinstance(pair, nn.Sequential)
            composed = ComposedPair(modules[name], pair)
            composed.balance()
            replace_module(model, name, composed)
    return model


def to_pairs(model: nn.Module, original: nn.Module) -> nn.Module:
    """A copy with ordinary layers again, in evaluation mode."""
    model = copy.deepcopy(model)
    modules = prunable_layers(original)
    for name, module in list(model.named_modules()):
        if isinstance(module, ComposedPair):
            state = {k: v.contiguous() for k, v in module.state_dict().items()}
            pair = empty_pair(modules[name], choice_of_pair(module, modules[name]))
            pair.load_state_dict(state)
            replace_module(model, name, pair)
    return model.eval().requires_grad_(False)


def choice_of_pair(pair: nn.Module, module: Prunable) -> Choice:
    """Scheme, slices and ranks of a pair, from the shapes of its factors."""
    weight: Any = pair.get_submodule("encoder").weight
    choice = choice_of_shape(tuple(weight.shape), module)
    assert choice is not None, "made by empty_pair"
    return choice

"""Decomposed networks as ordinary torch layers: built, taken together again, written, read."""

from __future__ import annotations

import copy
import math
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.lowrank.choices import Choice
from problems.lowrank.factors import Factors
from problems.lowrank.layer_matrices import Layer, Scheme, in_encoder
from problems.networks.layers.plain_attention import unpack_named
from problems.networks.layers.prunable import Prunable, prunable_layers, replace_module
from problems.networks.storage.checkpoints import load_metadata, load_weights, read_safetensors

_CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}


def empty_pair(module: Prunable, choice: Choice) -> nn.Sequential:
    """The layers that stand for a decomposed one, weights still to be filled: `encoder`, then `decoder`.

    A convolution becomes a grouped convolution with the first factor's part of the kernel and no bias, and a
    convolution with the rest (1 x 1 for scheme 0) and the bias. A linear layer becomes two; with slices the
    first is a convolution over one position, torch's grouped linear layer.

    Args:
        module: The layer, left alone.
        choice: Scheme, slices, ranks.
    """
    has_bias, kind_of_numbers = module.bias is not None, {"dtype": module.weight.dtype}
    k, j = choice.k, choice.j
    if isinstance(module, nn.Linear):
        c, f = module.in_features, module.out_features
        decoder = nn.utils.skip_init(nn.Linear, k * j, f, bias=has_bias, **kind_of_numbers)
        if k == 1:
            encoder: nn.Module = nn.utils.skip_init(nn.Linear, c, j, bias=False, **kind_of_numbers)
            return nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder))
        encoder = nn.utils.skip_init(nn.Conv1d, c, k * j, 1, groups=k, bias=False, **kind_of_numbers)
        parts = OrderedDict(columns=nn.Unflatten(1, (c, 1)), encoder=encoder, flat=nn.Flatten(1), decoder=decoder)
        return nn.Sequential(parts)
    kind = _CONVOLUTIONS[len(module.kernel_size)]
    first = [in_encoder(choice.scheme, axis, len(module.kernel_size)) for axis in range(len(module.kernel_size))]

    def part(values: Any, default: int, *, is_encoder: bool) -> Any:
        return tuple(v if mine == is_encoder else default for v, mine in zip(values, first, strict=True))

    def convolution(n_in: int, n_out: int, groups: int, *, is_encoder: bool) -> nn.Module:
        padding = module.padding
        return nn.utils.skip_init(
            kind,
            n_in,
            n_out,
            part(module.kernel_size, 1, is_encoder=is_encoder),
            stride=part(module.stride, 1, is_encoder=is_encoder),
            # "same" and "valid" follow from each factor's own kernel
            padding=padding if isinstance(padding, str) else part(padding, 0, is_encoder=is_encoder),
            dilation=part(module.dilation, 1, is_encoder=is_encoder),
            groups=groups,
            bias=has_bias and not is_encoder,
            padding_mode=module.padding_mode,
            **kind_of_numbers,
        )

    g, c, f = module.groups, module.in_channels, module.out_channels
    return nn.Sequential(
        OrderedDict(
            encoder=convolution(c, g * k * j, g * k, is_encoder=True),
            decoder=convolution(g * k * j, f, g, is_encoder=False),
        )
    )


def fill_pair(pair: nn.Sequential, layer: Layer, choice: Choice, factors: Factors, bias: np.ndarray | None) -> None:
    """Put factors and bias, (f,), into what `empty_pair` made."""
    g, k, j = layer.groups, choice.k, choice.j
    encoder, decoder = pair.get_submodule("encoder"), pair.get_submodule("decoder")
    rest = layer.decoder_kernel(choice.scheme)
    split = factors.decoder.reshape(g, k, layer.n_out // g, math.prod(rest), j)
    second = split.transpose(0, 2, 1, 4, 3).reshape(layer.n_out, k * j, *rest)
    for module, array in ((encoder, factors.encoder), (decoder, second)):
        weight = module.weight
        assert isinstance(weight, Tensor)
        weight.data = torch.from_numpy(np.ascontiguousarray(array)).to(weight.dtype).reshape(weight.shape)
    if bias is not None:
        assert isinstance(decoder.bias, Tensor)
        decoder.bias.data = torch.from_numpy(bias).to(decoder.bias.dtype)


def projected_weight(layer: Layer, choice: Choice, factors: Factors) -> np.ndarray:
    """The weight that the two factors stand for, in the layer's own shape, float64."""
    g, k = layer.groups, choice.k
    first = [axis for axis in range(len(layer.kernel)) if in_encoder(choice.scheme, axis, len(layer.kernel))]
    second = [axis for axis in range(len(layer.kernel)) if axis not in first]
    n_in, n_out = layer.n_in // g, layer.n_out // g
    sides = layer.kernel
    product = factors.product.reshape(g, k, n_out, *(sides[a] for a in second), n_in // k, *(sides[a] for a in first))
    # (g, k, f, second, c, first) to (g, f, k, c, axes in their own order)
    at_channel = 3 + len(second)
    places = {a: 3 + i for i, a in enumerate(second)} | {a: at_channel + 1 + i for i, a in enumerate(first)}
    order = (0, 2, 1, at_channel, *(places[a] for a in range(len(sides))))
    return product.transpose(order).reshape(layer.n_out, n_in, *sides)


def multiplied(first: Tensor, second: Tensor, module: Prunable) -> Tensor:
    """The weight that an encoder's and a decoder's weight stand for, in the shape of the layer's own; differentiable.

    Args:
        first: Of the encoder, as `empty_pair` shapes it.
        second: Of the decoder.
        module: The original layer.
    """
    if isinstance(module, nn.Linear):
        rows = first.flatten(1)
        spread = torch.block_diag(*rows.chunk(module.in_features // rows.shape[1]))
        return second @ spread
    g, c = module.groups, module.in_channels // module.groups
    k = c // first.shape[1]
    a = first.reshape(g, k, -1, c // k, *first.shape[2:])
    b = second.reshape(g, -1, k, a.shape[2], *second.shape[2:])
    lower = "xyz"[: len(module.kernel_size)]
    upper = lower.upper()
    # one of the two has side 1 along each axis, so that the pairs of axes are the kernel in its own order
    pairs = "".join(f"{big}{small}" for big, small in zip(upper, lower, strict=True))
    product = torch.einsum(f"gfkj{upper},gkjc{lower}->gfkc{pairs}", b, a)
    return product.reshape(module.out_channels, c, *module.kernel_size)


def taken_together(model: nn.Module, original: nn.Module) -> nn.Module:
    """A copy of `original` with the weights, biases and everything else that a decomposed network stands for."""
    out = copy.deepcopy(original)
    modules = prunable_layers(out)
    state = model.state_dict()
    for name, choice in choices_of(model, original).items():
        if choice is None:
            continue
        weight = multiplied(state.pop(f"{name}.encoder.weight"), state.pop(f"{name}.decoder.weight"), modules[name])
        state[f"{name}.weight"] = weight
        if modules[name].bias is not None:
            state[f"{name}.bias"] = state.pop(f"{name}.decoder.bias")
    out.load_state_dict(state)
    return out.eval()


def load_decomposed(model: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """A decomposed network from its safetensors file and the network that it was made of.

    Scheme, slices and ranks are read from the shapes of the tensors.

    Args:
        model: The original network, trained or not; left alone. Packed attention that the file has as linear layers
            becomes such.
        path: A solution of a run, or a checkpoint of `problems.lowrank.retraining.pipeline`.

    Returns:
        The network in evaluation mode.

    Raises:
        UsageError: The file is missing, damaged, or another network's.
    """
    model = with_pairs(model, read_safetensors(Path(path))[0], source=path)
    load_weights(model, path)
    model.eval()
    return model


def with_pairs(model: nn.Module, tensors: Mapping[str, Tensor], *, source: object) -> nn.Module:
    """A copy of a network with empty pairs of layers where tensors of a decomposed one stand for them.

    Args:
        model: The original network.
        tensors: State of the decomposed one; their shapes tell scheme, slices and ranks.
        source: Of the tensors, for an error.

    Raises:
        UsageError: A shape is none of the layer's.
    """
    model = copy.deepcopy(model)
    unpack_named(model, tensors)
    for name, module in prunable_layers(model).items():
        weight = tensors.get(f"{name}.encoder.weight")
        if weight is not None:
            replace_module(model, name, empty_pair(module, _choice_of(name, weight, module, source)))
    return model


def load_reference(path: str | os.PathLike[str]) -> nn.Module:
    """A checkpoint of a network by name, decomposed or not, ready for use.

    Raises:
        UsageError: The file does not say which network it is; `load_decomposed` takes a network beside it.
    """
    from problems.workloads.reference_networks import NETWORKS

    info = load_metadata(path)
    if info.get("network") not in NETWORKS:
        raise UsageError(f"{path} does not name a network of {', '.join(NETWORKS)}; use load_decomposed(model, path)")
    try:
        shape: Any = info["input_shape"]
        n_classes: Any = info["n_classes"]
        # the true statistics come with the weights
        blank = [1.0] * shape[0]
        network = NETWORKS[str(info["network"])](shape, n_classes, mean=blank, std=blank)
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError, MemoryError) as error:
        raise UsageError(f"{path} does not tell its network's shape: {error}; give another checkpoint.") from None
    return load_decomposed(network, path)


def choice_of_shape(shape: tuple[int, ...], module: Prunable) -> Choice | None:
    """Scheme, slices and ranks of a layer whose encoder's weight has this shape; None where it can be none of its."""
    if isinstance(module, nn.Linear):
        c, g = module.in_features, 1
        kernel: tuple[int, ...] = ()
    else:
        c, g, kernel = module.in_channels // module.groups, module.groups, tuple(module.kernel_size)
    if len(shape) < 2 or shape[1] == 0:
        return None
    k, remainder = divmod(c, shape[1])
    own = shape[2:] if kernel else ()
    schemes: tuple[Scheme, ...] = (0, 1, 2, 3) if len(kernel) == 2 else (0, 3)
    for scheme in schemes:
        wanted = tuple(s if in_encoder(scheme, axis, len(kernel)) else 1 for axis, s in enumerate(kernel))
        if wanted == own and not remainder and k and shape[0] % (g * k) == 0:
            return Choice(scheme, k, shape[0] // (g * k))
    return None


def _choice_of(name: str, weight: Tensor, module: Prunable, source: object) -> Choice:
    choice = choice_of_shape(tuple(weight.shape), module)
    if choice is None:
        raise UsageError(f"{source} does not fit the network: {name}.encoder.weight has shape {tuple(weight.shape)}")
    return choice


def n_parameters(model: nn.Module) -> int:
    """Parameters of a network, buffers left out."""
    return sum(p.numel() for p in model.parameters())


def choices_of(model: nn.Module, original: nn.Module) -> Mapping[str, Choice | None]:
    """What was done with each layer of `original` in a decomposed network."""
    out: dict[str, Choice | None] = {}
    for name, module in prunable_layers(original).items():
        try:
            encoder = model.get_submodule(f"{name}.encoder")
        except AttributeError:
            out[name] = None
            continue
        weight = encoder.weight
        assert isinstance(weight, Tensor)
        out[name] = _choice_of(name, weight, module, "the network")
    return out

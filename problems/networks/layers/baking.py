"""Baking in computed weights: weight and spectral normalisation, pruning masks and other parametrizations."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def bake(network: nn.Module) -> list[str]:
    """Turn every computed weight into a parameter of the value that it has in evaluation mode, in place.

    A weight that is computed from others in each pass, by torch's parametrizations, by the older `weight_norm` and
    `spectral_norm`, or by masks of `torch.nn.utils.prune`, cannot be replaced by a smaller one.

    Args:
        network: In evaluation mode; changed.

    Returns:
        What was baked in, as LAYER.TENSOR.
    """
    baked = []
    for name, module in list(network.named_modules()):
        if parametrize.is_parametrized(module):
            for tensor in list(module.parametrizations):
                parametrize.remove_parametrizations(module, tensor, leave_parametrized=True)
                baked.append(_called(name, tensor))
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                baked.append(_called(name, hook.name))
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                baked.append(_called(name, hook.name))
                remove_spectral_norm(module, hook.name)
            elif isinstance(hook, prune.BasePruningMethod):
                baked.append(_called(name, hook._tensor_name))
                prune.remove(module, hook._tensor_name)
    return baked


def _called(layer: str, tensor: str) -> str:
    return f"{layer}.{tensor}" if layer else tensor

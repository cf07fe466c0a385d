"""Baking in computed weights: weight and spectral normalisation, pruning masks and other parametrizations."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook, SpectralNormStateDictHook
from torch.nn.utils.weight_norm import WeightNorm


def bake(network: nn.Module) -> list[str]:
    """Turn every computed weight into a parameter of the value that it has in evaluation mode, in place.

    A weight that is computed from others in each pass, by torch's parametrizations, by the older `weight_norm` and
    `spectral_norm`, or by masks of `torch.nn.utils.prune`, cannot be replaced by a smaller one.

    Args:
        network: In evaluation mode; changed. Networks that it is a copy of stay as they are.

    Returns:
        What was baked in, as LAYER.TENSOR.
    """
    baked = []
    for name, module in list(network.named_modules()):
        if parametrize.is_parametrized(module):
            baked += [_called(name, tensor) for tensor in _without_parametrizations(module)]
        for hook in list(module._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm):
                baked.append(_called(name, hook.name))
                remove_weight_norm(module, hook.name)
            elif isinstance(hook, SpectralNorm):
                baked.append(_called(name, hook.name))
                remove_spectral_norm(module, hook.name)
                _without_hooks_of_its_state(module)
            elif isinstance(hook, prune.BasePruningMethod):
                baked.append(_called(name, hook._tensor_name))
                prune.remove(module, hook._tensor_name)
    return baked


def _without_parametrizations(module: nn.Module) -> list[str]:
    """Set a module's parametrized tensors to their values; the names of the tensors.

    torch's `remove_parametrizations` deletes a property of the module's class, which copies share: it breaks the
    network that this one is a copy of.
    """
    parametrizations = module.parametrizations
    assert isinstance(parametrizations, nn.ModuleDict)
    values = {name: getattr(module, name).detach().clone() for name in parametrizations}
    is_parameter = {name: any(True for _ in parametrizations[name].parameters(recurse=False)) for name in values}
    plain_class = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    module.__class__ = plain_class
    for name, value in values.items():
        if is_parameter[name]:
            module.register_parameter(name, nn.Parameter(value, requires_grad=False))
        else:
            module.register_buffer(name, value)
    return list(values)


def _without_hooks_of_its_state(module: nn.Module) -> None:
    """Take away what spectral normalisation does to a state as it is saved and loaded, which torch leaves behind."""
    for hooks in (module._state_dict_hooks, module._load_state_dict_pre_hooks):
        for key, hook in list(hooks.items()):
            if isinstance(getattr(hook, "hook", hook), (SpectralNormStateDictHook, SpectralNormLoadStateDictPreHook)):
                del hooks[key]


def _called(layer: str, tensor: str) -> str:
    return f"{layer}.{tensor}" if layer else tensor

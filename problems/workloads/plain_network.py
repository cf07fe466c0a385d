"""A user's network as it is compressed: a copy in evaluation mode, out of wrappers, with parameters for weights."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.networks.layers.baking import bake
from problems.networks.layers.prunable import Prunable
from problems.networks.layers.shared_parameters import shared_parameters


def unwrapped(network: Any, notes: list[str]) -> nn.Module:
    """The user's network itself, out of wrappers of parallel or compiled running.

    Args:
        network: Of the user's; left as it is.
        notes: Gets what a user should know of it.

    Raises:
        UsageError: It is no module.
    """
    if not isinstance(network, nn.Module):
        raise UsageError(f"a workload's network must be a torch nn.Module, got {type(network).__name__}")
    while True:
        if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            notes.append("DataParallel was unwrapped")
            network = network.module
        elif isinstance(inner := getattr(network, "_orig_mod", None), nn.Module):
            notes.append("a compiled network was unwrapped")
            network = inner
        else:
            return network


def plain_network(network: nn.Module, notes: list[str]) -> nn.Module:
    """A copy of a network in evaluation mode, its computed weights as parameters.

    Args:
        network: Out of its wrappers; left as it is.
        notes: Gets what a user should know of it.

    Raises:
        UsageError: It cannot be taken apart or copied.
    """
    if isinstance(network, torch.jit.ScriptModule):
        raise UsageError("a scripted network cannot be made smaller; give the module that it was made from")
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in network.parameters()):
        raise UsageError("the network has lazy layers that have not run yet; run it once on an example first")
    _check_devices(network, notes)
    plain = _copied(network).cpu()
    for module in plain.modules():
        if isinstance(module, nn.DataParallel):
            module.device_ids = []  # its part runs where it is, under the names that it has
    plain.eval()
    if compiled := _without_compiled_parts(plain):
        notes.append(f"compiled parts were unwrapped: {', '.join(compiled)}")
    if baked := bake(plain):
        notes.append(f"computed weights became parameters: {', '.join(baked)}")
    if isinstance(plain, Prunable):
        plain = nn.Sequential(plain).eval()
        notes.append("the layer was put into an nn.Sequential: in saved files its tensors are 0.weight and 0.bias")
    return plain.requires_grad_(False)


def _check_devices(network: nn.Module, notes: list[str]) -> None:
    """Say that a network comes from another device than the processor.

    Raises:
        UsageError: It has shapes alone, and no weights.
    """
    devices = {str(tensor.device) for tensor in (*network.parameters(), *network.buffers())} - {"cpu"}
    if "meta" in devices:
        raise UsageError("the network is on torch's device meta and has no weights; load them first")
    if devices:
        notes.append(f"the network was taken from {', '.join(sorted(devices))}; --problem.device evaluates it there")


def _without_compiled_parts(network: nn.Module) -> list[str]:
    unwrapped = []
    for name, module in list(network.named_modules()):
        for key, child in list(module._modules.items()):
            if isinstance(inner := getattr(child, "_orig_mod", None), nn.Module):
                module._modules[key] = inner
                unwrapped.append(f"{name}.{key}" if name else key)
    return unwrapped


def _copied(network: nn.Module) -> nn.Module:
    """A copy of a network, also of one that holds the results of a computation, as torch's pruning leaves them.

    Raises:
        UsageError: It holds what cannot be copied.
    """
    held = itertools.chain.from_iterable(_tensors_in(vars(module)) for module in network.modules())
    known: dict[int, Any] = {id(tensor): tensor.detach().clone() for tensor in held if not tensor.is_leaf}
    known |= _copied_with_their_memory(network)
    try:
        with torch.no_grad():
            return copy.deepcopy(network, known)
    except Exception as error:  # attributes may be anything
        reason = " ".join(str(error).split())
        raise UsageError(
            f"the network cannot be copied: {type(error).__name__}: {reason}; keep this out of its attributes"
        ) from None


def _copied_with_their_memory(network: nn.Module) -> dict[int, nn.Parameter]:
    """Copies, by ids, of parameters that lie in each other's memory: they do so in the copy, too."""
    shared = shared_parameters(network)
    memories: dict[int, torch.UntypedStorage] = {}
    copies = {}
    for p in network.parameters():
        if id(p) in shared:
            memory = p.untyped_storage()
            memory = memories.setdefault(memory.data_ptr(), memory.clone().cpu())
            values = torch.empty(0, dtype=p.dtype).set_(memory, p.storage_offset(), p.shape, p.stride())
            copies[id(p)] = nn.Parameter(values, requires_grad=False)
    return copies


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors in an attribute: alone, or in containers of any depth."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple, set)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(part)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network's state, which may hold other things as well."""
    return {name: part.detach() for name, part in network.state_dict().items() if isinstance(part, Tensor)}


def with_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a network, in evaluation mode, with the tensors of a state loaded."""
    loaded = copy.deepcopy(network)
    others = {name: part for name, part in network.state_dict().items() if not isinstance(part, Tensor)}
    loaded.load_state_dict({**tensors, **others})
    loaded.eval()  # `eval` and `train` of a user's may return nothing
    return loaded


def state_copied(network: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Every parameter and buffer with a copy of its values."""
    return [(tensor, tensor.detach().clone()) for tensor in (*network.parameters(), *network.buffers())]


@contextmanager
def preserved(network: nn.Module) -> Iterator[None]:
    """While open, a network may change its parameters and buffers; behind it they are what they were."""
    before = state_copied(network)
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, values in before:
                tensor.copy_(values)

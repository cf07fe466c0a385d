"""What a network is, as a digest: the code of its classes, its options, its tensors."""

from __future__ import annotations

import functools
import inspect
import types
from typing import Any

import torch
from torch import Tensor, nn


def update_with_network(digest: Any, network: nn.Module) -> None:
    """Add a network to a hash: the code of its classes and of those that they derive from, its options, its tensors."""
    kinds = {kind for module in network.modules() for kind in type(module).__mro__}
    for kind in sorted(kinds, key=lambda k: (k.__module__, k.__qualname__)):
        digest.update(f"{kind.__module__}.{kind.__qualname__}\n".encode())
        if kind.__module__.partition(".")[0] not in ("torch", "builtins"):
            digest.update(code_of(kind).encode())
    digest.update(repr(network).encode())
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())


def code_of(target: Any) -> str:
    """The source of a function or class; of one that has none, as typed at a prompt, its compiled form."""
    if target is None:
        return ""
    if isinstance(target, functools.partial):
        return f"{code_of(target.func)}{target.args}{target.keywords}"
    if not callable(getattr(target, "__get__", None)) and not isinstance(target, type):
        target = type(target)  # an object that is called
    try:
        return inspect.getsource(target)
    except (OSError, TypeError):
        return getattr(target, "__qualname__", "") + _compiled(target)


def _compiled(target: Any) -> str:
    if isinstance(target, type):
        return "".join(f"{name}:{_compiled(part)};" for name, part in sorted(vars(target).items()))
    target = getattr(target, "fget", None) or getattr(target, "__func__", target)
    code = target if isinstance(target, types.CodeType) else getattr(target, "__code__", None)
    if code is None:
        return ""
    return f"{code.co_code.hex()}{[_constant(part) for part in code.co_consts]}{code.co_names}"


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return _compiled(value)
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)

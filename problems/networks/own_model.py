"""A user's own network, from a function named on the command line."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from opt.errors import UsageError, nearest


def build_own_model(target: str, *, seed: int) -> nn.Module:
    """Call the function that `target` names; what it draws for initial weights follows the seed.

    Args:
        target: `package.module:function`; the function takes no arguments and returns an `nn.Module`.
        seed: Of torch's global generator during the call, which is put back behind it.

    Raises:
        UsageError: no such module or function, or it fails or returns something else.
    """
    path, colon, name = target.partition(":")
    if not colon or not path or not name:
        raise UsageError(f"model must be package.module:function, got {target!r}")
    try:
        module = importlib.import_module(path)
    except ImportError as error:
        raise UsageError(f"model {target}: cannot import {path}: {error}; run from its folder or install it") from None
    build = getattr(module, name, None)
    if not callable(build):
        functions = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(f"model {target}: {path} has no function {name!r}{nearest(name, functions)}")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(seed)
            model = build()
    except Exception as error:  # a user's function may fail in any way: the reason is passed on
        raise UsageError(f"model {target} fails: {type(error).__name__}: {error}") from None
    if not isinstance(model, nn.Module):
        raise UsageError(f"model {target} must return a torch.nn.Module, got {type(model).__name__}")
    return model

"""Devices by name: where networks and examples lie."""

from __future__ import annotations

import torch

from opt.console.errors import UsageError


def device_named(name: str) -> torch.device:
    """The device of that name, if this machine has it.

    Args:
        name: cpu, cuda, cuda:1, mps and the like, as torch names them.

    Raises:
        UsageError: torch knows no such device, or it cannot be used here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {name!r}; known: cpu, cuda, cuda:N, mps") from None
    try:
        torch.empty(1, device=device).add_(1).cpu()
    except Exception as error:  # torch's builds raise whatever they like for what they lack
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise UsageError(f"device {name} cannot be used here: {reason}; take --problem.device cpu") from None
    return device

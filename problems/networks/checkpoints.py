"""Weights of any torch network as safetensors: written whole, read back with every mistake told."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from opt import atomic
from opt.errors import UsageError


def save_network(
    model: nn.Module, path: str | os.PathLike[str], *, metadata: Mapping[str, object] | None = None
) -> None:
    """Write a network's state as safetensors, whole or not at all.

    Args:
        model: The network; floating-point tensors are stored as float32.
        path: File to write; its folder is made.
        metadata: Plain values, kept with the weights as JSON.

    Raises:
        UsageError: the file can't be written.
    """
    tensors = {
        name: (tensor.detach().float() if tensor.is_floating_point() else tensor.detach()).contiguous()
        for name, tensor in model.state_dict().items()
    }
    data = safetensors.torch.save(tensors, {"info": json.dumps(dict(metadata or {}), sort_keys=True)})
    write_whole(Path(path), data)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file at once or not at all; its folder is made.

    Raises:
        UsageError: the file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, data)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}; choose a folder with space that you own."
        ) from error


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Read a network's state from safetensors, in place.

    Raises:
        UsageError: the file is missing, damaged, or holds other tensors than the network has.
    """
    tensors, _ = read_safetensors(Path(path))
    own = model.state_dict()
    if set(tensors) != set(own):
        wrong = sorted(set(tensors) ^ set(own))
        raise UsageError(
            f"{path} does not hold the weights of {type(model).__name__}: missing or unknown: {', '.join(wrong[:4])}; "
            "give a checkpoint of this network."
        )
    for name, tensor in tensors.items():
        if not own[name].ndim and tensor.numel() == 1:
            tensors[name] = tensor = tensor.reshape(())  # a count of batches: some writers keep no array without axes
        if tensor.shape != own[name].shape:
            raise UsageError(
                f"{path} does not fit {type(model).__name__}: {name} must have shape {tuple(own[name].shape)}, "
                f"got {tuple(tensor.shape)}; give a checkpoint of this network."
            )
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UsageError(f"{path} holds weights that are not finite numbers; give another checkpoint.")
    model.load_state_dict(tensors)


def load_metadata(path: str | os.PathLike[str]) -> dict[str, object]:
    """What `save_network` kept with the weights; empty for files of others."""
    _, metadata = read_safetensors(Path(path))
    try:
        info = json.loads(metadata.get("info", "{}"))
    except json.JSONDecodeError:
        info = {}
    return info if isinstance(info, dict) else {}


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file.

    Raises:
        UsageError: the file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise UsageError(f"{path} is damaged or no safetensors file ({error}); replace it or give another.") from error
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or error
        raise UsageError(f"cannot read checkpoint {path}: {reason}; check the path.") from error

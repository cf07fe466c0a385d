"""Weights of any torch network as safetensors: written whole, read back with every mistake told."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from opt.console.terminal import printable
from opt.files import atomic
from opt.files.plain_file import check_regular

_INTEGERS = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64, torch.int64)
_KINDS = frozenset((torch.bool, *_INTEGERS, torch.float16, torch.bfloat16, torch.float32, torch.float64))


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
    write_whole(Path(path), encode_network(model, metadata=metadata))


def encode_network(model: nn.Module, *, metadata: Mapping[str, object] | None = None) -> bytes:
    """The bytes that `save_network` writes."""
    tensors = {
        name: (tensor.detach().float() if tensor.is_floating_point() else tensor.detach()).contiguous()
        for name, tensor in model.state_dict().items()
    }
    return safetensors.torch.save(tensors, {"info": json.dumps(dict(metadata or {}), sort_keys=True)})


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
    except (ValueError, RecursionError):
        info = {}
    return info if isinstance(info, dict) else {}


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file.

    Raises:
        UsageError: the file is missing, damaged, another program's, or holds what is no network's.
    """
    try:
        check_regular(path)
        with open(path, "rb") as opened:
            _check_start(path, opened)
            # by its descriptor where its name is not UTF-8, which the library does not take
            name = str(path) if printable(path) == str(path) else f"/dev/fd/{opened.fileno()}"
            with safetensors.safe_open(name, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                metadata = file.metadata() or {}
            _check_names(path, opened)
    except (safetensors.SafetensorError, ValueError, RuntimeError, MemoryError) as error:
        if isinstance(error, UsageError):
            raise
        text = f"{path} is damaged or no safetensors file ({error}); replace it or give another."
        raise UsageError(text) from error
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror or error
        raise UsageError(f"cannot read checkpoint {path}: {reason}; check the path.") from error
    for name, tensor in tensors.items():
        if tensor.dtype not in _KINDS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UsageError(f"{path} holds {name} in numbers of kind {kind}; save it as float32 and give that.")
    return tensors, metadata


def as_numpy(tensor: Tensor) -> np.ndarray:
    """A tensor's values on the processor; of bfloat16, which NumPy has not, as float32."""
    tensor = tensor.detach().cpu().contiguous()  # safetensors' writer for arrays takes other layouts for this one
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def as_arrays(path: str | os.PathLike[str], tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors of a file as arrays; bfloat16, which NumPy has not, as float32.

    Raises:
        UsageError: One has a shape that NumPy has not, such as of a hundred axes.
    """
    try:
        return {name: as_numpy(tensor) for name, tensor in tensors.items()}
    except (ValueError, TypeError, RuntimeError) as error:
        raise UsageError(f"{path} holds a tensor that is no array ({error}); give another file.") from None


def _check_start(path: Path, file: BinaryIO) -> None:
    """Refuse by its first bytes what PyTorch wrote: it may hold code, and is not looked into."""
    start = file.read(9)
    # a header of safetensors may be as long as a pickle's first bytes say, and begins behind eight
    is_pickle = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and start[8:] != b"{"
    if start[:4] == b"PK\x03\x04" or is_pickle:
        raise UsageError(
            f"{path} is a file of torch.save, which may hold code and is not opened; convert it: safetensors.torch."
            "save_file(torch.load(FILE, weights_only=True), 'weights.safetensors'), and give that."
        )


def _check_names(path: Path, file: BinaryIO) -> None:
    """Refuse a header that names a tensor twice, of which the library takes the last. The header was read before."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("its header has a name twice")
        return dict(pairs)

    file.seek(0)
    n = int.from_bytes(file.read(8), "little")
    json.loads(file.read(n), object_pairs_hook=once)

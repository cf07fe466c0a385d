"""Weights of any torch network: written as safetensors, read from these or torch's files; every mistake is told."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from opt.console.command import warn
from opt.console.errors import UsageError
from opt.console.terminal import printable
from opt.files import atomic
from opt.files.plain_file import check_regular
from problems.networks.storage.torch_files import is_torch_file, read_torch_file

_INTEGERS = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32, torch.uint64, torch.int64)
_COMPILED = "_orig_mod."
_PREFIXES = ("module.", _COMPILED, "model.", "network.", "net.")
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
    tensors: dict[str, Tensor] = {}
    known: set[int] = set()
    for name, part in model.state_dict().items():
        if isinstance(part, Tensor):
            tensor = (part.detach().float() if part.is_floating_point() else part.detach()).contiguous()
            memory = tensor.untyped_storage().data_ptr()
            tensors[name] = tensor.clone() if memory in known else tensor  # safetensors writes no memory twice
            known.add(memory)
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
    """Read a network's state from a file of safetensors or of `torch.save`, in place.

    A prefix that wrappers give to every name is stripped, tensors that the network shares may be stored once, and other
    float types become the network's own; each is told on stderr.

    Raises:
        UsageError: the file is missing, damaged, holds code, or holds other tensors than the network has.
    """
    path = Path(path)
    own = {name: part for name, part in model.state_dict(keep_vars=True).items() if isinstance(part, Tensor)}
    tensors, notes = _fitted(read_state(path), own, path, type(model).__name__)
    for note in notes:
        warn(f"{path}: {note}")
    others = {name: part for name, part in model.state_dict().items() if not isinstance(part, Tensor)}
    model.load_state_dict({**tensors, **others})


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, of safetensors or of `torch.save`.

    Raises:
        UsageError: As `read_safetensors` and `read_torch_file`.
    """
    try:
        check_regular(path)
        with open(path, "rb") as file:
            is_of_torch = is_torch_file(file.read(9))
    except UsageError:
        raise
    except (OSError, ValueError):  # told by the reader in its words
        is_of_torch = False
    return read_torch_file(path) if is_of_torch else read_safetensors(path)[0]


def _fitted(
    tensors: dict[str, Tensor], own: Mapping[str, Tensor], path: Path, network: str
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a file under the network's names, in its shapes and types, and what was done for it."""
    notes: list[str] = []
    tensors = _without_prefix(tensors, own, notes)
    tensors |= _shared_with_others(tensors, own, notes)
    _check_same_names(tensors, own, path, network)
    for name, tensor in tensors.items():
        if not own[name].ndim and tensor.numel() == 1:
            tensors[name] = tensor.reshape(())  # a count of batches: some writers keep no array without axes
    wrong = [name for name, tensor in tensors.items() if tensor.shape != own[name].shape]
    if wrong:
        name = wrong[0]
        more = f" ({len(wrong) - 1} more differ: {_some(wrong[1:])})" if wrong[1:] else ""
        raise UsageError(
            f"{path} does not fit {network}: {name} must have shape {tuple(own[name].shape)}, "
            f"got {tuple(tensors[name].shape)}{more}; give a checkpoint of this network."
        )
    return _in_own_types(tensors, own, path, network, notes), notes


def _in_own_types(
    tensors: dict[str, Tensor], own: Mapping[str, Tensor], path: Path, network: str, notes: list[str]
) -> dict[str, Tensor]:
    """The tensors in the network's types, all of them finite."""
    kinds = set()
    for name, tensor in tensors.items():
        if tensor.is_floating_point() != own[name].is_floating_point():
            pair = " and ".join(str(t.dtype).removeprefix("torch.") for t in (own[name], tensor))
            raise UsageError(f"{path} does not fit {network}: {name} must be {pair.replace(' and ', ', got ')}")
        if tensor.is_floating_point() and tensor.dtype != own[name].dtype:
            kinds.add(f"{tensor.dtype} to {own[name].dtype}".replace("torch.", ""))
            tensors[name] = tensor = tensor.to(own[name].dtype)
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UsageError(f"{path} holds weights that are not finite numbers; give another checkpoint.")
    if kinds:
        notes.append(f"weights were converted from {', '.join(sorted(kinds))}")
    return tensors


def _without_prefix(tensors: dict[str, Tensor], own: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """The tensors without what DataParallel, compiled modules and the like put before names that are not the network's.

    A prefix inside a name, of a part that was compiled, goes too.
    """
    while tensors and not own.keys() & tensors.keys():
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), None)
        if prefix is None:
            break
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        notes.append(f"the prefix {prefix!r} of its names was taken off")
    if not any(_COMPILED in name for name in own):
        plain = {name.replace(_COMPILED, ""): tensor for name, tensor in tensors.items()}
        if plain.keys() != tensors.keys():
            notes.append(f"{_COMPILED!r} in its names was taken out")
            tensors = plain
    return dict(tensors)


def _shared_with_others(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], notes: list[str]
) -> dict[str, Tensor]:
    """Missing tensors that lie in the memory of others of the network, which the file holds."""
    shared = {}
    for name in own.keys() - tensors.keys():
        twin = next((other for other in tensors if other in own and _is_one(own[name], own[other])), None)
        if twin is not None:
            shared[name] = tensors[twin]
    if shared:
        notes.append(f"tensors that the network shares are stored once: {_some(sorted(shared))}")
    return shared


def _is_one(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.data_ptr() == b.data_ptr() != 0 and a.shape == b.shape and a.stride() == b.stride())


def _check_same_names(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path, network: str) -> None:
    missing = [name for name in own if name not in tensors]
    unknown = [name for name in tensors if name not in own]
    if missing or unknown:
        parts = [f"missing {_some(missing)}"] if missing else []
        parts += [f"unknown {_some(unknown)}"] if unknown else []
        raise UsageError(
            f"{path} does not hold the weights of {network}: {'; '.join(parts)}; give a checkpoint of this network."
        )
    for name, tensor in tensors.items():
        for other in tensors:
            if name < other and own[name] is own[other] and not _equal(tensor, tensors[other]):
                raise UsageError(
                    f"{path} holds different values of {name} and {other}, which {network} shares; give another."
                )


def _equal(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and torch.equal(a, b))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


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
    """Refuse by its first bytes what PyTorch wrote, where nothing but safetensors is read."""
    if is_torch_file(file.read(9)):
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

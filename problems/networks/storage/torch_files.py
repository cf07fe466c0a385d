"""Weights that `torch.save` wrote: opened without running code, and the state dict in them found."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opt.console.errors import UsageError
from problems.data.memory import check_memory

_ZIP, _PICKLES = b"PK\x03\x04", tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
STATE_KEYS = (
    "state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "weights", "params",
)  # fmt: skip
"""Under which people put a state dict beside an optimiser's, in the order in which they are tried."""
_MOST_RATIO = 20
"""What torch writes is not packed: a file that unpacks to more times its size is a bomb."""
_ALWAYS_BYTES = 16 * 1024 * 1024
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def is_torch_file(start: bytes) -> bool:
    """Whether a file with these first nine bytes is one that `torch.save` wrote.

    A header of safetensors may be as long as a pickle's first bytes say; it begins behind eight of them.
    """
    return start[:4] == _ZIP or (start[:2] in _PICKLES and start[8:] != b"{")


def read_torch_file(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of `torch.save`, alone or under one of `STATE_KEYS`; on the processor.

    Raises:
        UsageError: The file holds code, is damaged, or has no state dict: with the names that are there.
    """
    _check_unpacked_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles in other protocols, which are read or refused all the same
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = _GLOBAL.search(str(error))
        what = f" ({named[1]})" if named else ""
        raise UsageError(
            f"{path} holds code{what}, which is not run; save the weights alone: torch.save(network.state_dict(), FILE)"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot read checkpoint {path}: {error.strerror or error}; check the path.") from None
    except Exception as error:  # a damaged file may end torch's reader in any way
        if "torchscript" in str(error).lower() or "torch.jit" in str(error):
            raise UsageError(f"{path} is a scripted network; save the state_dict() of its module") from None
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"{path} is damaged or no file of torch.save ({reason}); give another checkpoint") from None
    return state_in(loaded, path)


def state_in(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, or of the one that a mapping holds under one of `STATE_KEYS`.

    Raises:
        UsageError: There is none.
    """
    if isinstance(loaded, Mapping):
        tensors = {str(name): part.detach() for name, part in loaded.items() if isinstance(part, Tensor)}
        for key in STATE_KEYS:
            if isinstance(loaded.get(key), Mapping) and not tensors:
                return state_in(loaded[key], path)
        if tensors:
            return tensors
        names = ", ".join(map(str, list(loaded)[:8])) or "nothing"
        raise UsageError(f"{path} holds no state dict: it has {names}; expected tensors, or one of {STATE_KEYS[:3]}")
    raise UsageError(f"{path} holds a {type(loaded).__name__}; expected a state dict: torch.save(network.state_dict())")


def _check_unpacked_size(path: Path) -> None:
    size = path.stat().st_size
    unpacked = size
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as file:
                unpacked = sum(info.file_size for info in file.infolist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise UsageError(f"{path} is damaged ({error}); give another checkpoint") from None
    if unpacked > max(_ALWAYS_BYTES, _MOST_RATIO * size):
        raise UsageError(f"{path} of {size} bytes unpacks to {unpacked}, which no checkpoint does; give another")
    check_memory(unpacked)

"""Arrays of examples in one .npz file of NumPy, under the names that people give them."""

from __future__ import annotations

import itertools
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from opt.console.errors import UsageError
from opt.files.plain_file import check_regular
from problems.data.memory import say_memory
from problems.data.splits import SPLITS

_KINDS = {
    "inputs": ("x", "inputs", "input", "images", "data", "features"),
    "targets": ("y", "targets", "target", "labels", "label", "classes"),
}
_ONE_ARRAY = b"\x93NUMPY"
NAMES = "X and y, or x_train, y_train and x_search, y_search, x_test, y_test"


def read_arrays(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets of each split that a file holds.

    Args:
        path: The file. A name is a word for inputs (X, inputs, images, data, features) or for targets (y, targets,
            labels), alone or beside the split's (train, search or val, test); other arrays are left alone.

    Returns:
        (inputs, targets) by split; "data" where the file is not split.

    Raises:
        UsageError: It is no such file, is damaged, holds objects, or lacks an array: with the names that are there.
    """
    try:
        check_regular(path)
        if not zipfile.is_zipfile(path):
            with open(path, "rb") as opened:
                is_array = opened.read(len(_ONE_ARRAY)) == _ONE_ARRAY
            what = "holds one array alone" if is_array else "is no .npz file"
            raise UsageError(f"{path} {what}; write inputs and targets together with np.savez(path, X=..., y=...)")
        with np.load(path, allow_pickle=False) as file:
            places = _places(path, list(file.files))
            say_memory(str(path), _size(file, {name for pair in places.values() for name in pair}))
            return {split: (file[inputs], file[targets]) for split, (inputs, targets) in places.items()}
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}; check the path") from None
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise UsageError(f"{path} holds objects, which may hold code and are not opened; save numbers") from None
        raise UsageError(f"{path} is no .npz file, or is damaged ({error}); write it with np.savez") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
        raise UsageError(f"{path} is no .npz file, or is damaged ({error}); write it with np.savez") from None


def _places(path: Path, names: list[str]) -> dict[str, tuple[str, str]]:
    """By split the names of its two arrays."""
    found: dict[tuple[str, str], str] = {}
    for name in names:
        key = _role(name)
        if key is not None and key in found:
            raise UsageError(f"{path}: {found[key]!r} and {name!r} are both {key[1]} of {key[0]}; keep one of them")
        if key is not None:
            found[key] = name
    there = ", ".join(names) or "none"
    splits = list(dict.fromkeys(split for split, _ in found))
    if not {"train", "data"} & set(splits):
        raise UsageError(f"{path} must hold arrays {NAMES}, got {there}")
    if "data" in splits and len(splits) > 1:
        raise UsageError(f"{path} holds arrays of splits and others of none ({there}); give one kind")
    for split, kind in itertools.product(splits, _KINDS):
        if (split, kind) not in found:
            what = kind if split == "data" else f"{kind} of {split}"
            raise UsageError(f"{path} has no {what}; it holds {there}, and expected are {NAMES}")
    return {split: (found[split, "inputs"], found[split, "targets"]) for split in splits}


def _role(name: str) -> tuple[str, str] | None:
    """The split that an array's name says ("data" for none), and whether it holds inputs or targets."""
    words = [word for word in re.split(r"[_\W]+", name.lower()) if word]
    splits = [SPLITS[word] for word in words if word in SPLITS]
    kinds = [kind for kind, known in _KINDS.items() for word in words if word in known]
    if len(kinds) != 1 or len(splits) > 1 or len(words) != 1 + len(splits):
        return None
    return (splits or ["data"])[0], kinds[0]


def _size(file: np.lib.npyio.NpzFile, names: set[str]) -> int:
    """Bytes of arrays when they are unpacked."""
    assert file.zip is not None
    return sum(info.file_size for info in file.zip.infolist() if info.filename.removesuffix(".npy") in names)

"""Networks of other libraries by their names there: timm and torchvision, where they are installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import nn

from opt.console.errors import UsageError, nearest

PACKAGES = ("timm", "torchvision")


def build_of_package(package: str, name: str, input_shape: Sequence[int], n_outputs: int) -> nn.Module:
    """A network with random weights.

    Args:
        package: One of `PACKAGES`.
        name: Of the network there.
        input_shape: (channels, height, width) of an image.
        n_outputs: Answers.

    Raises:
        UsageError: The package is not installed, has no such network, or does not build it so.
    """
    module = _imported(package)
    known = _names(package, module)
    if name not in known:
        raise UsageError(f"{package} has no network {name!r}{nearest(name, known)}; it has {len(known)} others")
    try:
        if package == "timm":
            return module.create_model(name, pretrained=False, num_classes=n_outputs, in_chans=int(input_shape[0]))
        return module.models.get_model(name, weights=None, num_classes=n_outputs)
    except Exception as error:  # another's library may fail in any way: the reason is passed on
        reason = " ".join(str(error).split())
        raise UsageError(f"{package}:{name} cannot be built: {type(error).__name__}: {reason}") from None


def _imported(package: str) -> ModuleType:
    try:
        module = importlib.import_module(package)
        if package == "torchvision":
            importlib.import_module("torchvision.models")
    except ImportError as error:
        if error.name and error.name.partition(".")[0] == package:
            raise UsageError(
                f"networks of {package} need the package {package}, which is not installed: pip install {package}"
            ) from None
        raise UsageError(f"{package} does not load here: {error}") from None
    except Exception as error:  # such as an operator that this torch lacks
        raise UsageError(f"{package} does not load here: {type(error).__name__}: {error}") from None
    return module


def _names(package: str, module: Any) -> list[str]:
    return list(module.list_models() if package == "timm" else module.models.list_models())

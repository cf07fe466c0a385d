"""An odd network as a case of a test: how it is built, what it is tried on, and whether it can be made smaller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

N_CLASSES = 5
N_WORDS = 20

Examples = tuple[Any, Tensor]
"""Inputs, as a tensor, a tuple or a dict, and targets."""


@dataclass(frozen=True)
class OddNetwork:
    """One case.

    Args:
        build: Makes the network; its docstring says how it is odd.
        examples: `(n, generator) -> (inputs, targets)`.
        refused: Part of the line that refuses it; "" where it is compressed.
        noted: Part of what is said of it.
        fresh: Makes the network that takes the saved tensors, where that is not `build`.
        options: Of its workload.
    """

    build: Callable[[], nn.Module]
    examples: Callable[[int, torch.Generator], Examples]
    refused: str = ""
    noted: str = ""
    fresh: Callable[[], nn.Module] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


NETWORKS: dict[str, OddNetwork] = {}
"""Every case by name."""


def images(n: int, generator: torch.Generator) -> Examples:
    """(n, 3, 8, 8) and classes."""
    return torch.randn(n, 3, 8, 8, generator=generator), classes(n, generator)


def rows(n: int, generator: torch.Generator) -> Examples:
    """(n, 12) and classes."""
    return torch.randn(n, 12, generator=generator), classes(n, generator)


def tokens(n: int, generator: torch.Generator) -> Examples:
    """(n, 10) words and classes."""
    return torch.randint(0, N_WORDS, (n, 10), generator=generator), classes(n, generator)


def series(n: int, generator: torch.Generator) -> Examples:
    """(n, 4, 24) channels over time and classes."""
    return torch.randn(n, 4, 24, generator=generator), classes(n, generator)


def classes(n: int, generator: torch.Generator) -> Tensor:
    """(n,) classes."""
    return torch.randint(0, N_CLASSES, (n,), generator=generator)


def odd(
    examples: Callable[[int, torch.Generator], Examples] = images,
    *,
    refused: str = "",
    noted: str = "",
    fresh: Callable[[], nn.Module] | None = None,
    **options: Any,
) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Register the builder of a case; see `OddNetwork`."""

    def register(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        assert build.__doc__ and build.__name__ not in NETWORKS
        NETWORKS[build.__name__] = OddNetwork(build, examples, refused, noted, fresh, options)
        return build

    return register


def wired(forward: Callable[..., Any], **parts: Any) -> nn.Module:
    """A network of a class of its own, whose `forward` is the function, and whose attributes are the parts."""
    network: nn.Module = type("Wired", (nn.Module,), {"forward": forward})()
    for name, part in parts.items():
        setattr(network, name, part)
    return network


def chain(*modules: nn.Module) -> nn.Sequential:
    """Modules one behind the other."""
    return nn.Sequential(*modules)


def convolution(n_in: int, n_out: int, **options: Any) -> nn.Conv2d:
    """3 x 3, of the same size."""
    return nn.Conv2d(n_in, n_out, 3, **{"padding": 1, **options})


def small_mlp() -> nn.Sequential:
    """For rows: nothing odd."""
    return chain(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 10), nn.ReLU(), nn.Linear(10, N_CLASSES))


def small_cnn() -> nn.Sequential:
    """For images: nothing odd."""
    return chain(
        convolution(3, 6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        convolution(6, 8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, N_CLASSES),
    )

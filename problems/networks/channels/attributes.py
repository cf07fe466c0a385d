"""Numbers among a module's attributes that say how many channels or heads there are, and must change with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from torch import nn

from problems.networks.channels.groups import Group
from problems.networks.channels.tracing import ATTRIBUTE

_MOST = 8


def with_attributes(network: nn.Module, group: Group) -> Iterator[Group]:
    """Forms of a group that change attributes of modules around its layers, too; which is right is to be tried.

    A view of a `forward` takes its sizes from such numbers: heads of attention written by hand, channels of a picture
    that a linear layer makes. Those that equal the group's places or the entries of one of its axes are candidates:
    all together, then each by itself.

    Args:
        network: That the group is of.
        group: Left as it is.
    """
    candidates: dict[str, np.ndarray] = {}
    by_size = {group.size: np.arange(group.size)}
    for axes in group.places.values():
        for along in axes.values():
            by_size.setdefault(len(along), along)
    for name, module in _around(network, group):
        for key, value in list(vars(module).items()):
            if key == "training" or key.startswith("_"):
                continue
            for attribute, number in _numbers(key, value):
                if number in by_size:
                    candidates[f"{name}{ATTRIBUTE}{attribute}"] = by_size[number]
    of_places = {key: along for key, along in candidates.items() if len(along) == group.size}
    forms = [of_places, candidates, *({key: along} for key, along in list(candidates.items())[:_MOST])]
    known: list[set[str]] = [set()]
    for form in forms:
        if set(form) not in known:
            known.append(set(form))
            places = {**group.places, **{key: {0: along} for key, along in form.items()}}
            yield dataclasses.replace(group, places=places)


def _around(network: nn.Module, group: Group) -> Iterator[tuple[str, nn.Module]]:
    """Modules that hold members of the group, however deep, or stand beside one."""
    names = {""}
    for tensor in group.places:
        parts = tensor.partition("#")[0].split(".")[:-1]
        names |= {".".join(parts[:k]) for k in range(len(parts))}
    for name, module in network.named_modules():
        if name in names or isinstance(module, nn.Unflatten):
            yield name, module


def _numbers(key: str, value: object) -> Iterator[tuple[str, int]]:
    if isinstance(value, int) and not isinstance(value, bool) and value > 1:
        yield key, value
    elif isinstance(value, (tuple, list)) and all(type(part) is int for part in value):
        yield from ((f"{key}:{at}", part) for at, part in enumerate(value) if part > 1)

"""Groups of channels: what can only go together, and layers whose channels cannot go, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn

from problems.networks.channels.tracing import HEADS, Trace

Places = dict[str, dict[int, np.ndarray]]
"""For each tensor by its name, and each of its axes: the place in the group by entry, -1 for none; int64 arrays."""


@dataclass
class Group:
    """Channels that can only go together: filters, what is added to them, norms behind them, inputs of what follows.

    Attributes:
        root: The layer that the group is named after, the first that runs.
        size: Number of places, each of one channel of every member or of several.
        layers: Modules that make the channels, in the order in which they run.
        places: Of every member's tensors.
    """

    root: str
    size: int
    layers: list[str]
    places: Places = field(default_factory=dict)

    @property
    def key(self) -> bytes:
        """What groups of the same places share."""
        parts = [
            f"{name} {axis}".encode() + along.tobytes()
            for name, axes in self.places.items()
            for axis, along in axes.items()
        ]
        return b"|".join(sorted(parts))


@dataclass(frozen=True)
class LeftOut:
    """A layer whose channels stay.

    Attributes:
        layer: Its name.
        reason: Why.
        share: Share of the network's parameters that its own weights hold.
    """

    layer: str
    reason: str
    share: float

    def __str__(self) -> str:
        return f"{self.layer} ({self.share:.1%}: {self.reason})"


Producer = tuple[str, int]
"""A tensor's name and its axis of channels that it makes."""


def groups_of(network: nn.Module, trace: Trace) -> tuple[list[Group], dict[str, str]]:
    """Groups in the order in which their roots run, and reasons by the layers whose channels cannot go.

    Args:
        network: That was traced.
        trace: Of it.
    """
    classes = trace.labels.classes()
    staying = trace.labels.staying(classes)
    producers = {key: owner for key, owner in _producers(network) if key[0] in trace.used}
    numbers = {key: found for key in producers if (found := _classes_along(trace, classes, key)) is not None}
    passing = _passing(network, producers, numbers, len(classes))
    order = {name: k for k, name in enumerate(trace.running)}

    def place_in_order(key: Producer) -> tuple[bool, int]:
        return not _is_layer(network, producers[key]), order.get(producers[key], len(order))

    groups, left_out = [], {}
    for keys in _together({key: n for key, n in numbers.items() if key not in passing}, len(classes)):
        keys.sort(key=place_in_order)
        own = _in_order_of_first(np.concatenate([numbers[key] for key in keys]))
        keys += [key for key in passing if np.isin(numbers[key], own).any()]
        layers = list(dict.fromkeys(producers[key] for key in keys))
        if reason := _reason(own, staying):
            left_out.update(dict.fromkeys(layers, reason))
        else:
            groups.append(Group(layers[0], len(own), layers, _places(trace, classes, own)))
    return sorted(groups, key=lambda group: order.get(group.root, len(order))), left_out


def _in_order_of_first(values: np.ndarray) -> np.ndarray:
    """Each value once, in the order in which they first come."""
    _, first = np.unique(values, return_index=True)
    return values[np.sort(first)]


def _reason(own: np.ndarray, staying: dict[int, str]) -> str:
    """Why sets of channels cannot go; "" where they can."""
    stays = next((staying[n] for n in own.tolist() if n in staying), "")
    return stays or ("" if len(own) > 1 else "all its channels can only go together")


def _passing(
    network: nn.Module, producers: dict[Producer, str], numbers: dict[Producer, np.ndarray], n: int
) -> list[Producer]:
    """Depthwise convolutions and bare parameters whose channels others make."""
    may_pass = [key for key in numbers if _passes_on(network, producers[key])]
    made = [numbers[key] for key in numbers if key not in may_pass]
    is_made = np.isin(np.arange(n), np.concatenate([*made, np.empty(0, dtype=np.int64)]))
    return [key for key in may_pass if is_made[numbers[key]].all()]


def _producers(network: nn.Module) -> Iterator[tuple[Producer, str]]:
    """Tensors and axes whose entries make a channel each, with the module that they are named after."""
    for name, module in network.named_modules():
        at = f"{name}." if name else ""
        if isinstance(module, nn.MultiheadAttention):
            yield (name + HEADS, 0), name
            yield (f"{at}out_proj.weight", 0), f"{at}out_proj"
        elif isinstance(module, _LAYERS) and "weight" in module._parameters:
            yield (f"{at}weight", _axis_of_channels(module)), name
        elif not isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
            for leaf, tensor in module._parameters.items():
                if tensor is not None and sum(size > 1 for size in tensor.shape) > 1:
                    yield from (((f"{at}{leaf}", axis), f"{at}{leaf}") for axis in range(tensor.ndim))


_LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.EmbeddingBag)


def _axis_of_channels(module: nn.Module) -> int:
    """Of a layer's weight: of what it makes."""
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        is_depthwise = module.groups > 1 and module.groups == module.in_channels
        return 0 if is_depthwise else 1
    return 1 if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) else 0


def _is_layer(network: nn.Module, name: str) -> bool:
    """Whether it is a convolution or a linear layer, after which a group is rather named."""
    try:
        return isinstance(network.get_submodule(name), (nn.Linear, nn.modules.conv._ConvNd))
    except AttributeError:  # a bare parameter
        return False


def _passes_on(network: nn.Module, name: str) -> bool:
    """Whether it rather passes channels on than makes them: a depthwise convolution or a bare parameter."""
    try:
        module = network.get_submodule(name)
    except AttributeError:  # a bare parameter
        return True
    return isinstance(module, nn.modules.conv._ConvNd) and module.groups == module.in_channels > 1


def _classes_along(trace: Trace, classes: np.ndarray, key: Producer) -> np.ndarray | None:
    """(size,) numbers of sets along a tensor's axis; None where it has no labels."""
    for axis, first, size in trace.axes.get(key[0], ()):
        if axis == key[1]:
            return classes[first : first + size]
    return None


def _together(numbers: dict[Producer, np.ndarray], n: int) -> list[list[Producer]]:
    """Producers that share a set of channels, directly or by others."""
    keys = list(numbers)
    if not keys:
        return []
    rows = np.concatenate([np.full(len(numbers[key]), k) for k, key in enumerate(keys)])
    columns = np.concatenate([numbers[key] for key in keys]) + len(keys)
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(keys) + n,) * 2)
    parts = connected_components(graph, directed=False)[1][: len(keys)]
    return [[key for key, part in zip(keys, parts, strict=True) if part == number] for number in np.unique(parts)]


def _places(trace: Trace, classes: np.ndarray, own: np.ndarray) -> Places:
    """Where the channels of a group stand in every tensor."""
    place_of = np.full(int(classes.max()) + 1, -1)
    place_of[own] = np.arange(len(own))
    places: Places = {}
    for name, axes in trace.axes.items():
        if name not in trace.used:
            continue
        for axis, first, size in axes:
            along = place_of[classes[first : first + size]]
            if (along >= 0).any():
                places.setdefault(name, {})[axis] = along
    return places


def overlap(a: Group, b: Group) -> bool:
    """Whether two groups hold channels in common."""
    for name, axes in a.places.items():
        for axis, along in axes.items():
            other = b.places.get(name, {}).get(axis)
            if other is not None and bool(((along >= 0) & (other >= 0)).any()):
                return True
    return False

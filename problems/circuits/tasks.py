"""Tasks: which weights a circuit computes from which, the published data sets on any int8 network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import nn

from opt.console.errors import UsageError, nearest
from problems.networks.layers.quantised import Int8Weight
from problems.networks.storage.checkpoints import as_numpy

TaskName = Literal[
    "single_filter",
    "reversed_single_filter",
    "zero_outer",
    "single_channel",
    "grid_size",
    "layer_bypass",
    "all_layers",
    "no_input",
    "mobilenet",
]

N_FIRST = 96
"""Weights of a layer that the task `mobilenet` starts from."""


@dataclass(frozen=True)
class Place:
    """Outputs that become weights of one layer: output k is weight `index[k]`, flat, of the layer.

    Args:
        layer: The layer's name.
        index: (n,) int64.
    """

    layer: str
    index: np.ndarray


@dataclass(frozen=True)
class WeightData:
    """One data set: what the circuit is given, what it must give, and where that belongs.

    Args:
        name: For reports.
        inputs: (n_inputs,) int8.
        outputs: (n_outputs,) int8; places' outputs one after the other.
        places: Layers that the outputs are weights of.
        n_replaced: Outputs that need not be loaded any more: those that are not among the inputs themselves.
    """

    name: str
    inputs: np.ndarray
    outputs: np.ndarray
    places: tuple[Place, ...]
    n_replaced: int

    def codes(self, outputs: np.ndarray, weights: Mapping[str, Int8Weight]) -> dict[str, np.ndarray]:
        """The layers' codes with these outputs, (n_outputs,) int8, in their places; the rest as trained."""
        codes, start = {}, 0
        for place in self.places:
            flat = weights[place.layer].codes.ravel().copy()
            flat[place.index] = outputs[start : start + len(place.index)]
            codes[place.layer] = flat.reshape(weights[place.layer].codes.shape)
            start += len(place.index)
        return codes


@dataclass(frozen=True)
class Task:
    """A named task on one network.

    Args:
        name: One of `TASKS`.
        data: One data set, or several for one circuit that a multiplexer tells apart.
        rows: Published grid, the smallest where there are several.
        cols: Likewise.
        threshold: Published threshold, root mean squared error an output; the least one.
    """

    name: str
    data: tuple[WeightData, ...]
    rows: int
    cols: int
    threshold: float

    @property
    def n_outputs(self) -> int:
        """Weights that are computed, over all data sets."""
        return sum(len(d.outputs) for d in self.data)

    @property
    def n_replaced(self) -> int:
        """Weights that need not be loaded any more, over all data sets."""
        return sum(d.n_replaced for d in self.data)


def build_task(
    name: str,
    weights: Mapping[str, Int8Weight],
    *,
    layer: str | None = None,
    source: str | None = None,
    kernel: int = 0,
    left_out: Mapping[str, str] | None = None,
) -> Task:
    """The named task on a network's int8 weights.

    Args:
        name: One of `TASKS`.
        weights: The network's int8 weights by layer.
        layer: Layer whose weights are computed; None takes the task's own choice: the first convolution of more than
            3 x 3 (single_filter and its like, single_channel), the second convolution (layer_bypass), all
            convolutions (all_layers, no_input), the largest convolution (mobilenet).
        source: Layer that `layer_bypass` computes from; None takes the convolution before.
        kernel: Which kernel of the layer, output channels outermost; for single_channel which input channel.
        left_out: Why other layers of the network have no int8 weights, by name.

    Raises:
        UsageError: The network has no such layer or kernel, or none that the task needs.
    """
    if name not in TASKS:
        raise UsageError(f"task must be one of {', '.join(TASKS)}, got {name!r}{nearest(name, TASKS)}")
    for own in (layer, source):
        if own is not None and own not in weights:
            if left_out and own in left_out:
                raise UsageError(f"layer {own!r} cannot have int8 weights: {left_out[own]}; give another layer")
            raise UsageError(
                f"the network has no convolution or linear layer {own!r}{nearest(own, weights)}; "
                f"it has {', '.join(weights)}"
            )
    build, rows, cols, threshold = TASKS[name]
    return Task(name, build(_Choice(name, weights, layer, source, kernel)), rows, cols, threshold)


@dataclass(frozen=True)
class _Choice:
    """What was asked, and the layers that it comes to."""

    task: str
    weights: Mapping[str, Int8Weight]
    layer: str | None
    source: str | None
    kernel: int

    @property
    def convolutions(self) -> list[str]:
        """Names of the convolutions, in the order of the modules."""
        return [name for name, w in self.weights.items() if w.codes.ndim > 2]

    def with_rim(self) -> list[str]:
        """The layer asked for, or every convolution, that has an outer part around its central 3 x 3."""
        names = [n for n in ([self.layer] if self.layer else self.weights) if _has_rim(self.weights[n].codes)]
        if not names:
            where = (
                f"layer {self.layer!r} has shape {self._shape(self.layer)}" if self.layer else "this network has none"
            )
            raise UsageError(
                f"task {self.task} needs 2-D kernels of 5 x 5 or more, odd; {where}; choose another "
                "layer, or task no_input"
            )
        return names

    def _shape(self, name: str) -> str:
        return " x ".join(str(n) for n in self.weights[name].codes.shape)

    def chosen_kernel(self) -> tuple[str, np.ndarray]:
        """A layer and the (k * k,) flat indices of one of its kernels."""
        name = self.with_rim()[0]
        shape = self.weights[name].codes.shape
        n_kernels = shape[0] * shape[1]
        if not 0 <= self.kernel < n_kernels:
            raise UsageError(f"kernel must lie in 0 .. {n_kernels - 1} for layer {name!r}, got {self.kernel}")
        size = shape[2] * shape[3]
        return name, self.kernel * size + np.arange(size)


def _has_rim(codes: np.ndarray) -> bool:
    return codes.ndim == 4 and min(codes.shape[2:]) >= 5 and codes.shape[2] % 2 == 1 and codes.shape[3] % 2 == 1


def _core(shape: tuple[int, ...]) -> np.ndarray:
    """(h, w) bool: the central 3 x 3 of a kernel."""
    mask = np.zeros(shape[2:], dtype=bool)
    y, x = shape[2] // 2, shape[3] // 2
    mask[y - 1 : y + 2, x - 1 : x + 2] = True
    return mask


def _from_to(choice: _Choice, name: str, inputs: np.ndarray, outputs: np.ndarray) -> WeightData:
    codes = choice.weights[name].codes.ravel()
    return WeightData(name, codes[inputs], codes[outputs], (Place(name, outputs),), len(outputs))


def _single_filter(choice: _Choice) -> tuple[WeightData, ...]:
    name, index = choice.chosen_kernel()
    core = _core(choice.weights[name].codes.shape).ravel()
    return (_from_to(choice, name, index[core], index[~core]),)


def _reversed_single_filter(choice: _Choice) -> tuple[WeightData, ...]:
    name, index = choice.chosen_kernel()
    core = _core(choice.weights[name].codes.shape).ravel()
    return (_from_to(choice, name, index[~core], index[core]),)


def _zero_outer(choice: _Choice) -> tuple[WeightData, ...]:
    (data,) = _single_filter(choice)
    zeros = np.zeros_like(data.outputs)
    return (WeightData(data.name, data.inputs, zeros, data.places, data.n_replaced),)


def _core_to_outer(choice: _Choice, name: str, kernels: np.ndarray) -> WeightData:
    """The cores of (n,) kernels of a layer, one after the other, to their outer parts."""
    shape = choice.weights[name].codes.shape
    core = _core(shape).ravel()
    index = kernels[:, None] * core.size + np.arange(core.size)
    return _from_to(choice, name, index[:, core].ravel(), index[:, ~core].ravel())


def _single_channel(choice: _Choice) -> tuple[WeightData, ...]:
    name = choice.with_rim()[0]
    n_out, n_in = choice.weights[name].codes.shape[:2]
    if not 0 <= choice.kernel < n_in:
        raise UsageError(f"kernel, here an input channel, must lie in 0 .. {n_in - 1}, got {choice.kernel}")
    return (_core_to_outer(choice, name, np.arange(n_out) * n_in + choice.kernel),)


def _layer_bypass(choice: _Choice) -> tuple[WeightData, ...]:
    convolutions = choice.convolutions
    layer = choice.layer or (convolutions[1] if len(convolutions) > 1 else None)
    source = choice.source
    if source is None and layer in convolutions[1:]:
        source = convolutions[convolutions.index(layer) - 1]
    if layer is None or source is None or layer == source:
        raise UsageError(
            "task layer_bypass needs two different layers; name them by layer and source, of "
            + ", ".join(choice.weights)
        )
    inputs, outputs = choice.weights[source].codes.ravel(), choice.weights[layer].codes.ravel()
    name = f"{source} -> {layer}"
    return (WeightData(name, inputs, outputs, (Place(layer, np.arange(len(outputs))),), len(outputs)),)


def _all_layers(choice: _Choice) -> tuple[WeightData, ...]:
    names = choice.with_rim()
    shapes = {name: choice.weights[name].codes.shape for name in names}
    return tuple(_core_to_outer(choice, n, np.arange(shapes[n][0] * shapes[n][1])) for n in names)


def _no_input(choice: _Choice) -> tuple[WeightData, ...]:
    names = [choice.layer] if choice.layer else choice.convolutions or list(choice.weights)
    codes = [choice.weights[name].codes.ravel() for name in names]
    places = tuple(Place(name, np.arange(len(c))) for name, c in zip(names, codes, strict=True))
    outputs = np.concatenate(codes)
    return (WeightData(" + ".join(names), np.zeros(1, dtype=np.int8), outputs, places, len(outputs)),)


def _mobilenet(choice: _Choice) -> tuple[WeightData, ...]:
    candidates = choice.convolutions or list(choice.weights)
    name = choice.layer or max(candidates, key=lambda n: choice.weights[n].codes.size)
    codes = choice.weights[name].codes.ravel()
    first = codes[:N_FIRST]
    if len(first) == len(codes):
        raise UsageError(
            f"task mobilenet computes a layer from its first {N_FIRST} weights and layer {name!r} has only "
            f"{len(codes)}; load it as it is, or use task no_input"
        )
    place = Place(name, np.arange(len(codes)))
    return (WeightData(name, first, codes, (place,), len(codes) - len(first)),)


def weight_error(network: nn.Module, weights: Mapping[str, Int8Weight], task: Task, kind: str) -> float:
    """Error of a network's own weights against those that a task's circuits are to give, in int8 codes.

    Args:
        network: With computed weights in their places.
        weights: The int8 weights as trained, whose scales it has.
        task: What was to be computed.
        kind: se, mse, ae or mae, over all computed weights.
    """
    parts = []
    for data in task.data:
        start = 0
        for place in data.places:
            layer: Any = network.get_submodule(place.layer)
            codes = np.rint(as_numpy(layer.weight).astype(np.float64) / weights[place.layer].scale).ravel()
            parts.append(codes[place.index] - data.outputs[start : start + len(place.index)])
            start += len(place.index)
    difference = np.concatenate(parts)
    size = difference**2 if kind in ("se", "mse") else np.abs(difference)
    return float(size.mean() if kind in ("mse", "mae") else size.sum())


TASKS: dict[str, tuple[Callable[[_Choice], tuple[WeightData, ...]], int, int, float]] = {
    "single_filter": (_single_filter, 5, 5, 0.0),
    "reversed_single_filter": (_reversed_single_filter, 5, 5, 0.0),
    "zero_outer": (_zero_outer, 5, 5, 0.0),
    "single_channel": (_single_channel, 30, 7, 0.0),
    "grid_size": (_single_filter, 5, 5, 0.0),
    "layer_bypass": (_layer_bypass, 30, 7, 0.0),
    "all_layers": (_all_layers, 256, 31, 1.0),
    "no_input": (_no_input, 256, 31, 0.0),
    "mobilenet": (_mobilenet, 256, 31, 0.0),
}
"""How each task's data are made, its grid (rows, columns), and its least published threshold."""

"""Channels of any torch network: which go together, and the smaller network that is left of the kept ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch_pruning
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.networks.layers.batch_norms import BATCH_NORMS
from problems.networks.layers.prunable import hooked, output_positions, prunable_layers, select_layers

# Largest difference between the outputs of the masked and of the pruned network, relative to the largest output.
_TOLERANCE = 1e-4


@dataclass
class ChannelGroup:
    """Channels that can only go together: filters, what is added to them, norms behind them, inputs of what follows.

    Attributes:
        root: The layer that the group is named after, the first that runs.
        size: Number of channels.
        outputs: For each module that makes or passes on the channels: channel by row, (n_rows,) int64.
        inputs: For each layer that takes them in: (columns, channel by column), int64 each.
    """

    root: str
    size: int
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


class ChannelSpace:
    """One place of the mask for each channel (filter, neuron) of the chosen groups of coupled layers.

    Which layers share their channels is found by Torch-Pruning's dependency graph (Fang et al. 2023,
    arXiv:2301.12900), which sequential and residual networks both fit. The outputs of the network are no channels.

    Args:
        model: The network, in evaluation mode; left as it is.
        patterns: Shell patterns of layers as for `select_layers`; None takes every layer.
        example: (n, ...) images, two of which are run to trace the network.

    Attributes:
        names: Convolutions and linear layers whose rows are channels, in the order in which they run.
        labels: The root of each group.
        sizes: Channels of each group.
        groups: The groups, in the order in which their roots run.
    """

    def __init__(self, model: nn.Module, patterns: str | None, example: Tensor) -> None:
        self._example = example[:2]
        self._model = model
        order = select_layers(model, "*", example=self._example)
        chosen = set(order if patterns is None else select_layers(model, patterns, example=self._example))
        groups = _coupled(model, self._example, order, last=order[-1])
        self.groups = [g for g in groups if chosen & set(g.outputs)]
        if not self.groups:
            raise UsageError("the chosen layers have no channels that can go; the last layer's are the answers")
        self.labels = [g.root for g in self.groups]
        self.sizes = tuple(g.size for g in self.groups)
        rows = {name for g in self.groups for name in g.outputs}
        self.names = [name for name in order if name in rows]
        self.starts = np.cumsum([0, *self.sizes])
        self._layers = prunable_layers(model)
        self._order = order
        self._positions: dict[str, int] = {}
        with hooked({n: self._layers[n] for n in order}, self._count), torch.no_grad():
            model(self._example)
        self._shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}

    def _count(self, name: str, x: Tensor) -> None:
        self._positions[name] = output_positions(self._layers[name], x)

    def tensors(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Rows of weights, biases and norms that go with their channel."""
        found: dict[str, np.ndarray] = {}
        for group, kept in self._parts(mask):
            for name, channel in group.outputs.items():
                for kind in ("weight", "bias"):
                    shape = self._shapes.get(f"{name}.{kind}")
                    if shape is not None:
                        rows = kept[channel].reshape(-1, *([1] * (len(shape) - 1)))
                        found[f"{name}.{kind}"] = np.ascontiguousarray(np.broadcast_to(rows, shape))
        return found

    def _parts(self, mask: np.ndarray) -> list[tuple[ChannelGroup, np.ndarray]]:
        return [(g, mask[a:b]) for g, a, b in zip(self.groups, self.starts, self.starts[1:], strict=False)]

    def pool(self, scores: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Sums over the rows of all layers that share a channel."""
        by_name = dict(zip(self.names, scores, strict=True))
        pooled = []
        for group in self.groups:
            total = np.zeros(group.size)
            for name, channel in group.outputs.items():
                if name in by_name:
                    total += np.bincount(
                        channel, weights=by_name[name].reshape(len(channel), -1).sum(axis=1), minlength=group.size
                    )
            pooled.append(total)
        return pooled

    def empty_layers(self, mask: np.ndarray) -> list[str]:
        """Layers of which a mask leaves nothing."""
        parts = self._parts(mask)
        return [
            n for g, kept in parts for n, channel in g.outputs.items() if n in self._layers and not kept[channel].any()
        ]

    def kept_axes(self, mask: np.ndarray) -> dict[str, tuple[np.ndarray | None, np.ndarray | None]]:
        """For each module that a mask cuts: indices of the rows and of the input columns that stay, None for all."""
        rows: dict[str, np.ndarray] = {}
        columns: dict[str, np.ndarray] = {}
        for group, kept in self._parts(mask):
            for name, channel in group.outputs.items():
                rows[name] = np.flatnonzero(kept[channel])
            for name, (column, channel) in group.inputs.items():
                # layers that take in several groups side by side lose the columns of each
                gone = column[~kept[channel]]
                n = self._layers[name].weight.shape[1]
                columns[name] = np.setdiff1d(columns.get(name, np.arange(n)), gone, assume_unique=True)
        return {name: (rows.get(name), columns.get(name)) for name in {**rows, **columns}}

    def cost(self, mask: np.ndarray) -> tuple[int, int]:
        """Parameters and multiply-adds of the pruned network."""
        axes = self.kept_axes(mask)
        parameters = macs = 0
        for name, shape in self._shapes.items():
            module, _, kind = name.rpartition(".")
            rows, columns = axes.get(module, (None, None))
            n_out = shape[0] if rows is None else len(rows)
            per_row = int(np.prod(shape[1:]))
            if columns is not None and len(shape) > 1:
                per_row = per_row // shape[1] * len(columns)
            parameters += n_out * per_row
            if kind == "weight" and module in self._positions:
                macs += n_out * per_row * self._positions[module]
        return parameters, macs

    def prune(self, model: nn.Module, mask: np.ndarray) -> nn.Module:
        """The smaller network that is left of the kept channels.

        Args:
            model: A network of this space's architecture, whatever its weights; left as it is.
            mask: (n,) bool, one or more kept in each group.

        Raises:
            UsageError: A group keeps nothing, or the smaller network's outputs are not those of the masked one
                (an activation that does not keep zero at zero, say).
        """
        empty = self.empty_layers(mask)
        if empty:
            raise UsageError(f"nothing is left of {', '.join(empty)}; keep at least one channel of each layer")
        whole = copy.deepcopy(model).eval()
        with torch.no_grad():
            for name, kept in self.tensors(mask).items():
                whole.get_parameter(name).mul_(torch.tensor(kept))
        pruned = _removed(whole, self._example, [(g.root, np.flatnonzero(~kept)) for g, kept in self._parts(mask)])
        with torch.no_grad():
            before, after = whole(self._example), pruned(self._example)
        worst = float((before - after).abs().max()) / max(float(before.abs().max()), 1e-30)
        if worst > _TOLERANCE:
            raise UsageError(
                f"the pruned network's outputs differ from the masked one's by {worst:.2g} of the largest: some layer "
                "gives other than zero for zero; choose --problem.layers without it"
            )
        return pruned


def _coupled(model: nn.Module, example: Tensor, order: Sequence[str], *, last: str) -> list[ChannelGroup]:
    """All groups but those of the network's outputs, roots in the order in which they run."""
    traced = copy.deepcopy(model).eval().requires_grad_(True)
    name_of = {module: name for name, module in traced.named_modules()}
    graph = _graph(traced, example)
    groups = []
    for found in graph.get_all_groups(root_module_types=[nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d]):
        size = len(found[0].idxs)
        group = ChannelGroup("", size)
        for item in found:
            name = name_of.get(item.dep.target.module)
            if name is None:
                continue
            ids, channels = (np.array(v, dtype=np.int64) for v in (item.idxs, item.root_idxs))
            if graph.is_out_channel_pruning_fn(item.dep.handler):
                if isinstance(item.dep.target.module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *BATCH_NORMS)):
                    by_row = np.empty(len(ids), dtype=np.int64)
                    by_row[ids] = channels
                    group.outputs[name] = by_row
            elif isinstance(item.dep.target.module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
                group.inputs[name] = (ids, channels)
        if last in group.outputs:
            continue
        group.root = min((n for n in group.outputs if n in order), key=order.index)
        groups.append(group)
    return sorted(groups, key=lambda g: order.index(g.root))


def _graph(model: nn.Module, example: Tensor) -> torch_pruning.DependencyGraph:
    try:
        return torch_pruning.DependencyGraph().build_dependency(model, example_inputs=example)
    except Exception as error:  # a user's network may defy tracing in any way: the reason is passed on
        raise UsageError(f"the network's channels cannot be traced: {error}; search --problem.level weights") from None


def _removed(model: nn.Module, example: Tensor, gone: Sequence[tuple[str, np.ndarray]]) -> nn.Module:
    pruned = copy.deepcopy(model).requires_grad_(True)
    graph = _graph(pruned, example)
    modules = dict(pruned.named_modules())
    for root, ids in gone:
        if len(ids):
            module = modules[root]
            remove = graph.get_pruner_of_module(module).prune_out_channels
            graph.get_pruning_group(module, remove, ids.tolist()).prune()
    return pruned.eval()

"""Masks of channels: one place for each channel that can be cut out of a network with all that hangs on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.data.examples import Inputs, mapped
from problems.networks.channels.cuttable import Cuttable
from problems.networks.channels.cutting import cut, kept_entries
from problems.networks.channels.groups import Group
from problems.networks.channels.layout import layout_of, metadata_of
from problems.networks.channels.trial import Run
from problems.networks.layers.batch_norms import BATCH_NORMS
from problems.networks.layers.prunable import prunable_layers, select_layers
from problems.workloads.plain_network import tensors_of, with_tensors

_N_EXAMPLES = 2


@dataclass
class ChannelGroup:
    """Channels that can only go together, as rows and columns of layers.

    Attributes:
        root: The layer that the group is named after, the first that runs.
        size: Number of channels.
        layers: Modules that make the channels.
        outputs: For each convolution, linear layer and batch norm that makes or passes on the channels: channel by row,
            (n_rows,) int64, -1 for rows of no channel of the group.
        inputs: For each convolution and linear layer that takes them in: (columns, channel by column), int64 each.
    """

    root: str
    size: int
    layers: list[str]
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


class ChannelSpace:
    """One place of the mask for each channel (filter, neuron, head of attention) of the chosen groups of layers.

    Which channels can only go together is found by `problems.networks.channels`. The outputs of the network are no
    channels.

    Args:
        model: The network, in evaluation mode; left as it is.
        patterns: Shell patterns of layers as for `select_layers`; None takes every layer.
        example: Inputs of some examples, two of which are run to trace the network.
        pick: Takes what is judged from the network's outputs.

    Attributes:
        names: Convolutions and linear layers whose rows are channels, in the order in which they run.
        labels: The root of each group.
        sizes: Channels of each group.
        groups: The groups, in the order in which their roots run.
        cuttable: What was found of the network, with what is left out.
        is_plain: Whether zeros in the rows of `tensors` make the network that is left, as where nothing but
            convolutions, linear layers and batch norms are cut, and every activation keeps zero at zero.
    """

    def __init__(
        self,
        model: nn.Module,
        patterns: str | None,
        example: Inputs,
        pick: Callable[[Any], Any] = lambda outputs: outputs,
    ) -> None:
        example = mapped(example, lambda tensor: tensor[:_N_EXAMPLES])
        self._model = model
        self._shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        self._layers = prunable_layers(model)
        chosen = None if patterns is None else self._selected(patterns, example)
        self.cuttable = Cuttable(
            model, Run(example, pick), lambda layers: chosen is None or any(name in chosen for name in layers)
        )
        self.groups = [self._as_layers(group) for group in self.cuttable.groups]
        self.labels = [g.root for g in self.groups]
        self.sizes = tuple(g.size for g in self.groups)
        rows = {name for g in self.groups for name in g.outputs}
        self.names = [name for name in self.cuttable.order if name in rows and name in self._layers]
        self.starts = np.cumsum([0, *self.sizes])
        self.is_plain = all(map(self._keeps_layers, self.cuttable.groups)) and self.cuttable.keeps_zero(self.tensors)

    def _selected(self, patterns: str, example: Inputs) -> set[str]:
        kinds = (nn.modules.conv._ConvNd, nn.MultiheadAttention, nn.Embedding, nn.EmbeddingBag)
        others: dict[str, Any] = {
            name: module for name, module in self._model.named_modules() if isinstance(module, kinds)
        }
        return set(select_layers(self._model, patterns, example=example, layers={**self._layers, **others}))

    def _as_layers(self, group: Group) -> ChannelGroup:
        result = ChannelGroup(group.root, group.size, group.layers)
        for name, axes in group.places.items():
            owner, _, leaf = name.rpartition(".")
            if leaf == "weight" and owner in self._layers:
                if 0 in axes:
                    result.outputs[owner] = axes[0]
                if 1 in axes:
                    columns = np.flatnonzero(axes[1] >= 0)
                    result.inputs[owner] = (columns, axes[1][columns])
            elif leaf in ("weight", "running_mean") and isinstance(self._model.get_submodule(owner), BATCH_NORMS):
                result.outputs[owner] = axes[0]
        return result

    def _keeps_layers(self, group: Group) -> bool:
        """Whether rows and columns of layers, and batch norms, are all that a group is made of."""
        for name in group.places:
            owner, _, leaf = name.rpartition(".")
            layer = self._layers.get(owner)
            if leaf not in ("weight", "bias", "running_mean", "running_var") or "#" in leaf:
                return False
            if layer is None and not isinstance(self._model.get_submodule(owner), BATCH_NORMS):
                return False
            if layer is not None and getattr(layer, "groups", 1) > 1:
                is_depthwise = layer.groups == layer.in_channels == layer.out_channels
                if not is_depthwise or layer.padding_mode != "zeros":
                    return False
        return True

    def tensors(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        """Rows of weights, biases and norms that go with their channel."""
        found: dict[str, np.ndarray] = {}
        for group, kept in self._parts(mask):
            for name, channel in group.outputs.items():
                for kind in ("weight", "bias"):
                    shape = self._shapes.get(f"{name}.{kind}")
                    if shape is not None:
                        rows = np.append(kept, True)[channel].reshape(-1, *([1] * (len(shape) - 1)))
                        rows = np.broadcast_to(rows, shape)
                        found[f"{name}.{kind}"] = np.ascontiguousarray(rows & found.get(f"{name}.{kind}", True))
        return found

    def _parts(self, mask: np.ndarray) -> list[tuple[ChannelGroup, np.ndarray]]:
        return [(g, mask[a:b]) for g, a, b in zip(self.groups, self.starts, self.starts[1:], strict=False)]

    def kept(self, mask: np.ndarray) -> dict[str, dict[int, np.ndarray]]:
        """Entries that are left of each axis of a tensor that loses some."""
        return kept_entries(
            self.cuttable.groups, [mask[a:b] for a, b in zip(self.starts, self.starts[1:], strict=False)]
        )

    def pool(self, scores: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Sums over the rows of all layers that share a channel."""
        by_name = dict(zip(self.names, scores, strict=True))
        return [
            summed({n: by_name[n].reshape(len(c), -1).sum(axis=1) for n, c in g.outputs.items() if n in by_name}, g)
            for g in self.groups
        ]

    def empty_layers(self, mask: np.ndarray) -> list[str]:
        """Layers of which a mask leaves nothing."""
        return [name for group, kept in self._parts(mask) if not kept.any() for name in group.layers]

    def kept_axes(self, mask: np.ndarray) -> dict[str, tuple[np.ndarray | None, np.ndarray | None]]:
        """For each layer that a mask cuts: indices of the rows and of the input columns that stay, None for all."""
        rows: dict[str, np.ndarray] = {}
        columns: dict[str, np.ndarray] = {}
        for group, kept in self._parts(mask):
            for name, channel in group.outputs.items():
                stays = np.flatnonzero(np.append(kept, True)[channel])
                rows[name] = np.intersect1d(rows[name], stays) if name in rows else stays
            for name, (column, channel) in group.inputs.items():
                # layers that take in several groups side by side lose the columns of each
                gone = column[~kept[channel]]
                n = self._layers[name].weight.shape[1]
                columns[name] = np.setdiff1d(columns.get(name, np.arange(n)), gone, assume_unique=True)
        return {name: (rows.get(name), columns.get(name)) for name in {**rows, **columns}}

    def cost(self, mask: np.ndarray) -> tuple[int, int]:
        """Parameters and multiply-adds of the pruned network."""
        return self.cuttable.cost(self.kept(mask))

    def prune(self, model: nn.Module, mask: np.ndarray) -> nn.Module:
        """The smaller network that is left of the kept channels.

        Args:
            model: A network of this space's architecture, whatever its weights; left as it is.
            mask: (n,) bool, one or more kept in each group.

        Raises:
            UsageError: A group keeps nothing.
        """
        empty = self.empty_layers(mask)
        if empty:
            raise UsageError(f"nothing is left of {', '.join(empty)}; keep at least one channel of each layer")
        return cut(model, self.kept(mask))

    def cut(self, network: nn.Module, mask: np.ndarray) -> nn.Module:
        """The smaller network; one that has been cut already is returned as it is."""
        is_whole = all(tuple(p.shape) == self._shapes[name] for name, p in network.named_parameters())
        return self.prune(network, mask) if is_whole else network

    def trained_by(
        self, network: nn.Module, state: dict[str, Tensor], mask: np.ndarray
    ) -> tuple[nn.Module, dict[str, Tensor], dict[str, np.ndarray]]:
        """What a mask's training is of: the masked network, or where that is another the cut one, without masks."""
        if self.is_plain:
            return network, state, self.tensors(mask)
        smaller = self.prune(with_tensors(network, state), mask)
        return smaller, tensors_of(smaller), {}

    def metadata(self, mask: np.ndarray) -> dict[str, str]:
        """What `problems.networks.channels.loading.load_cut` needs to know of a pruned network's file."""
        return metadata_of(layout_of(self._model, self.kept(mask)))


def summed(by_row: dict[str, np.ndarray], group: ChannelGroup) -> np.ndarray:
    """Values of rows of layers, summed for each channel of a group."""
    total = np.zeros(group.size)
    for name, values in by_row.items():
        channel = group.outputs[name]
        own = channel >= 0
        total += np.bincount(channel[own], weights=values[own], minlength=group.size)
    return total

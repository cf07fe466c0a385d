"""Many pruned versions of one network at once: what they share is computed once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from problems.data.examples import spans
from problems.networks.evaluation.accuracy import LabelBlocks
from problems.networks.evaluation.cut_graph import changes_values, light_copy
from problems.networks.layers.prunable import Prunable, prunable_layers, replaced, run_layer
from problems.networks.storage.checkpoints import as_numpy

Weights = tuple[Tensor, Tensor | None]
"""Weight and bias of a layer."""

Pruned = Callable[[int, np.ndarray], Weights]
"""`(layer, counts) -> (weight, bias)`: a layer's tensors for one candidate's removed weights in its groups."""

Env = dict[fx.Node, Any]
"""Values of nodes of the graph."""

# Largest product of one batched call, in bytes.
_PRODUCT_BYTES = 64 << 20
# Images that stages are tried on before they are trusted.
_TRIED = 4


class StagedNetwork:
    """Right answers of pruned versions of a network, in stages that begin at the pruned layers.

    The network's graph is cut before each pruned layer. Everything before the first is computed once.
    From there candidates go down a tree: those that prune a layer alike share its stage, the different
    prunings of a layer on one input are stacked into one product, and outputs of stages that come up
    again in later batches are remembered, the least recently used forgotten first.

    A network whose graph cannot be traced (one whose `forward` branches on values), or whose stages do not
    give what the network gives for changed layers (tried on a few images), is run whole for each candidate:
    the same answers, slower.

    Args:
        model: The network, in evaluation mode; left as it is.
        names: Pruned layers in the order in which the network runs them.
        images: (n, ...) images.
        labels: (n,) labels.
        pruned: Gives the tensors of a pruned layer.
        chunk: Images at once.
        cache_bytes: Most memory for remembered outputs.
    """

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        images: Tensor,
        labels: Tensor,
        pruned: Pruned,
        *,
        chunk: int = 500,
        cache_bytes: int = 768 << 20,
    ) -> None:
        self.model = model
        self.names = list(names)
        self.pruned = pruned
        self._layers = prunable_layers(model)
        parts = [(images[rows], labels[rows]) for rows in spans(len(labels), chunk)]
        blocks = [LabelBlocks(as_numpy(answers)) for _, answers in parts]
        self._chunks = [
            (part[order := torch.from_numpy(b.order).to(part.device)], answers[order], b)
            for (part, answers), b in zip(parts, blocks, strict=True)
        ]
        self._memory = _Memory(cache_bytes)
        self._plan = _planned(model, {name: self._layers[name] for name in self.names}, images[:_TRIED])
        self._first: dict[int, Env] = {}
        self._known: dict[tuple[int, bytes], tuple[Tensor, Tensor | None]] = {}

    @property
    def ends_in_linear(self) -> bool:
        """Whether the last pruned layer is linear on vectors, and its output is the network's."""
        if self._plan is None or not isinstance(self._layers[self.names[-1]], nn.Linear):
            return False
        layer, *rest = self._plan.stages[-1]
        return [node.op for node in rest] == ["output"] and rest[0].args == (layer,)

    @torch.no_grad()
    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the only pruned layer is the last one (`ends_in_linear`): its inputs, (n, n_in), and their labels."""
        assert self._plan is not None and len(self.names) == 1
        parts = [self._prefix(i)[self._plan.inputs[0]] for i in range(len(self._chunks))]
        return as_numpy(torch.cat(parts)), as_numpy(torch.cat([labels for _, labels, _ in self._chunks]))

    @torch.no_grad()
    def n_right(self, counts: Sequence[np.ndarray]) -> np.ndarray:
        """Right answers of n candidates.

        Args:
            counts: One (n, groups) int64 array a layer: removed weights by group.

        Returns:
            (n,) int64.
        """
        total = np.zeros(len(counts[0]), dtype=np.int64)
        self._known.clear()
        for chunk in range(len(self._chunks)):
            if self._plan is None:
                self._run_whole(chunk, counts, total)
            else:
                self._descend(chunk, 0, b"", self._prefix(chunk), counts, np.arange(len(total)), total)
        return total

    # -- the tree -----------------------------------------------------------------------------

    def _prefix(self, chunk: int) -> Env:
        if chunk not in self._first:
            assert self._plan is not None
            self._first[chunk] = self._plan.begin(self._chunks[chunk][0])
        return self._first[chunk]

    def _descend(
        self,
        chunk: int,
        stage: int,
        path: bytes,
        env: Env,
        counts: Sequence[np.ndarray],
        candidates: np.ndarray,
        total: np.ndarray,
    ) -> None:
        assert self._plan is not None
        distinct, which = np.unique(counts[stage][candidates], axis=0, return_inverse=True)
        which = which.reshape(-1)
        last = stage == len(self.names) - 1
        missing = []
        for k, row in enumerate(distinct):
            key = path + row.tobytes()
            known = None if last else self._memory.get((chunk, stage, key))
            if known is None:
                missing.append(k)
            else:
                self._descend(chunk, stage + 1, key, known, counts, candidates[which == k], total)
        for ks, outputs in self._outputs(stage, env, distinct, missing):
            if last and self._counts_stacked(env):
                right = self._chunks[chunk][2].n_right(as_numpy(outputs))
                for k, n in zip(ks, right, strict=True):
                    total[candidates[which == k]] += n
                continue
            for k, output in zip(ks, outputs, strict=True):
                mine = candidates[which == k]
                below = self._plan.go_on(stage, env, output)
                if last:
                    total[mine] += _n_right(below[self._plan.result], self._chunks[chunk][1])
                    continue
                key = path + distinct[k].tobytes()
                self._memory.put((chunk, stage, key), below)
                self._descend(chunk, stage + 1, key, below, counts, mine, total)

    def _outputs(self, stage: int, env: Env, distinct: np.ndarray, wanted: list[int]) -> Any:
        """Outputs of a pruned layer for different prunings of it, stacked as memory allows."""
        assert self._plan is not None
        layer = self._layers[self.names[stage]]
        x = env[self._plan.inputs[stage]]
        at_last = stage == len(self.names) - 1 and self._counts_stacked(env)
        stackable = isinstance(layer, nn.Linear) or layer.groups == 1
        per_candidate = 4 * (x.numel() // layer.weight.shape[1]) * layer.weight.shape[0]
        size = max(1, _PRODUCT_BYTES // max(1, per_candidate)) if stackable else 1
        for start in range(0, len(wanted), size):
            ks = wanted[start : start + size]
            tensors = [self._tensors(stage, distinct[k]) for k in ks]
            weight = torch.cat([w for w, _ in tensors])
            bias = None if tensors[0][1] is None else torch.cat([b for _, b in tensors if b is not None])
            if at_last:
                # classes before images, the layout in which right answers are counted
                flat = weight @ x.T
                yield ks, (flat if bias is None else flat.add_(bias[:, None])).unflatten(0, (len(ks), -1))
            else:
                side = -1 if isinstance(layer, nn.Linear) else -1 - len(layer.kernel_size)
                yield ks, [part.contiguous() for part in run_layer(layer, x, weight, bias).chunk(len(ks), dim=side)]

    def _tensors(self, stage: int, counts: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """A pruned layer's tensors, kept from one chunk of images to the next while there is room."""
        key = (stage, counts.tobytes())
        if key in self._known:
            return self._known[key]
        tensors = self.pruned(stage, counts)
        if 4 * tensors[0].numel() * (len(self._known) + 1) <= _PRODUCT_BYTES:
            self._known[key] = tensors
        return tensors

    def _counts_stacked(self, env: Env) -> bool:
        assert self._plan is not None
        return self.ends_in_linear and env[self._plan.inputs[-1]].ndim == 2

    # -- networks that cannot be traced -----------------------------------------------------------

    def _run_whole(self, chunk: int, counts: Sequence[np.ndarray], total: np.ndarray) -> None:
        images, labels, _ = self._chunks[chunk]
        for i in range(len(total)):
            tensors = {name: self.pruned(k, counts[k][i]) for k, name in enumerate(self.names)}
            with replaced(self._layers, tensors):
                total[i] += _n_right(self.model(images), labels)


def _n_right(logits: Tensor, labels: Tensor) -> int:
    """Right answers of (n, n_classes) logits; a row with a NaN is wrong."""
    right = (logits.argmax(dim=1) == labels) & ~logits.isnan().any(dim=1)
    return int(right.sum())


class _Plan:
    """A traced network, cut before its pruned layers.

    Args:
        traced: The graph.
        layers: Pruned layers by name, in the order in which the network runs them.

    Attributes:
        stages: One list of nodes a pruned layer: the layer itself, then what follows up to the next.
        inputs: The node that each pruned layer takes its input from.
        result: The graph's output node.

    Raises:
        ValueError: A layer is not computed as its stage would compute it.
    """

    def __init__(self, traced: fx.GraphModule, layers: Mapping[str, Prunable]) -> None:
        nodes = list(traced.graph.nodes)
        starts = [i for i, node in enumerate(nodes) if node.op == "call_module" and node.target in layers]
        if [nodes[i].target for i in starts] != list(layers):
            raise ValueError("pruned layers must each be called once, in the given order")
        if any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers.values()):
            raise ValueError("pruned layers must have no hooks")
        if any(node.op == "get_attr" and str(node.target).rpartition(".")[0] in layers for node in nodes):
            raise ValueError("weights of pruned layers must not be used elsewhere")
        self._interpreter = fx.Interpreter(traced, garbage_collect_values=False)
        (self._image,) = [node for node in nodes if node.op == "placeholder"]
        self._prelude = [node for node in nodes[: starts[0]] if node is not self._image]
        self.stages = [nodes[a:b] for a, b in zip(starts, [*starts[1:], len(nodes)], strict=True)]
        self.inputs: list[fx.Node] = [stage[0].all_input_nodes[0] for stage in self.stages]
        self.result = nodes[-1]
        # what lies before a stage and is used in it or behind it
        self._needed = [{used for node in nodes[start:] for used in node.all_input_nodes} for start in starts]
        self._needed.append({self.result})
        # what is shared or remembered must not be changed by a later stage: it then works on copies
        self._is_inplace = any(changes_values(node, traced) for node in nodes)

    def answers(self, images: Tensor, layers: Mapping[str, Prunable], tensors: Mapping[str, Weights]) -> Any:
        """The network's answers for images, stage by stage, with other tensors in its layers."""
        env = self.begin(images)
        for stage, (name, layer) in enumerate(layers.items()):
            env = self.go_on(stage, env, run_layer(layer, env[self.inputs[stage]], *tensors[name]))
        return env[self.result]

    def begin(self, images: Tensor) -> Env:
        """What the first pruned layer and those behind it need of the images."""
        return self._run(self._prelude, self._own({self._image: images}), needed=self._needed[0])

    def go_on(self, stage: int, env: Env, output: Tensor) -> Env:
        """What the next stage needs (after the last one: the result), given the output of this stage's layer."""
        layer, *rest = self.stages[stage]
        return self._run(rest, {**self._own(env), layer: output}, needed=self._needed[stage + 1])

    def _own(self, env: Env) -> Env:
        if not self._is_inplace:
            return env
        return {node: value.clone() if isinstance(value, Tensor) else value for node, value in env.items()}

    def _run(self, nodes: Sequence[fx.Node], env: Env, *, needed: set[fx.Node]) -> Env:
        self._interpreter.env = env
        for node in nodes:
            env[node] = self._interpreter.run_node(node)
        return {node: value for node, value in env.items() if node in needed}


def _planned(model: nn.Module, layers: Mapping[str, Prunable], images: Tensor) -> _Plan | None:
    """The plan for a network, or None where its stages do not give what it gives, for layers with changed weights."""
    try:
        plan = _Plan(fx.symbolic_trace(light_copy(model)), layers)
        with torch.no_grad():
            tensors = {
                name: (layer.weight * 0.5, None if layer.bias is None else layer.bias * 0.5)
                for name, layer in layers.items()
            }
            with replaced(layers, tensors):
                expected = model(images.clone())
            # twice, as the first pass may have changed what both share
            answers = [plan.answers(images, layers, tensors) for _ in range(2)]
        tolerance = 1e-4 * float(expected.detach().abs().nan_to_num().max())
        is_true = [torch.allclose(a, expected, rtol=1e-3, atol=tolerance, equal_nan=True) for a in answers]
        return plan if all(is_true) else None
    except Exception:  # a user's forward may defy tracing in any way: then it is run whole
        return None


class _Memory:
    """Outputs of stages, the least recently used forgotten first.

    Args:
        limit: Most bytes held.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: OrderedDict[tuple, tuple[Env, int]] = OrderedDict()
        self._total = 0

    def get(self, key: tuple) -> Env | None:
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def put(self, key: tuple, env: Env) -> None:
        size = sum(v.numel() * v.element_size() for v in env.values() if isinstance(v, Tensor))
        if size > self.limit or key in self._held:
            return
        self._held[key] = (env, size)
        self._total += size
        while self._total > self.limit:
            self._total -= self._held.popitem(last=False)[1][1]

"""Any torch network under masks: what masks share is computed once, and dropped channels are not computed at all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from operators.masks.genome import MaskGenome
from opt.console.errors import UsageError
from problems.data.data import Split
from problems.data.examples import Examples, Inputs, call, mapped
from problems.masking.channels import ChannelSpace, summed
from problems.masking.exact import Derivative
from problems.masking.measures import examples_last
from problems.masking.space import MaskSpace, parameters_replaced, with_masks
from problems.networks.evaluation.cut_graph import CutGraph, cut_graph
from problems.networks.layers.batch_norms import BATCH_NORMS, batch_norms, batch_statistics, recalibration
from problems.networks.layers.prunable import padded, prunable_layers, run_layer
from problems.networks.storage.checkpoints import as_numpy
from problems.workloads.plain_network import preserved, state_copied, with_tensors
from problems.workloads.workload import Workload

_TRIED = 32
"""Examples that the graph is compared with the whole network on."""


@dataclass(frozen=True)
class Cut:
    """What one mask makes of a network.

    Attributes:
        tensors: Parameters that it changes, by name: cut to what is kept, or with zeros.
        rows: Kept rows of each module under a mask of channels.
        keys: Bytes that tell what it does to each module.
    """

    tensors: dict[str, Tensor]
    rows: dict[str, np.ndarray]
    keys: dict[str, bytes]


_NOTHING = Cut({}, {}, {})


class MaskedGraph:
    """A network under masks of weights or channels, all examples at once.

    The graph is cut before each masked layer. Masks that are alike up to a layer share everything before it, in a
    batch and from one batch to the next. A layer that several masks run on one input is one convolution with the
    rows that any of them keeps. Under channel masks the dropped channels are cut out, so that a mask costs what
    the pruned network costs. Batch norms take the statistics of the examples that are shown: those that were
    gathered in training belong to the whole network.

    A network whose graph cannot be traced, or does not give what the network gives (tried on a few examples), is run
    whole for each mask: the same answers, slower.

    Args:
        model: The network, in evaluation mode; left as it is.
        space: What the places of a mask stand for.
        state: Weights and buffers that masks are put on.
        split: Examples.
        workload: Says what is judged of outputs, and what else `forward` changes; None for a network of one output that
            changes nothing.
        is_traced: Whether the graph is tried.
        cache_bytes: Most memory for outputs shared between batches.
    """

    def __init__(
        self,
        model: nn.Module,
        space: MaskSpace,
        state: Mapping[str, Tensor],
        split: Split | Examples,
        *,
        workload: Workload | None = None,
        is_traced: bool = True,
        cache_bytes: int = 768 << 20,
    ) -> None:
        # what is neither masked nor a norm's, such as bare parameters, follows the state too
        self._model, self._space, self._state = with_tensors(model, state), space, dict(state)
        self._workload = workload
        self._modules = dict(self._model.named_modules())
        self._layers = prunable_layers(self._model)
        self._cache_bytes = cache_bytes
        self._graph: CutGraph | None = None
        is_traced = is_traced and (not isinstance(space, ChannelSpace) or space.is_plain)
        if is_traced and isinstance(split.inputs, Tensor) and not (workload is not None and workload.changes_itself):
            self._graph = cut_graph(self._model, {name: self._layers[name] for name in space.names})
        if self._graph is not None:
            self.show(split.subset(slice(0, _TRIED)))
            self._graph = self._graph if self._is_true() else None
        self.show(split)

    @property
    def is_cut(self) -> bool:
        """Whether the graph is used."""
        return self._graph is not None

    def show(self, split: Split | Examples) -> None:
        """Take other examples from now on."""
        self._inputs: Inputs = split.inputs
        self._known: OrderedDict[tuple[int, bytes], tuple[dict[fx.Node, Any], int]] = OrderedDict()
        self._held = 0

    # -- logits -------------------------------------------------------------------------------

    @torch.no_grad()
    def logits(self, genomes: Sequence[MaskGenome]) -> Iterator[np.ndarray]:
        """The answers of each mask with the examples along the last axis: (n_classes, n) float32 of classes."""
        found: list[np.ndarray | None] = [None] * len(genomes)
        cuttable = [self._graph is not None and not self._loses_a_layer(genome) for genome in genomes]
        for i, genome in enumerate(genomes):
            if not cuttable[i]:
                found[i] = self._whole(genome)
        if any(cuttable):
            cuts = {i: self._cut(genome) for i, genome in enumerate(genomes) if cuttable[i]}
            self._descend(0, b"", self._start(), cuts, list(cuts), found)
        for logits in found:
            assert logits is not None
            yield logits

    def _loses_a_layer(self, genome: MaskGenome) -> bool:
        return isinstance(self._space, ChannelSpace) and bool(self._space.empty_layers(genome.mask()))

    def _whole(self, genome: MaskGenome) -> np.ndarray:
        """The answers of one mask by a pass of the masked network, or where that is another one of the cut network."""
        if isinstance(self._space, ChannelSpace) and not self._space.is_plain and not self._loses_a_layer(genome):
            network = self._space.prune(self._model, genome.mask())
            with batch_statistics(network):
                return examples_last(self._answers(self._inputs, network))
        masks = self._space.tensors(genome.mask())
        zeroed = with_masks({name: self._state[name] for name in masks}, masks)
        with batch_statistics(self._model), parameters_replaced(self._model, zeroed):
            return examples_last(self._answers(self._inputs, self._model))

    def _answers(self, inputs: Inputs, network: nn.Module) -> Tensor:
        """What is judged of the network's outputs for inputs, which are left as they are."""
        work = self._workload
        if work is None or work.changes_inputs:
            inputs = mapped(inputs, Tensor.clone)
        with preserved(network) if work is not None and work.changes_itself else nullcontext():
            return self._picked(call(network, inputs))

    def _picked(self, outputs: Any) -> Tensor:
        return outputs if self._workload is None else self._workload.picked(outputs)

    @torch.no_grad()
    def _is_true(self) -> bool:
        """Whether the graph gives what the network gives, on the examples of now under a mask."""
        mask = np.arange(sum(self._space.sizes)) % 4 != 1
        genome = MaskGenome.from_mask(mask)
        if self._loses_a_layer(genome):
            genome = MaskGenome.from_mask(np.ones_like(mask))
        try:
            expected = self._whole(genome)
            # twice, as the first pass may have changed what both share
            answers = []
            for _ in range(2):
                self._known.clear()
                answers += list(self.logits([genome]))
            tolerance = 1e-4 * float(np.abs(np.nan_to_num(expected)).max(initial=0.0))
            return all(np.allclose(a, expected, rtol=1e-3, atol=tolerance, equal_nan=True) for a in answers)
        except Exception:  # a user's forward may do what the graph does not: then it is run whole
            return False

    def _cut(self, genome: MaskGenome) -> Cut:
        mask = genome.mask()
        if not isinstance(self._space, ChannelSpace):
            masks = self._space.tensors(mask)
            tensors = {n: self._state[n] * torch.from_numpy(m) for n, m in masks.items()}
            return Cut(tensors, {}, {n.rpartition(".")[0]: _digest(np.packbits(m)) for n, m in masks.items()})
        tensors, kept_rows, keys = {}, {}, {}
        for name, (rows, columns) in self._space.kept_axes(mask).items():
            if rows is not None:
                kept_rows[name] = rows
            keys[name] = _digest(*(ids for ids in (rows, columns) if ids is not None))
            for kind in ("weight", "bias"):
                tensor = self._state.get(f"{name}.{kind}")
                if tensor is None:
                    continue
                if rows is not None:
                    tensor = tensor[torch.from_numpy(rows)]
                if columns is not None and tensor.ndim > 1:
                    tensor = tensor[:, torch.from_numpy(columns)]
                tensors[f"{name}.{kind}"] = tensor
        return Cut(tensors, kept_rows, keys)

    def _start(self) -> dict[fx.Node, Any]:
        assert self._graph is not None
        env = self._graph.own({self._graph.image: self._inputs})
        return self._run(self._graph.prelude, env, _NOTHING, self._graph.needed[0])

    def _descend(
        self, stage: int, path: bytes, env: dict[fx.Node, Any], cuts: dict[int, Cut], which: list[int], found: list[Any]
    ) -> None:
        """Run one stage for masks that are alike up to it, then each further with those that stay alike."""
        assert self._graph is not None
        name = self._space.names[stage]
        alike: dict[bytes, list[int]] = {}
        for i in which:
            alike.setdefault(self._stage_key(stage, cuts[i]), []).append(i)
        last = stage == len(self._space.names) - 1
        below: dict[bytes, dict[fx.Node, Any]] = {}
        missing = []
        for key in alike:
            known = self._known.get((stage, path + key))
            if known is None:
                missing.append(key)
            else:
                self._known.move_to_end((stage, path + key))
                below[key] = known[0]
        outputs = self._outputs(name, env[self._graph.inputs[stage]], [cuts[alike[key][0]] for key in missing])
        for key, output in zip(missing, outputs, strict=True):
            node = self._graph.stages[stage][0]
            cut = cuts[alike[key][0]]
            below[key] = self._run(
                self._graph.stages[stage][1:],
                {**self._graph.own(env), node: output},
                cut,
                self._graph.needed[stage + 1],
            )
            self._keep((stage, path + key), below[key])
        for key, members in alike.items():
            if last:
                logits = examples_last(self._picked(below[key][self._graph.result]))
                for i in members:
                    found[i] = logits
            else:
                self._descend(stage + 1, path + key, below[key], cuts, members, found)

    def _stage_key(self, stage: int, cut: Cut) -> bytes:
        """What a mask does between one masked layer and the next, as bytes."""
        assert self._graph is not None
        return b"".join(cut.keys.get(target, b"") for target in self._graph.targets[stage])

    def _outputs(self, name: str, x: Tensor, cuts: Sequence[Cut]) -> Iterator[Tensor]:
        """A layer's outputs for several masks on one input."""
        layer = self._layers[name]
        weights = [cut.tensors.get(f"{name}.weight", self._state[f"{name}.weight"]) for cut in cuts]
        biases = [cut.tensors.get(f"{name}.bias", self._state.get(f"{name}.bias")) for cut in cuts]
        if not weights:
            return
        if not isinstance(layer, nn.Linear) and layer.groups > 1:
            for weight, bias in zip(weights, biases, strict=True):
                # depthwise: as many groups as channels are left
                yield _run_grouped(layer, x, weight, bias, layer.groups * len(weight) // layer.weight.shape[0])
            return
        axis = -1 if isinstance(layer, nn.Linear) else 1
        if name not in cuts[0].rows:
            bias = None if biases[0] is None else torch.cat([b for b in biases if b is not None])
            yield from run_layer(layer, x, torch.cat(weights), bias).split([len(w) for w in weights], dim=axis)
            return
        # one product with every row that any of the masks keeps
        rows = np.concatenate([cut.rows[name] for cut in cuts])
        union, first = np.unique(rows, return_index=True)
        pick = torch.from_numpy(first)
        bias = None if biases[0] is None else torch.cat([b for b in biases if b is not None])[pick]
        product = run_layer(layer, x, torch.cat(weights)[pick], bias)
        for cut in cuts:
            yield product.index_select(axis, torch.from_numpy(np.searchsorted(union, cut.rows[name])))

    def _run(
        self, nodes: Sequence[fx.Node], env: dict[fx.Node, Any], cut: Cut, needed: set[fx.Node]
    ) -> dict[fx.Node, Any]:
        assert self._graph is not None
        interpreter = self._graph.interpreter
        interpreter.env = env
        for node in nodes:
            arguments: tuple[Any, ...] = node.args
            module = self._modules.get(str(node.target)) if node.op == "call_module" else None
            if isinstance(module, BATCH_NORMS):
                env[node] = self._normalised(str(node.target), module, env[arguments[0]], cut)
            elif module is not None and self._is_changed(node, module, cut):
                names = [(f"{node.target}.{n}", n) for n, _ in module.named_parameters()]
                own = {n: cut.tensors.get(full, self._state[full]) for full, n in names}
                env[node] = functional_call(module, own, tuple(env[a] for a in arguments))
            else:
                env[node] = interpreter.run_node(node)
        return {node: value for node, value in env.items() if node in needed}

    @staticmethod
    def _is_changed(node: fx.Node, module: nn.Module, cut: Cut) -> bool:
        return any(f"{node.target}.{name}" in cut.tensors for name, _ in module.named_parameters())

    def _normalised(self, name: str, norm: Any, x: Tensor, cut: Cut) -> Tensor:
        weight, bias = (
            cut.tensors.get(f"{name}.{kind}", self._state.get(f"{name}.{kind}")) for kind in ("weight", "bias")
        )
        return nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=norm.eps)

    def _keep(self, key: tuple[int, bytes], env: dict[fx.Node, Any]) -> None:
        size = sum(v.numel() * v.element_size() for v in env.values() if isinstance(v, Tensor))
        if size > self._cache_bytes // 4:
            return
        self._known[key] = (env, size)
        self._held += size
        while self._held > self._cache_bytes:
            self._held -= self._known.popitem(last=False)[1][1]

    # -- slopes -------------------------------------------------------------------------------

    def slope(self, genome: MaskGenome, derivative: Derivative, split: Split | Examples | None = None) -> np.ndarray:
        """(n,) float32 derivative of a loss by the mask, on examples of `split` or those of now.

        For a weight it is w dL/dw. For a channel its outputs are thought to be multiplied by its place: the
        sum of the same over the norm behind it, or where there is none over its own weights and bias.

        Raises:
            UsageError: The network's answers do not follow from its weights in a way that torch can differentiate.
        """
        masks = self._space.tensors(genome.mask())
        gates = self._gates(masks)
        leaves = {n: (self._state[n] * torch.tensor(masks[n])).requires_grad_(True) for n in gates}
        with batch_statistics(self._model), torch.enable_grad(), parameters_replaced(self._model, leaves):
            answers = self._answers(self._inputs if split is None else split.inputs, self._model)
            if not answers.requires_grad:
                raise UsageError("the network's answers cannot be differentiated by its weights")
            d_answers = torch.from_numpy(np.ascontiguousarray(np.moveaxis(derivative(examples_last(answers)), -1, 0)))
            gradients = torch.autograd.grad(
                answers, list(leaves.values()), d_answers.to(answers.dtype), allow_unused=True, materialize_grads=True
            )
        parts = {n: as_numpy(self._state[n] * g) for n, g in zip(leaves, gradients, strict=True)}
        if not isinstance(self._space, ChannelSpace):
            return np.concatenate([parts[f"{name}.weight"].ravel() for name in self._space.names]).astype(np.float32)
        total = []
        for group in self._space.groups:
            slope = np.zeros(group.size)
            for kind in ("weight", "bias"):
                values = {n: parts[f"{n}.{kind}"] for n in group.outputs if f"{n}.{kind}" in parts}
                slope += summed({n: v.reshape(len(v), -1).sum(axis=1) for n, v in values.items()}, group)
            total.append(slope)
        return np.concatenate(total).astype(np.float32)

    def _gates(self, masks: Mapping[str, np.ndarray]) -> list[str]:
        """Parameters that switch a place on and off; a channel that a norm follows is switched there."""
        if not isinstance(self._space, ChannelSpace):
            return list(masks)
        gates = []
        for group in self._space.groups:
            norms = [n for n in group.outputs if isinstance(self._modules[n], BATCH_NORMS)]
            for name in norms or list(group.outputs):
                gates += [f"{name}.{kind}" for kind in ("weight", "bias") if f"{name}.{kind}" in masks]
        return gates


def _run_grouped(layer: Any, x: Tensor, weight: Tensor, bias: Tensor | None, n_groups: int) -> Tensor:
    """A convolution's output for other weights than its own in so many groups."""
    convolve = getattr(nn.functional, f"conv{len(layer.kernel_size)}d")
    padding = layer.padding
    if layer.padding_mode != "zeros":
        x, padding = padded(layer, x), 0
    return convolve(x, weight, bias, layer.stride, padding, layer.dilation, n_groups)


@torch.no_grad()
def settle_norms(model: nn.Module, inputs: Inputs) -> None:
    """Recalibrate batch norms on inputs under the network's present weights, in place, as a batch is normalised.

    Args:
        model: Put into evaluation mode; what else `forward` changes of it is put back.
        inputs: (n, ...); left as they are.
    """
    model.eval()
    norms = batch_norms(model)
    if not norms:
        return
    own = {id(tensor) for norm in norms for tensor in norm.buffers()}
    others = [(tensor, values) for tensor, values in state_copied(model) if id(tensor) not in own]
    with recalibration(model, is_biased=True):
        call(model, mapped(inputs, Tensor.clone))
    for tensor, values in others:
        tensor.copy_(values)


def _digest(*arrays: np.ndarray) -> bytes:
    digest = blake2b(digest_size=16)
    for array in arrays:
        digest.update(array.size.to_bytes(8, "little"))
        digest.update(array.tobytes())
    return digest.digest()

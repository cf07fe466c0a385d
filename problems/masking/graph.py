"""Any torch network under masks: what masks share is computed once, and dropped channels are not computed at all."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from operators.masks.genome import MaskGenome
from problems.data.data import Split
from problems.masking.channels import ChannelSpace, summed
from problems.masking.exact import Derivative
from problems.masking.space import MaskSpace, with_masks
from problems.networks.layers.batch_norms import BATCH_NORMS, batch_statistics, recalibration
from problems.networks.layers.prunable import prunable_layers, run_layer


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
    """A network under masks of weights or channels, all images at once.

    The graph is cut before each masked layer. Masks that are alike up to a layer share everything before it, in a
    batch and from one batch to the next. A layer that several masks run on one input is one convolution with the
    rows that any of them keeps. Under channel masks the dropped channels are cut out, so that a mask costs what
    the pruned network costs. Batch norms take the statistics of the images that are shown: those that were
    gathered in training belong to the whole network.

    A network whose graph cannot be traced is run whole for each mask: the same answers, slower.

    Args:
        model: The network, in evaluation mode; left as it is.
        space: What the places of a mask stand for.
        state: Weights and buffers that masks are put on.
        split: Images.
        cache_bytes: Most memory for outputs shared between batches.
    """

    def __init__(
        self,
        model: nn.Module,
        space: MaskSpace,
        state: Mapping[str, Tensor],
        split: Split,
        *,
        cache_bytes: int = 768 << 20,
    ) -> None:
        self._model, self._space, self._state = model, space, dict(state)
        self._modules = dict(model.named_modules())
        self._layers = prunable_layers(model)
        self._cache_bytes = cache_bytes
        is_plain = not isinstance(space, ChannelSpace) or space.is_plain
        self._graph = _traced(model, space.names) if is_plain else None
        self.show(split)

    def show(self, split: Split) -> None:
        """Take other images from now on."""
        self._images = split.images
        self._known: OrderedDict[tuple[int, bytes], tuple[dict[fx.Node, Any], int]] = OrderedDict()
        self._held = 0

    # -- logits -------------------------------------------------------------------------------

    @torch.no_grad()
    def logits(self, genomes: Sequence[MaskGenome]) -> Iterator[np.ndarray]:
        """(n_classes, n) float32 logits of each mask."""
        found: list[np.ndarray | None] = [None] * len(genomes)
        cuttable = [self._graph is not None and not self._loses_a_layer(genome) for genome in genomes]
        for i, genome in enumerate(genomes):
            if not cuttable[i]:
                found[i] = self._whole(genome).T.contiguous().numpy()
        if any(cuttable):
            cuts = {i: self._cut(genome) for i, genome in enumerate(genomes) if cuttable[i]}
            self._descend(0, b"", self._start(), cuts, list(cuts), found)
        for logits in found:
            assert logits is not None
            yield logits

    def _whole(self, genome: MaskGenome) -> Tensor:
        """(n, n_classes) logits of a network run by itself: the masked one, or where that is another the cut one."""
        if isinstance(self._space, ChannelSpace) and not self._space.is_plain and not self._loses_a_layer(genome):
            network = copy.deepcopy(self._model)
            network.load_state_dict(self._state)
            network = self._space.prune(network, genome.mask())
            with batch_statistics(network):
                return network(self._images)
        with batch_statistics(self._model):
            return functional_call(self._model, self._zeroed(genome), (self._images,))

    def _loses_a_layer(self, genome: MaskGenome) -> bool:
        return isinstance(self._space, ChannelSpace) and bool(self._space.empty_layers(genome.mask()))

    def _zeroed(self, genome: MaskGenome) -> dict[str, Tensor]:
        return with_masks(self._state, self._space.tensors(genome.mask()))

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
        return self._run(self._graph.prelude, {self._graph.image: self._images}, _NOTHING, self._graph.needed[0])

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
                self._graph.stages[stage][1:], {**env, node: output}, cut, self._graph.needed[stage + 1]
            )
            self._keep((stage, path + key), below[key])
        for key, members in alike.items():
            if last:
                logits = below[key][self._graph.result].T.contiguous().numpy()
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
            call = getattr(nn.functional, type(layer).__name__.lower())
            for weight, bias in zip(weights, biases, strict=True):
                # depthwise: as many groups as channels are left
                n_groups = layer.groups * len(weight) // layer.weight.shape[0]
                yield call(x, weight, bias, layer.stride, layer.padding, layer.dilation, n_groups)
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
            elif module is not None and next(module.parameters(), None) is not None:
                names = [(f"{node.target}.{n}", n) for n, _ in module.named_parameters()]
                own = {n: cut.tensors.get(full, self._state[full]) for full, n in names}
                env[node] = functional_call(module, own, tuple(env[a] for a in arguments))
            else:
                env[node] = interpreter.run_node(node)
        return {node: value for node, value in env.items() if node in needed}

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

    def slope(self, genome: MaskGenome, derivative: Derivative, split: Split | None = None) -> np.ndarray:
        """(n,) float32 derivative of a loss by the mask, on images of `split` or those of now.

        For a weight it is w dL/dw. For a channel its outputs are thought to be multiplied by its place: the
        sum of the same over the norm behind it, or where there is none over its own weights and bias.
        """
        images = self._images if split is None else split.images
        masks = self._space.tensors(genome.mask())
        gates = self._gates(masks)
        leaves = {n: (self._state[n] * torch.tensor(masks[n])).requires_grad_(True) for n in gates}
        with batch_statistics(self._model), torch.enable_grad():
            logits = functional_call(self._model, {**self._state, **leaves}, (images,))
            d_logits = derivative(logits.detach().T.contiguous().numpy())
            gradients = torch.autograd.grad(
                logits, list(leaves.values()), torch.from_numpy(np.ascontiguousarray(d_logits.T))
            )
        parts = {n: (self._state[n] * g).detach().numpy() for n, g in zip(leaves, gradients, strict=True)}
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


class _CutGraph:
    """A traced network, cut before its masked layers.

    Attributes:
        stages: One list of nodes a masked layer: the layer, then what follows up to the next.
        inputs: The node that each masked layer takes its input from.
        targets: Modules of each stage.
        needed: What lies before a stage and is used in it or behind it; one more for the result.
    """

    def __init__(self, traced: fx.GraphModule, names: Sequence[str]) -> None:
        nodes = list(traced.graph.nodes)
        starts = [i for i, node in enumerate(nodes) if node.op == "call_module" and node.target in names]
        if [nodes[i].target for i in starts] != list(names) or not all(nodes[i].args for i in starts):
            raise ValueError("masked layers must each be called once, in the given order, on a positional input")
        self.interpreter = fx.Interpreter(traced, garbage_collect_values=False)
        (self.image,) = [node for node in nodes if node.op == "placeholder"]
        self.prelude = [node for node in nodes[: starts[0]] if node is not self.image]
        self.stages = [nodes[a:b] for a, b in zip(starts, [*starts[1:], len(nodes)], strict=True)]
        self.inputs = [stage[0].args[0] for stage in self.stages]
        self.targets = [[str(n.target) for n in stage if n.op == "call_module"] for stage in self.stages]
        self.result = nodes[-1]
        self.needed = [{used for node in nodes[start:] for used in node.all_input_nodes} for start in starts]
        self.needed.append({self.result})


def _traced(model: nn.Module, names: Sequence[str]) -> _CutGraph | None:
    try:
        return _CutGraph(fx.symbolic_trace(model), names)
    except Exception:  # a user's forward may defy tracing in any way: then it is run whole
        return None


@torch.no_grad()
def settle_norms(model: nn.Module, images: Tensor) -> None:
    """Recalibrate batch norms on the images under the network's present weights, in place, as a batch is normalised."""
    model.eval()
    with recalibration(model, is_biased=True):
        model(images)


def _digest(*arrays: np.ndarray) -> bytes:
    digest = blake2b(digest_size=16)
    for array in arrays:
        digest.update(array.size.to_bytes(8, "little"))
        digest.update(array.tobytes())
    return digest.digest()

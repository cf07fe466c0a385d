"""A network as a chain of linear layers: read from its trace, batch norms folded in, and proved on examples."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from opt.console.errors import UsageError
from problems.data.examples import Inputs, call
from problems.networks.layers.chain_graph import Activation, ChainGraph
from problems.networks.layers.prunable import hooked
from problems.networks.layers.tracing import BranchOnValuesError, symbolic_trace, trace_of_modules


@dataclass(frozen=True)
class LinearChain:
    """Linear layers one behind the other, with an activation behind each but the last.

    What stands before the first layer, and behind the last, is left as it is.

    Args:
        network: In evaluation mode, without batch norms beside the layers.
        names: Of the layers, in their order.
        activations: One behind each layer but the last, dropout and reshaping left out; `RELU` where it is that.
        answer: From the last layer's outputs, (n, n_outputs), to what `forward` returns; None where that is the same.
        folded: Names of the batch norms that were folded into layers.
        why_not_longer: Why the chain does not begin earlier; "" where there is no linear layer before it.
    """

    network: nn.Module
    names: tuple[str, ...]
    activations: tuple[Activation, ...]
    answer: Callable[[Tensor], Any] | None
    folded: tuple[str, ...] = ()
    why_not_longer: str = ""

    @property
    def layers(self) -> list[nn.Linear]:
        """The layers in their order."""
        return layers_of(self.network, self.names)

    @functools.cached_property
    def has_bias(self) -> list[bool]:
        """Whether each layer has a bias."""
        return [layer.bias is not None for layer in self.layers]

    @functools.cached_property
    def n_other(self) -> int:
        """Parameters beside the layers'."""
        inside = sum(p.numel() for layer in self.layers for p in layer.parameters())
        return sum(p.numel() for p in self.network.parameters()) - inside

    def to_arrays(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Copies of the weights [(h1, inputs), ...] and biases [(h1,), ...], float32; zeros where there is no bias."""
        weights = [layer.weight.detach().float().cpu().numpy().copy() for layer in self.layers]
        biases = [
            np.zeros(len(layer.weight), np.float32)
            if layer.bias is None
            else layer.bias.detach().float().cpu().numpy().copy()
            for layer in self.layers
        ]
        return weights, biases

    def features(self, inputs: Inputs, *, run: Callable[[nn.Module, Inputs], Any] = call) -> Tensor:
        """What the first layer gets for a batch of inputs, (n, n_inputs)."""
        seen: list[Tensor] = []
        first = {self.names[0]: self.layers[0]}
        with torch.no_grad(), hooked(first, lambda name, x: seen.append(x.clone())):
            run(self.network, inputs)
        return seen[-1]

    def module(self, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> nn.Module:
        """A copy of the network whose layers have these weights, of any widths that fit each other, and biases.

        A layer without a bias stays without.
        """
        network = copy.deepcopy(self.network)
        for layer, weight, bias in zip(layers_of(network, self.names), weights, biases, strict=True):
            # the layer stays the same object, by whatever names the network knows it
            layer.out_features, layer.in_features = weight.shape
            kind = layer.weight.dtype
            layer.weight = nn.Parameter(torch.from_numpy(np.array(weight)).to(kind), requires_grad=False)
            if layer.bias is not None:
                layer.bias = nn.Parameter(torch.from_numpy(np.array(bias)).to(kind), requires_grad=False)
        return network


def layers_of(network: nn.Module, names: Sequence[str]) -> list[Any]:
    """The modules of these names."""
    return [network.get_submodule(name) for name in names]


def read_chain(
    network: nn.Module, inputs: Inputs, *, answers: Callable[[nn.Module, Inputs], Tensor], picked: Callable[[Any], Any]
) -> LinearChain:
    """The longest chain of linear layers that ends in a network's answers.

    Args:
        network: In evaluation mode; left as it is.
        inputs: Of some examples, on which the chain is proved to give what the network gives.
        answers: What is judged of a network's answers for inputs, (n, ...).
        picked: The same of what `forward` returned.

    Raises:
        UsageError: The answers do not come from at least two such layers: with the layer's name, and why.
    """
    problems: list[str] = []
    expected = answers(network, inputs)
    for trace in (symbolic_trace, trace_of_modules):
        try:
            graph = trace(network, inputs)
        except Exception as error:  # a user's forward may defy tracing in any way
            problems.append(f"forward cannot be traced ({' '.join(str(error).split())[:120]})")
            if isinstance(error, BranchOnValuesError):  # the modules that run for these examples prove nothing
                break
            continue
        try:
            chained, folded = network, tuple[str, ...]()
            pieces = ChainGraph(network, graph, inputs).pieces()
            if pieces.norms:
                chained = _without_norms(network, pieces.norms)
                folded = tuple(norm for norm, _, _ in pieces.norms)
                pieces = ChainGraph(chained, trace(chained, inputs), inputs).pieces()
            chain = LinearChain(chained, pieces.names, pieces.activations, pieces.answer, folded, pieces.why_not_longer)
            _prove(chain, inputs, expected, answers, picked)
        except UsageError as error:
            problems.append(str(error))
            continue
        return chain
    raise UsageError(problems[0])


@torch.no_grad()
def _without_norms(network: nn.Module, norms: Sequence[tuple[str, str, bool]]) -> nn.Module:
    """A copy of a network with batch norms folded into the layers beside them, (norm, layer, stands behind) each.

    Behind: g (W x + b - m) / s + t = (g / s) W x + (b - m) g / s + t; before: W (g (x - m) / s + t) + b likewise.
    """
    folded = copy.deepcopy(network)
    for norm_name, layer_name, is_behind in norms:
        norm: Any = folded.get_submodule(norm_name)
        layer: Any = folded.get_submodule(layer_name)
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight.double()
        shift = -norm.running_mean.double() * scale
        shift = shift if norm.bias is None else shift + norm.bias.double()
        weight = layer.weight.double()
        bias = torch.zeros(len(weight), dtype=torch.float64) if layer.bias is None else layer.bias.double()
        kind = layer.weight.dtype
        new = (weight * scale[:, None], bias * scale + shift) if is_behind else (weight * scale, bias + weight @ shift)
        layer.weight, layer.bias = (nn.Parameter(tensor.to(kind), requires_grad=False) for tensor in new)
        for module in folded.modules():
            for key, child in module._modules.items():
                if child is norm:
                    module._modules[key] = nn.Identity()
    return folded.eval()


@torch.no_grad()
def _prove(
    chain: LinearChain,
    inputs: Inputs,
    expected: Tensor,
    answers: Callable[[nn.Module, Inputs], Tensor],
    picked: Callable[[Any], Any],
) -> None:
    """Refuse a chain that does not give what the network gives, layer by layer.

    Raises:
        UsageError: With the layer where they part.
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in chain.names}
    layers: Any = dict(zip(chain.names, chain.layers, strict=True))
    with hooked(layers, lambda name, x: seen[name].append(x.clone())):
        again = answers(chain.network, inputs)
    if chain.folded and not close_to(again, expected):
        raise UsageError(f"batch norms ({', '.join(chain.folded)}) cannot be folded into its layers")
    values = seen[chain.names[0]][0]
    for k, (name, layer) in enumerate(layers.items()):
        if k and not close_to(values, seen[name][0]):
            raise UsageError(f"layer {name!r} does not get what the layer before it gives")
        values = functional.linear(values, layer.weight, layer.bias)
        values = chain.activations[k](values.clone()) if k < len(chain.activations) else values
    try:
        given = picked(values if chain.answer is None else chain.answer(values.clone()))
    except Exception:  # a user's function may raise anything
        given = None
    if given is None or not close_to(given, expected):
        raise UsageError(f"the answers are not what layer {chain.names[-1]!r} gives")


def close_to(a: Tensor, b: Tensor) -> bool:
    """Whether answers, (n, ...), are equal but for rounding."""
    tolerance = 1e-5 * float(b.double().abs().nan_to_num(posinf=0.0, neginf=0.0).max()) if b.numel() else 0.0
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=tolerance, equal_nan=True)

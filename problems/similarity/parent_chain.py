"""The parent: a workload's network as a chain of linear layers, and its tables of examples."""

from __future__ import annotations

import torch
from torch import nn

from operators.networks import ParentNetwork
from opt.console.errors import UsageError
from problems.data.examples import Examples, Inputs
from problems.networks.architectures.fully_connected import FullyConnected
from problems.networks.layers.linear_chain import LinearChain, close_to, read_chain
from problems.similarity.table import ExampleTable, OutputJudge, inherited
from problems.workloads.layerwise_quality import counts_right_classes
from problems.workloads.losses import accuracy
from problems.workloads.workload import BATCH, Workload

_SEEN = 32
"""Examples on which a chain is proved."""

_WIDEST = 32_767
"""Neurons of a hidden layer that a genome can name."""


def parent_chain(workload: Workload) -> LinearChain:
    """The workload's network as linear layers one behind the other, of which at least one is hidden.

    Raises:
        UsageError: It is not made so, or a hidden layer is too wide: with the layer's name.
    """
    network, inputs = workload.network, workload.search.subset(slice(0, _SEEN)).inputs
    try:
        with workload.undisturbed(network):
            chain = read_chain(network, inputs, answers=workload.answers, picked=workload.picked)
    except UsageError as error:
        raise UsageError(
            f"EComp needs hidden layers to take embeddings from, linear ones one behind the other: {error}"
        ) from None
    for name, layer in zip(chain.names[:-1], chain.layers, strict=False):
        if layer.out_features > _WIDEST:
            raise UsageError(f"EComp takes at most {_WIDEST} neurons a layer, and {name!r} has {layer.out_features}")
    return chain


def parent_network(chain: LinearChain) -> ParentNetwork:
    """The chain's layers as plain arrays."""
    weights, biases = chain.to_arrays()
    return ParentNetwork(tuple(weights), tuple(biases))


def example_table(workload: Workload, chain: LinearChain, network: ParentNetwork, examples: Examples) -> ExampleTable:
    """The table of some examples, in the batches in which a workload is judged.

    Raises:
        UsageError: For some of them the network does not answer what the chain gives.
    """
    answers: list[torch.Tensor] = []

    def run(module: nn.Module, inputs: Inputs) -> None:
        answers.append(workload.answers(module, inputs))

    features = torch.cat([chain.features(part.inputs, run=run) for part in examples.batches(BATCH)])
    judge = OutputJudge(workload, chain.answer, examples)
    table = ExampleTable(
        network,
        features.float().cpu().numpy(),
        examples.targets.cpu().numpy(),
        activations=chain.activations,
        judge=None if counts_alone(workload, chain, examples) else judge,
    )
    outputs = table.forward(inherited(network.genome(), network))[1]
    if not (workload.mixes_batch or close_to(judge.outputs(outputs), torch.cat(answers))):
        raise UsageError("EComp takes chains of linear layers, and for some examples the network takes another way")
    return table


def counts_alone(workload: Workload, chain: LinearChain, examples: Examples) -> bool:
    """Whether right classes are counted on the last layer's own outputs, and beside them only the cross-entropy."""
    is_usual = workload.loss == "cross-entropy" and [m.function for m in workload.metrics] == [accuracy]
    return is_usual and chain.answer is None and counts_right_classes(workload, examples)


def summary(chain: LinearChain) -> list[str]:
    """Lines on what of the network can be made smaller."""
    inside = sum(p.numel() for layer in chain.layers for p in layer.parameters())
    share = inside / sum(p.numel() for p in chain.network.parameters())
    hidden = ", ".join(
        f"{name} ({layer.out_features})" for name, layer in zip(chain.names[:-1], chain.layers, strict=False)
    )
    line = f"hidden layers {hidden}; the linear layers hold {share:.1%} of the parameters"
    if chain.why_not_longer:
        line += f"; what stands before {chain.names[0]!r} stays as it is: {chain.why_not_longer}"
    elif share < 1:
        line += "; the rest stays as it is"
    lines = [line]
    if chain.folded:
        lines.append(f"batch norms were folded into the layers beside them: {', '.join(chain.folded)}")
    return lines


class TrainableChain(nn.Module):
    """The layers with their activations alone, for gradient steps on what the first layer gets.

    Args:
        chain: Of which the activations and the answer are taken.
        layers: In their order, of any widths that fit each other.
    """

    def __init__(self, chain: LinearChain, layers: list[nn.Linear]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        # in a list, so that their own parameters are not trained
        self._between, self._answer = list(chain.activations), chain.answer

    def forward(self, x: torch.Tensor) -> object:
        """What the network returns, for (n, n_inputs)."""
        for layer, activation in zip(self.layers, self._between, strict=False):
            x = activation(layer(x))
        x = self.layers[-1](x)
        return x if self._answer is None else self._answer(x)


def module_of(chain: LinearChain, weights: list, biases: list) -> nn.Module:
    """The network with these layers, as `LinearChain.module`; of our own networks a whole one with its widths."""
    if type(chain.network) is FullyConnected:
        return FullyConnected.from_arrays(weights, biases).requires_grad_(False).eval()
    return chain.module(weights, biases)

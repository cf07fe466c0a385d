"""What decoded networks are, by a plain loop, by hooks, and by counting on the module: the proof of the fast way."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from problems.data.examples import Examples
from problems.networks.embeddings.collect import collect_embeddings
from problems.networks.embeddings.dissimilarity import SimilarityName, dissimilarity
from problems.networks.layers.linear_chain import LinearChain, layers_of
from problems.workloads.workload import Workload


def judged_plainly(
    workload: Workload,
    chain: LinearChain,
    network: nn.Module,
    examples: Examples,
    *,
    n_points: int,
    similarity: SimilarityName,
    perplexity: float,
) -> tuple[float, float]:
    """What is minimised of a network's answers, and its dissimilarity to the parent, on some examples.

    Args:
        workload: How it is judged.
        chain: The parent.
        network: A smaller form of it.
        examples: On what.
        n_points: The first examples, whose embeddings are compared.
        similarity: Name of the loss.
        perplexity: Of the loss.
    """
    quality = workload.quality(workload.judge(network, examples))
    points = examples.subset(slice(0, min(n_points, len(examples))))
    original, compressed = (embeddings(workload, chain, net, points) for net in (chain.network, network))
    return quality, dissimilarity(original, compressed, loss=similarity, perplexity=perplexity)


def embeddings(workload: Workload, chain: LinearChain, network: nn.Module, examples: Examples) -> list[Tensor]:
    """Activations of the hidden layers, (n, h) each: what the layers behind them get."""
    with workload.undisturbed(network):
        return collect_embeddings(network, chain.names[1:], examples.inputs, side="inputs")


def counted_size(chain: LinearChain, network: nn.Module, size: str) -> float:
    """Size of a network as a fraction of the parent's, counted on the modules.

    Args:
        chain: The parent.
        network: A smaller form of it.
        size: parameters, bytes of float32, macs of the linear layers, or width: the mean over the hidden layers.
    """
    layers, whole = layers_of(network, chain.names), chain.layers
    if size == "width":
        return float(np.mean([a.out_features / b.out_features for a, b in zip(layers[:-1], whole, strict=False)]))
    if size == "macs":
        return sum(layer.weight.numel() for layer in layers) / sum(layer.weight.numel() for layer in whole)
    n, n_whole = (sum(p.numel() for p in net.parameters()) for net in (network, chain.network))
    return n / n_whole

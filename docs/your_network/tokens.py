"""Sequences of tokens: how deeply brackets are nested, told by a small transformer."""

import torch
from torch import nn

from problems.data.bracket_texts import N_CLASSES, N_WORDS, bracket_texts
from problems.networks.architectures.transformer import TextTransformer
from problems.workloads.workload import Workload


def workload() -> Workload:
    """The transformer, trained here for a moment."""
    tokens, depth = (torch.from_numpy(array) for array in bracket_texts(1500, length=16))
    network = TextTransformer(N_WORDS, 16, N_CLASSES, attention="packed")
    optimiser = torch.optim.Adam(network.parameters(), lr=0.003)
    for _ in range(6):
        for rows in torch.randperm(1000).split(50):
            loss = nn.functional.cross_entropy(network(tokens[rows]), depth[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return Workload(network, data=(tokens, depth), n_test=250, n_search=250)

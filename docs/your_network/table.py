"""A table of numbers: two quantities are predicted from eight, by a network with tanh."""

import numpy as np
import torch
from torch import nn

from problems.workloads.workload import Workload


def workload() -> Workload:
    """The network, trained here; yours would come from a file: `network.load_state_dict(torch.load(...))`."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1000, 8)).astype(np.float32)
    wanted = np.stack([table[:, 0] * table[:, 1] + table[:, 2], np.sin(table[:, 3])], axis=1)
    network = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.005)
    for _ in range(300):
        loss = nn.functional.mse_loss(network(torch.tensor(table[:600])), torch.tensor(wanted[:600]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    train, search, test = ((table[rows], wanted[rows]) for rows in (slice(600), slice(600, 800), slice(800, None)))
    return Workload(network, train=train, search=search, test=test, metrics=["rmse", "r2"])

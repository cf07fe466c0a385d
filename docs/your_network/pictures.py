"""Pictures in one folder a class: a convolutional network with batch norm tells circles from crosses."""

import os

import torch
from torch import nn

from problems.data.picture_folder import picture_folder
from problems.workloads.workload import Workload


def workload() -> Workload:
    """The network, trained here on the folder that $PICTURES names."""
    examples, classes = picture_folder(os.environ["PICTURES"], size=(16, 16), channels=1)
    network = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        *(nn.Flatten(), nn.Linear(16, len(classes))),
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(15):
        loss = nn.functional.cross_entropy(network(examples.inputs), examples.targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Workload(network, data=examples, n_test=0.2, n_search=0.2)

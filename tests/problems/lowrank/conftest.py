"""A small network with every kind of layer, and images for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.networks.architectures.initial_weights import draw_weights


class Mixed(nn.Module):
    """Convolutions with strides, dilation, groups, uneven kernels and odd paddings, batch norm, linear layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 12, (3, 5), stride=(2, 1), padding=(1, 2))
        self.round = nn.Conv2d(12, 12, 3, padding="same", dilation=2, padding_mode="circular")
        self.grouped = nn.Conv2d(12, 16, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.hidden = nn.Linear(16, 24, bias=False)
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(self.round(torch.relu(self.wide(x))))
        x = self.depthwise(torch.relu(self.grouped(x))).mean(dim=(2, 3))
        return self.head(torch.relu(self.hidden(x)))


@pytest.fixture(scope="session")
def images():
    return torch.rand((48, 2, 12, 10), generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="session")
def mixed(images):
    model = Mixed()
    draw_weights(model, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                module.bias.normal_(generator=generator)
        model.norm.weight.uniform_(0.5, 1.5, generator=generator)
        model.train()
        model(images)  # batch-norm statistics
    return model.eval().requires_grad_(False)


@pytest.fixture
def network(mixed, images, tmp_path):
    return DecomposableNetwork(mixed, images, cache_dir=tmp_path / "spectra")

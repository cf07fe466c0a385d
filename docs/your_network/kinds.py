"""Networks of eight kinds with data by formulas, trained for a moment; `kinds.py:vit` names one of them."""

import numpy as np
import torch
from torch import Tensor, nn

from problems.data.bracket_texts import N_CLASSES, N_WORDS, bracket_texts
from problems.networks.architectures.transformer import TextTransformer, VisionTransformer
from problems.workloads import Recipe, Workload


def trained(
    network: nn.Module, inputs: Tensor, targets: Tensor, loss=nn.functional.cross_entropy, epochs=6
) -> Workload:
    """The network after a few epochs on three fifths of the examples."""
    torch.manual_seed(0)
    n = len(inputs) * 3 // 5
    optimiser = torch.optim.Adam(network.parameters(), lr=0.005)
    for _ in range(epochs):
        for rows in torch.randperm(n).split(50):
            optimiser.zero_grad()
            loss(network(inputs[rows]), targets[rows]).backward()
            optimiser.step()
    m = n + (len(inputs) - n) // 2
    parts = {"train": slice(n), "search": slice(n, m), "test": slice(m, None)}
    splits = {name: (inputs[rows], targets[rows]) for name, rows in parts.items()}
    return Workload(network, **splits, recipe=Recipe(epochs=2, lr=0.001))


def bars(size: int = 12) -> tuple[Tensor, Tensor]:
    """(800, 1, size, size) noisy pictures of a bar, and which way it lies: one of four."""
    rng = np.random.default_rng(0)
    ways = rng.integers(0, 4, 800)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    angles = (ways * np.pi / 4 + rng.normal(size=800) * 0.15)[:, None, None]
    middle = rng.uniform(size / 3, 2 * size / 3, (2, 800, 1, 1))
    pictures = np.abs((x - middle[0]) * np.sin(angles) - (y - middle[1]) * np.cos(angles)) < 1
    noisy = pictures + 0.3 * rng.normal(size=pictures.shape)
    return torch.from_numpy(noisy[:, None].astype(np.float32)), torch.from_numpy(ways)


def table() -> tuple[Tensor, Tensor]:
    """(800, 8) numbers, and two numbers that follow from them."""
    numbers = torch.randn(800, 8, generator=torch.Generator().manual_seed(0))
    return numbers, torch.stack([numbers[:, 0] * numbers[:, 1], numbers[:, 2].sin() + numbers[:, 3]], 1)


def cnn() -> Workload:
    """A plain convolutional network on pictures."""
    network = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 4)),
    )
    return trained(network, *bars())


class Residual(nn.Module):
    """Inverted bottlenecks: wide, depthwise, narrow, added to their input."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.blocks = nn.ModuleList(self.block(8, 24) for _ in range(2))
        self.last = nn.Linear(8, 4)

    @staticmethod
    def block(narrow: int, wide: int) -> nn.Sequential:
        """One bottleneck."""
        return nn.Sequential(
            *(nn.Conv2d(narrow, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, narrow, 1, bias=False), nn.BatchNorm2d(narrow)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of pictures."""
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x.mean((2, 3)))


def residual() -> Workload:
    """A residual network with depthwise convolutions and batch norms."""
    return trained(Residual(), *bars())


def mlp() -> Workload:
    """A fully connected classifier of a table."""
    numbers, wanted = table()
    classes = (wanted[:, 0] > 0).long() + 2 * (wanted[:, 1] > 0).long()
    network = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 4))
    return trained(network, numbers, classes, epochs=30)


def regression() -> Workload:
    """A fully connected network with tanh that predicts two numbers."""
    network = nn.Sequential(nn.Linear(8, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 2))
    return trained(network, *table(), loss=nn.functional.mse_loss, epochs=20)


def vit() -> Workload:
    """A vision transformer with torch's packed attention."""
    network = VisionTransformer((1, 12, 12), 4, patch=3, width=24, attention="packed")
    return trained(network, *bars())


def text() -> Workload:
    """A transformer on tokens: how deeply brackets are nested."""
    tokens, depth = (torch.from_numpy(array) for array in bracket_texts(1000, length=16))
    return trained(TextTransformer(N_WORDS, 16, N_CLASSES, attention="packed"), tokens, depth)


class Listener(nn.Module):
    """Convolutions over time, a recurrent cell, and the last state's class."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(nn.Conv1d(1, 12, 5, stride=2), nn.ReLU(), nn.Conv1d(12, 16, 3, stride=2), nn.ReLU())
        self.cell = nn.GRU(16, 16, batch_first=True)
        self.last = nn.Linear(16, 3)

    def forward(self, waves: Tensor) -> Tensor:
        """Logits of (n, 1, time) waves."""
        states, _ = self.cell(self.convs(waves).transpose(1, 2))
        return self.last(states[:, -1])


def waves() -> Workload:
    """Conv1d and a GRU tell three frequencies apart."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 800)
    speeds = (0.2 + 0.25 * kinds)[:, None] * rng.uniform(0.9, 1.1, (800, 1))
    signals = np.sin(speeds * np.arange(64) + 6 * rng.random((800, 1))) + 0.3 * rng.normal(size=(800, 64))
    return trained(Listener(), torch.from_numpy(signals[:, None].astype(np.float32)), torch.from_numpy(kinds))


class Autoencoder(nn.Module):
    """Two encoding layers, whose transposed weights decode."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(144, 48), nn.Linear(48, 12), nn.Linear(48, 48)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 144) pictures as they come out again."""
        code = self.last(self.first(x).relu()).relu()
        code = nn.functional.linear(self.second(code), self.second.weight.t())
        return nn.functional.linear(code.relu(), self.first.weight.t())


def autoencoder() -> Workload:
    """An autoencoder with tied weights, judged by what it makes of its own input."""
    pictures = bars()[0].flatten(1)
    return trained(Autoencoder(), pictures, pictures, loss=nn.functional.mse_loss)


KINDS = (cnn, residual, mlp, regression, vit, text, waves, autoencoder)

"""What this machine computes: digests of a few seeded operations, and the versions that do them.

The last digits of a product or a logarithm differ between processors and between versions of a library, and a
search or a training makes something else of them. What is recorded to the last digit holds where the probe is the same.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.linalg

VERSIONS = {
    "numpy": ("numpy", "pymoo", "deap", "scipy", "cma", "moocore"),
    "torch": ("numpy", "pymoo", "deap", "scipy", "cma", "moocore", "torch", "scikit-learn"),
}
"""By probe: the packages that searches on plain functions, and those on networks, compute with."""


def probe(name: str) -> dict[str, str]:
    """The probe of that name: versions of packages, and the digest of what they compute here."""
    found = {package: importlib.metadata.version(package).partition("+")[0] for package in VERSIONS[name]}
    arrays = _numpy_arrays() if name == "numpy" else [*_numpy_arrays(), *_torch_arrays()]
    return found | {"arithmetic": _digest(arrays)}


def differences(was: dict[str, str], now: dict[str, str]) -> str:
    """What differs between two probes, in words; "" where they are the same."""
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return "; ".join(f"{name} {was.get(name, 'none')}, here {now.get(name, 'none')}" for name in names)


def _numpy_arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    found = [rng.random(101), rng.normal(size=101), rng.integers(0, 1000, 101), rng.permutation(50), rng.beta(2, 3, 31)]
    x = rng.uniform(0.01, 5.0, 1003)
    found += [np.exp(x), np.log(x), np.sqrt(x), np.sin(x), np.cos(x), np.tanh(x), x**0.37, x**2.5, np.log1p(x)]
    found += [np.array([x.sum(), x.mean(), x.std(), np.linalg.norm(x), x[:7] @ x[7:14]])]
    for n in (2, 3, 5, 8, 40):
        A, b = rng.normal(size=(n, n)), rng.normal(size=n)
        found += [A @ b, A @ A, A @ A.T, np.linalg.solve(A, b), np.linalg.eigh(A @ A.T)[0], np.linalg.svd(A)[1]]
        found += [np.linalg.qr(A)[1], scipy.linalg.cho_solve(scipy.linalg.cho_factor(A @ A.T + n * np.eye(n)), b)]
        found += [np.einsum("ij,ij->i", A, A), (A**2).sum(axis=1), A.mean(axis=0)]
    return found


def _torch_arrays() -> list[np.ndarray]:
    import torch
    from torch.nn import functional

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        generator = torch.Generator().manual_seed(7)

        def draw(*shape: int) -> Any:
            return torch.randn(*shape, generator=generator)

        found = [draw(101), torch.randperm(50, generator=generator)]
        x = draw(1003).abs() + 0.01
        found += [x.exp(), x.log(), x.sqrt(), x.tanh(), x.sigmoid(), x.softmax(0), x.log_softmax(0), x.sum(), x.std()]
        for n, n_in, n_out in ((1, 64, 16), (60, 16, 10), (200, 64, 300), (128, 400, 120)):
            batch, weights = draw(n, n_in), draw(n_in, n_out).requires_grad_()
            loss = functional.cross_entropy(batch @ weights, torch.arange(n) % n_out)
            loss.backward()
            found += [loss, weights.grad, torch.bmm(batch.expand(3, -1, -1), weights.expand(3, -1, -1))]
        for channels, filters, size in ((1, 6, 8), (6, 16, 14), (16, 16, 32)):
            images = draw(50, channels, size, size).requires_grad_()
            kernels = draw(filters, channels, 3, 3).requires_grad_()
            made = functional.max_pool2d(functional.conv2d(images, kernels, padding=1).relu(), 2)
            made.square().mean().backward()
            found += [made, images.grad, kernels.grad]
        for dtype in (torch.float32, torch.float64):
            A = draw(40, 30).to(dtype)
            found += [torch.linalg.svdvals(A), torch.linalg.solve(A.T @ A, A[:3].T)]
        layer = torch.nn.Linear(64, 10)
        with torch.no_grad():
            layer.weight.copy_(draw(10, 64))
            layer.bias.zero_()
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            functional.cross_entropy(layer(draw(32, 64)), torch.arange(32) % 10).backward()
            optimizer.step()
        found += [layer.weight]
        return [tensor.detach().numpy() for tensor in found]
    finally:
        torch.set_num_threads(threads)


def _digest(arrays: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]

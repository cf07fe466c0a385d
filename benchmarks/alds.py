"""ALDS: tables, budgets and fronts, first checked against plain SVDs and against every allocation of a small network.

    python benchmarks/alds.py [--heuristic]

CPU seconds, one thread. To be reached on ResNet-20: the table of all choices under 0.3 s, a budget under 2 ms, a front
of 100 budgets under 1 s; the published implementation takes 4 to 20 s a budget. --heuristic times our version of it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn

from opt.problem.provenance import versions
from problems.lowrank.choices import ChoiceTable
from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.lowrank.heuristic import PublishedHeuristic
from problems.lowrank.ladder import Ladder
from problems.lowrank.layer_matrices import Layer, sliced, unfold
from problems.lowrank.spectra import option_key
from problems.workloads.reference_networks import NETWORKS

FASHION: dict[str, Any] = {"mean": (0.2860,), "std": (0.3530,)}


def network(name: str) -> tuple[nn.Module, Tensor]:
    """A network of the right shape; times do not depend on what its weights are."""
    images = torch.rand((256, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    return NETWORKS[name]((1, 28, 28), 10, seed=1, **FASHION).eval().requires_grad_(False), images


def cpu(call: Callable[[], Any], *, repeats: int = 1) -> float:
    """Least CPU seconds of a call."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def check_errors(made: DecomposableNetwork) -> float:
    """Largest difference between the table and truncated SVDs of a few slices, by hand."""
    table, worst = made.errors("spectral"), 0.0
    for layer in made.layers[:: max(1, len(made.layers) // 4)]:
        matrices = unfold(made.weights[layer.name].astype(np.float64), layer, 0)
        norm = np.linalg.norm(matrices.reshape(matrices.shape[1], -1), 2)
        for k in layer.slices:
            for j in (1, layer.full_rank(0, k) // 2):
                left = []
                for block in sliced(matrices, k):
                    u, s, vt = np.linalg.svd(block, full_matrices=False)
                    left.append(np.linalg.norm(block - (u[:, :j] * s[:j]) @ vt[:j], 2))
                worst = max(worst, abs(max(left) / norm - table[option_key(layer.name, 0, k)][j]))
    assert worst < 1e-12, worst
    return worst


def check_optimum(made: DecomposableNetwork) -> int:
    """The ladder against every allocation of three layers of the network; how many there are."""
    few: list[Layer] = [made.by_name[name] for name in ("conv1", "conv2", "fc3")]
    table = ChoiceTable(few, made.errors("spectral"), made.whole)
    flats = [table.flat(i, "parameters") for i in range(table.n_layers)]
    worst = np.array([max(e) for e in itertools.product(*(f[2].tolist() for f in flats))])
    sizes = table.rest["parameters"] + np.array([sum(s) for s in itertools.product(*(f[3].tolist() for f in flats))])
    ladder = Ladder(table)
    for budget in range(ladder.smallest, ladder.largest, 7):
        x = ladder.allocate(budget)[None]
        assert table.sizes(x, "parameters")[0] <= budget
        assert table.errors(x).max() == worst[sizes <= budget].min()
    return len(worst)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heuristic", action="store_true", help="also time the heuristic, 15 starts a budget")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print({**versions(), "machine": platform.machine()}, f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        small = DecomposableNetwork(*network("lenet5"), cache_dir=folder)
        print(f"equal: errors within {check_errors(small):.1e}, optimum among {check_optimum(small):,} allocations")
    print(f"{'':9} {'table':>9} {'again':>9} {'on data':>9} {'a budget':>10} {'100 budgets':>12} {'population':>11}")
    for name in ("lenet5", "resnet20"):
        measure(name, with_heuristic=asked.heuristic)


def measure(name: str, *, with_heuristic: bool) -> None:
    """Times of one network, a line; a population is 1,000 candidates, their errors and sizes."""
    with tempfile.TemporaryDirectory() as folder:
        check_errors(DecomposableNetwork(*network(name), cache_dir=f"{folder}/checked"))
        made = DecomposableNetwork(*network(name), cache_dir=folder)
        first = cpu(made.table)
        again = cpu(made.table, repeats=3)
        data = cpu(lambda: made.table("data"))
        table = made.table()
    ladder = Ladder(table)
    budgets = np.linspace(ladder.smallest, ladder.largest, 100)
    one = max(cpu(lambda b=b: ladder.allocate(b)) for b in budgets)  # type: ignore[misc]
    many = cpu(lambda: Ladder(table).allocate_many(budgets), repeats=3)
    rng = np.random.default_rng(0)
    X = rng.integers(0, [[len(o), 64] for o in table.options], size=(1000, table.n_layers, 2)).reshape(1000, -1)
    population = cpu(lambda: (table.errors(X).max(axis=1), table.sizes(X, "parameters")), repeats=5)
    cells = [f"{t:.3g} s" for t in (first, again, data)] + [f"{1000 * t:.3g} ms" for t in (one, many, population)]
    print("{:9} {:>9} {:>9} {:>9} {:>10} {:>12} {:>11}".format(name, *cells))
    if name == "resnet20":
        assert first < 0.3 and one < 0.002 and many < 1.0, "slower than what is to be reached"
    for keep in (0.5, 0.3, 0.2, 0.1) if with_heuristic else ():
        budget = keep * table.total("parameters")
        start = time.process_time()
        found = PublishedHeuristic(table).allocate(budget, np.random.default_rng(0))
        seconds = time.process_time() - start
        assert found is not None
        error, best = (table.errors(x[None]).max() for x in (found, ladder.allocate(budget)))
        print(
            f"  heuristic at {keep}: {seconds:.2f} s, {seconds / one:,.0f} times the exact optimum's; "
            f"error {error:.4f}, exact {best:.4f}"
        )


if __name__ == "__main__":
    main()

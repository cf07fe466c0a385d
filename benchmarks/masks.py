"""Mask evaluation by what a swap changes against full forward passes.

Equality first: logits of masks reached by swaps and of the same masks from nothing must be the same
bits, and those of the network in float32 the same up to rounding; a CNN's logits under filter masks must be those of
the masked network run whole, and of the physically pruned one. Then CPU time on one thread, 2,000 search
images of Fashion-MNIST (the digits where it is not found): a full forward pass of LeNet-300-100, a swap of 2h weights,
a guided move's slope, and for the CNN a batch of filter masks against full passes.

    python benchmarks/masks.py [--json FILE] [--data NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

from operators.masks import Swap, as_population
from opt.console.errors import UsageError
from opt.problem.provenance import versions
from problems.masking.graph import settle_norms
from problems.masking.space import with_masks
from problems.masks import Masks
from problems.workloads.plain_network import with_tensors

REPEATS = 7
SWAPS = (1, 4, 16, 64, 256)
N_MASKS = 40


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def median_seconds(function: Callable[[], object], n: int = 1) -> float:
    """Seconds of one of the n things that a call does, the median over calls."""
    return statistics.median(cpu_seconds(function) for _ in range(REPEATS)) / n


def forward(problem: Masks, mask: np.ndarray, batch: int) -> np.ndarray:
    """(n_classes, n) logits of a masked fully connected network in float32, as torch runs it."""
    x = problem._shown.inputs.flatten(1)
    weights = [problem.state[f"{name}.weight"] for name in problem.space.names]
    masks = [torch.from_numpy(m) for m in problem.space.tensors(mask).values()]
    weights = [w * m for w, m in zip(weights, masks, strict=True)]
    parts = []
    with torch.no_grad():
        for part in x.split(batch):
            for k, weight in enumerate(weights):
                part = part @ weight.T
                if k < len(weights) - 1:
                    part = torch.relu(part)
            parts.append(part)
    return torch.cat(parts).T.numpy()


def masked(problem: Masks, mask: np.ndarray) -> nn.Module:
    """The whole network with zeros in place of dropped filters, its batch norms settled."""
    network = with_tensors(problem.model, with_masks(problem.state, problem.space.tensors(mask)))
    settle_norms(network, problem._shown.inputs)
    return network


def lines_of_swaps(problem: Masks, h: int, n: int, seed: int) -> np.ndarray:
    """A chain of n masks, each h swaps from the one before."""
    rng = np.random.default_rng(seed)
    swap = Swap(problem.layout, h)
    X = problem.operators().sampling(1, rng)
    chain = [X[0, 0]]
    for _ in range(n):
        chain.append(swap(as_population([chain[-1]]), np.ones(1), rng)[0, 0])
    return as_population(chain)


def check_dense(problem: Masks, fresh: Masks) -> None:
    for h in (1, 4, 300, 5000):
        X = lines_of_swaps(problem, h, 20, seed=h)
        by_swaps = [z.copy() for z in problem._network_on.logits(list(X[:, 0]))]
        for k in (5, 20):
            (again,) = fresh._network_on.logits([X[k, 0]])
            if by_swaps[k].tobytes() != again.tobytes():
                sys.exit(f"NOT EQUAL: logits by swaps of h = {h} and from nothing")
            plain = forward(problem, X[k, 0].mask(), 2000)
            worst = float(np.abs(plain - again).max() / plain.std())
            if worst > 1e-4:
                sys.exit(f"NOT EQUAL: exact logits and float32's differ by {worst:.2g} of their deviation")
            fresh._network_on.show(fresh._shown)
    print(f"equal: logits by swaps and from nothing, bit by bit; from float32's {worst:.1g} of their deviation apart")


def check_graph(problem: Masks) -> None:
    X = problem.operators().sampling(4, np.random.default_rng(0))
    images = problem._shown.inputs
    for genome, logits in zip(X[:, 0], problem._network_on.logits(list(X[:, 0])), strict=True):
        x = as_population([genome])[0]
        whole, pruned = masked(problem, genome.mask()), problem.pruned(x)
        with torch.no_grad():
            a, b = whole(images).T.numpy(), pruned(images).T.numpy()
        for name, other in (("masked network", a), ("pruned network", b)):
            worst = float(np.abs(logits - other).max() / np.abs(a).max())
            if worst > 1e-4:
                sys.exit(f"NOT EQUAL: logits of the cut graph and of the {name} differ by {worst:.2g}")
    print(f"equal: logits of the cut graph, of the masked network and of the pruned one, {worst:.1g} apart")


def dense_rows(problem: Masks) -> list[dict[str, object]]:
    mask = problem.operators().sampling(1, np.random.default_rng(0))[0, 0].mask()
    full = min(median_seconds(lambda b=batch: forward(problem, mask, b)) for batch in (250, 500, 1000, 2000))
    rows: list[dict[str, object]] = [
        {"work": "LeNet-300-100, full forward pass (float32, its fastest batch)", "cpu_ms": 1e3 * full, "ratio": 1.0}
    ]
    for h in SWAPS:
        X = lines_of_swaps(problem, h, N_MASKS * (REPEATS + 1), seed=h)
        parts = iter(np.array_split(X[1:, 0], REPEATS + 1))
        list(problem._network_on.logits([X[0, 0], *next(parts)]))
        each = median_seconds(lambda parts=parts: list(problem._network_on.logits(list(next(parts)))), N_MASKS)
        rows.append({"work": f"a swap, h = {h}", "cpu_ms": 1e3 * each, "ratio": full / each})
    genome = X[-1, 0]
    each = median_seconds(lambda: problem.slope(genome))
    rows.append({"work": "the slope of a guided swap", "cpu_ms": 1e3 * each, "ratio": full / each})
    return rows


def graph_rows(problem: Masks) -> list[dict[str, object]]:
    X = lines_of_swaps(problem, 2, N_MASKS, seed=0)[1:]
    images = problem._shown.inputs
    model = masked(problem, X[0, 0].mask()).train()
    with torch.no_grad():
        full = median_seconds(lambda: model(images))
    rows: list[dict[str, object]] = [
        {"work": "strided CNN, full forward pass of the masked network", "cpu_ms": 1e3 * full, "ratio": 1.0}
    ]
    for name, batches in (("one by one", [[x] for x in X[:, 0]]), ("as a batch", [list(X[:, 0])])):

        def run(batches: list = batches) -> None:
            problem._network_on.show(problem._shown)
            for batch in batches:
                list(problem._network_on.logits(batch))

        each = median_seconds(run, N_MASKS)
        rows.append({"work": f"{N_MASKS} filter masks, h = 2, {name}", "cpu_ms": 1e3 * each, "ratio": full / each})
    return rows


def main() -> None:
    """Check, time, print one row per work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--data", default="fashion-mnist", help="data set (default: fashion-mnist)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    options = {"data": arguments.data, "references": "none"}
    try:
        problem = Masks(**options)
    except UsageError:
        options["data"] = "digits"
        problem = Masks(**options)
    cnn = Masks(network="strided-cnn", level="filters", width=0.25, n_images=1024, **options)
    check_dense(problem, Masks(**options))
    check_graph(cnn)
    rows = dense_rows(problem) + graph_rows(cnn)
    title = f"work, {problem.n_images:,} images (CNN: {cnn.n_images:,})"
    print(f"{title:64} {'CPU [ms]':>9} {'times less':>11}")
    for row in rows:
        print(f"{row['work']:64} {row['cpu_ms']:9.3f} {row['ratio']:11.1f}")
    print(f"one thread; {versions()}; {platform.processor() or platform.machine()}; load {os.getloadavg()}")
    if arguments.json:
        record = {"rows": rows, "n_images": problem.n_images, "versions": versions(), "load": os.getloadavg()}
        arguments.json.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()

"""Threshold search against full forward passes: exact front, and 600 evaluations.

Equality first: the errors of every mask by cumulative updates, of a population by one product of
matrices, and of decoded networks one by one must be the same numbers. Then CPU time on one thread,
10,000 search images of Fashion-MNIST (the digits where it is not found): the exact front of all
masks, and 600 evaluations as NSGA-II asks for them (six generations of 100) by cumulative updates,
as products, and as full forward passes of which so many are run that the rest can be told from them.

    python benchmarks/threshold.py [--json FILE] [--data NAME] [--passes N]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from opt.problem.provenance import versions
from problems.networks.evaluation.staged import StagedNetwork
from problems.networks.training.training import evaluate
from problems.threshold import Threshold

N_EVAL, GENERATION = 600, 100
REPEATS = 5
# Images a forward pass: the fastest of 100, 250, 500, 1000 and 2000 on the machine this was written on, and many.
BATCH, LARGE_BATCH = 250, 2000


def cpu_seconds(function) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def full_passes(problem: Threshold, X: np.ndarray, batch_size: int = BATCH) -> np.ndarray:
    """Errors of decoded networks, one forward pass over all search images each."""
    images, labels = problem.workload.search.split.images, problem.workload.search.split.labels
    return np.array([1 - evaluate(problem.decode(x), images, labels, batch_size=batch_size)[1] for x in X])


def as_products(problem: Threshold) -> StagedNetwork:
    """The same evaluation without the chain of removals: one product of matrices a population."""
    search = problem.workload.search.split
    return StagedNetwork(problem.model, problem.names, search.images, search.labels, problem.pruned)


def check_equal(problem: Threshold, population: np.ndarray) -> None:
    """Stop unless all ways give the same errors."""
    counts = problem.counts(population)
    n = len(problem.workload.search.split)
    chain = problem.evaluate(population)[:, 0]
    product = 1 - as_products(problem).n_right([counts]) / n
    one_by_one = full_passes(problem, population[:10])
    every = problem._objectives(problem.masks.chain(0)[:, None])
    for name, a, b in (
        ("the exact chain and a population's evaluation", every[counts[:, 0], 0], chain),
        ("one product and the chain", product, chain),
        ("full passes and the chain", one_by_one, chain[:10]),
    ):
        different = int(np.rint(np.abs(a - b) * n).max())
        # float32 sums in another order may turn a near tie
        if different > 1:
            sys.exit(f"NOT EQUAL: {name} differ by {different} of {n} images")
        print(f"equal: {name}, {len(a)} masks, at most {different} of {n} images apart")


def main() -> None:
    """Check, time, print one row per work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--data", default="fashion-mnist", help="data set (default: fashion-mnist)")
    parser.add_argument("--passes", type=int, default=30, help="full forward passes that are run (default: 30)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    problem = Threshold(data=arguments.data)
    n_images, n_masks = len(problem.workload.search.split), len(problem.masks.chain(0))
    generations = np.array_split(problem.operators().sampling(N_EVAL, np.random.default_rng(0)), N_EVAL // GENERATION)
    check_equal(problem, generations[0])
    network = as_products(problem)
    network.n_right([problem.counts(generations[0])])

    def exact() -> None:
        problem._objectives(problem.masks.chain(0)[:, None])

    def by_chain() -> None:
        for X in generations:
            problem.evaluate(X)

    def by_product() -> None:
        for X in generations:
            network.n_right([problem.counts(X)])

    passes = generations[0][: arguments.passes]
    thirds = [passes[k::3] for k in range(3)]
    full, slower = (
        statistics.median(cpu_seconds(partial(full_passes, problem, third, size)) / len(third) for third in thirds)
        for size in (BATCH, LARGE_BATCH)
    )
    rows = [
        {"work": f"{N_EVAL} full passes in batches of {size:,}", "cpu_s": each * N_EVAL, "times_less": full / each}
        for size, each in ((LARGE_BATCH, slower), (BATCH, full))
    ]
    for name, function, n in (
        (f"{N_EVAL} evaluations by cumulative updates", by_chain, N_EVAL),
        (f"{N_EVAL} evaluations by products", by_product, N_EVAL),
        (f"exact front, all {n_masks} masks", exact, n_masks),
    ):
        seconds = statistics.median(cpu_seconds(function) for _ in range(REPEATS))
        rows.append({"work": name, "cpu_s": seconds, "times_less": full * n / seconds})
    print(f"{'work, ' + format(n_images, ',') + ' images':48} {'CPU [s]':>9} {'times less than full passes':>28}")
    for row in rows:
        print(f"{row['work']:48} {row['cpu_s']:9.3f} {row['times_less']:28.1f}")
    print(f"one thread; {versions()}; {platform.processor() or platform.machine()}; load {os.getloadavg()}")
    if arguments.json:
        record = {"rows": rows, "n_images": n_images, "versions": versions(), "load": os.getloadavg()}
        arguments.json.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()

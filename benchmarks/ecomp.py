"""One generation of the published EComp method: as one batch, against network by network.

    python benchmarks/ecomp.py [--json FILE] [--repeats N]

First checks that both give the same errors and losses (1e-4 relative), then times the CPU of a
whole generation on one thread: evaluation of 100 networks on 100 images with the Gaussian
dissimilarity of both hidden layers, softmax selection, block crossover, weight noise.

The reference is written the plain way: a `torch.nn.Sequential` per network, and scikit-learn's
t-SNE probabilities per network and layer. It comes in two forms: with a loss that is a function of
two networks' embeddings and so computes the parent's probabilities every time, and with those
computed once a batch.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import sklearn
import torch
from rows_file import finish
from scipy.spatial.distance import pdist, squareform
from sklearn.manifold._t_sne import _joint_probabilities
from threadpoolctl import threadpool_limits
from torch import nn

from operators.networks import BlockCrossover, L1Sampling, NetworkGenome, ParentNetwork, WeightNoise
from problems.networks.architectures.fully_connected import FullyConnected
from problems.similarity.batch import Measurement
from problems.similarity.table import ExampleTable, inherited

POP_SIZE, BATCH_SIZE, HIDDEN, PERPLEXITY = 100, 100, 256, 30.0
W_DISSIMILARITY, W_SIZE = 2.0, 1.0


def main(argv: list[str] | None = None) -> int:
    """Check, time, print one row; exit code 1 when the results differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the row to this file")
    parser.add_argument("--repeats", type=int, default=7, help="timed generations of each; the median counts")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with threadpool_limits(limits=1), torch.no_grad():
        rows = benchmark(options.repeats)
    print(f"{'work':<62} {'ours [CPU s]':>12} {'reference [CPU s]':>18} {'ratio':>7}   equal to (relative)")
    for row in rows:
        print(
            f"{row['work']:<62} {row['ours_cpu_s']:>12.4f} {row['reference_cpu_s']:>18.4f} {row['ratio']:>7.1f}"
            f"   {row['largest_relative_difference']:.1e}"
        )
    return finish(rows, options.json, complaint="results differ by more than 1e-4")


def benchmark(repeats: int) -> list[dict[str, Any]]:
    """One row per reference: equality first, then medians of CPU seconds."""
    images, labels = make_images(np.random.default_rng(0), n=20 * BATCH_SIZE)
    weights, biases = train_parent(images, labels).to_arrays()
    network = ParentNetwork(tuple(weights), tuple(biases))
    initial = L1Sampling(network)(POP_SIZE, np.random.default_rng(1))
    batch = slice(0, BATCH_SIZE)

    # Every network of the first population has crossed once: all widths are there, and weights are explicit.
    pairs = np.random.default_rng(2).permutation(POP_SIZE)
    children = BlockCrossover(network)(initial[pairs[::2]], initial[pairs[1::2]], np.random.default_rng(2))
    X = WeightNoise(network)(np.concatenate(children), np.random.default_rng(2))
    networks = [as_sequential(genome, network) for genome in X[:, 0]]
    parent = as_sequential(network.genome(), network)
    ours = evaluate(network, X, images[batch], labels[batch])
    widths = [genome.widths[0] for genome in X[:, 0]]
    ours_s = median_cpu_seconds(
        lambda: generation(network, X, images[batch], labels[batch], np.random.default_rng(3)), repeats
    )
    rows: list[dict[str, Any]] = []
    for keep_parent, text in ((False, "in every loss"), (True, "once a batch")):
        plain = plain_evaluate(parent, networks, images[batch], labels[batch], keep_parent=keep_parent)
        difference = np.abs(ours[1] - plain[1]) / np.abs(plain[1])
        work = partial(plain_generation, parent, networks, images[batch], labels[batch], keep_parent=keep_parent)
        reference_s = median_cpu_seconds(lambda w=work: w(np.random.default_rng(3)), max(3, repeats // 2))
        rows.append(
            {
                "work": f"EComp generation; reference: parent's probabilities {text}",
                "ours_cpu_s": ours_s,
                "reference_cpu_s": reference_s,
                "ratio": reference_s / ours_s,
                "equal": bool(np.array_equal(ours[0], plain[0]) and difference.max() < 1e-4),
                "largest_relative_difference": float(difference.max()),
                "pop_size": POP_SIZE,
                "batch_size": BATCH_SIZE,
                "widths": [min(widths), max(widths)],
                "perplexity": PERPLEXITY,
                "n_threads": 1,
                "repeats": repeats,
                "cpu": cpu_model(),
                "versions": {
                    "python": platform.python_version(),
                    "torch": torch.__version__,
                    "numpy": np.__version__,
                    "scikit-learn": sklearn.__version__,
                },
            }
        )
    return rows


# -- ours -----------------------------------------------------------------------------------------


def evaluate(
    network: ParentNetwork, X: np.ndarray, images: torch.Tensor, labels: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Errors and dissimilarities of a population on a new batch of images, whose tables are made anew."""
    table = ExampleTable(network, images.numpy(), labels.numpy())
    measure = Measurement(table, n_points=len(images), similarity="gaussian", perplexity=PERPLEXITY)
    return measure([inherited(genome, network) for genome in X[:, 0]])


def generation(
    network: ParentNetwork, X: np.ndarray, images: torch.Tensor, labels: torch.Tensor, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate a population and make its children."""
    _, dissimilarity = evaluate(network, X, images, labels)
    chosen = select(dissimilarity, np.array([genome.widths[0] for genome in X[:, 0]]), rng)
    C, D = BlockCrossover(network)(X[chosen[::2]], X[chosen[1::2]], rng)
    return WeightNoise(network)(np.concatenate([C, D]), rng), dissimilarity


def select(dissimilarity: np.ndarray, widths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of the parents: as many draws as networks, p = softmax(fitness), shuffled."""
    fitness = -W_DISSIMILARITY * dissimilarity + W_SIZE * (1 - widths / HIDDEN)
    p = np.exp(fitness - fitness.max())
    return rng.permutation(rng.choice(len(p), size=len(p), p=p / p.sum()))


# -- network by network ---------------------------------------------------------------------------


def as_sequential(genome: NetworkGenome, network: ParentNetwork) -> nn.Sequential:
    """The genome as a plain torch module."""
    weights, biases = genome.materialise(network)
    model = FullyConnected.from_arrays([w.copy() for w in weights], [b.copy() for b in biases])
    first, second, output = model.linear_layers
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), output)


def plain_probabilities(embeddings: torch.Tensor) -> np.ndarray:
    """scikit-learn's joint probabilities of one layer's embeddings, (n, n) with zeros on the diagonal."""
    distances = squareform(pdist(embeddings.double().numpy(), "sqeuclidean"))
    return squareform(_joint_probabilities(distances, PERPLEXITY, 0))


def plain_layers(model: nn.Sequential, images: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Both hidden layers and the logits."""
    first = model[1](model[0](images))
    second = model[3](model[2](first))
    return [first, second], model[4](second)


def plain_evaluate(
    parent: nn.Sequential,
    networks: list[nn.Sequential],
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    keep_parent: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Errors and dissimilarities, one network after another.

    With `keep_parent` the parent's probabilities are computed once a batch; without, in every loss, as
    by a function of two networks' embeddings.
    """
    off_diagonal = ~np.eye(len(images), dtype=bool)
    parent_layers = plain_layers(parent, images)[0]
    wanted = [plain_probabilities(layer)[off_diagonal] for layer in parent_layers]
    errors, losses = [], []
    for model in networks:
        hidden, logits = plain_layers(model, images)
        errors.append(float((logits.argmax(dim=1) != labels).double().mean()))
        loss = 0.0
        if not keep_parent:
            wanted = [plain_probabilities(layer)[off_diagonal] for layer in parent_layers]
        for p, layer in zip(wanted, hidden, strict=True):
            q = plain_probabilities(layer)[off_diagonal]
            loss += float(np.sum(p * np.log(p / q)))
        losses.append(loss)
    return np.array(errors), np.array(losses)


def plain_generation(
    parent: nn.Sequential,
    networks: list[nn.Sequential],
    images: torch.Tensor,
    labels: torch.Tensor,
    rng: np.random.Generator,
    *,
    keep_parent: bool,
) -> list[nn.Sequential]:
    """Evaluate networks and make their children, one after another."""
    _, dissimilarity = plain_evaluate(parent, networks, images, labels, keep_parent=keep_parent)
    chosen = select(dissimilarity, np.array([model[0].out_features for model in networks]), rng)
    children: list[nn.Sequential] = []
    for i, j in zip(chosen[::2], chosen[1::2], strict=True):
        a, b = copy.deepcopy(networks[i]), copy.deepcopy(networks[j])
        for k in (0, 2, 4):
            c = int(rng.integers(1, min(*a[k].weight.shape, *b[k].weight.shape), endpoint=True))
            for left, right in ((a[k].weight[:c, :c], b[k].weight[:c, :c]), (a[k].bias[:c], b[k].bias[:c])):
                kept = left.clone()
                left.copy_(right)
                right.copy_(kept)
        children += [a, b]
    for model in children:
        if rng.random() < 0.01:
            for parameter in model.parameters():
                factors = rng.uniform(0.9, 1.1, tuple(parameter.shape))
                parameter.mul_(torch.from_numpy(factors.astype(np.float32)))
    return children


# -- the work -------------------------------------------------------------------------------------


def make_images(rng: np.random.Generator, *, n: int, side: int = 28, n_classes: int = 10) -> tuple:
    """Images of ten classes that vary smoothly around their prototypes: no data set is needed to time."""
    basis = np.stack(
        [
            np.cos(np.pi * u * (np.arange(side)[:, None] + 0.5) / side)
            * np.cos(np.pi * v * (np.arange(side)[None] + 0.5) / side)
            for u in range(6)
            for v in range(6)
        ]
    ).reshape(36, -1)
    labels = rng.integers(n_classes, size=n)
    coordinates = rng.normal(size=(n_classes, 36))[labels] + 0.6 * rng.normal(size=(n, 36))
    images = 1 / (1 + np.exp(-(coordinates @ basis) / 2)) + 0.05 * rng.random((n, side * side))
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels)


def train_parent(images: torch.Tensor, labels: torch.Tensor) -> FullyConnected:
    """A parent that has learnt the classes, after a few passes."""
    model = FullyConnected((images.shape[1], HIDDEN, HIDDEN, int(labels.max()) + 1), seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    with torch.enable_grad():
        for _ in range(10):
            for x, y in zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True):
                loss = nn.functional.cross_entropy(model(x), y)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return model


def median_cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median CPU time of `work` over repeats, after one that doesn't count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    sys.exit(main())

"""Against the published implementation's own numbers: errors of every choice of a LeNet-5, and the heuristic's.

`published/lenet5.npz` holds what torchprune (Liebenwein et al. 2021, arXiv:2107.11442) computed on a LeNet-5 trained on
Fashion-MNIST: by "layer|k=K" the relative error when rank j is kept, e[j], and the weight of conv2, (16, 6, 3, 3).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from problems.lowrank.choices import ChoiceTable
from problems.lowrank.heuristic import PublishedHeuristic
from problems.lowrank.ladder import Ladder
from problems.lowrank.layer_matrices import Layer, Whole
from problems.lowrank.spectra import error_tables, option_key

LAYERS = [
    Layer("conv1", 6, 1, 1, (3, 3), (32, 32), (30, 30), True, True),
    Layer("conv2", 16, 6, 1, (3, 3), (15, 15), (13, 13), True, True),
    Layer("fc1", 120, 16, 1, (6, 6), (6, 6), (1, 1), True, True),
    Layer("fc2", 84, 120, 1, (), (), (), True, True),
    Layer("fc3", 10, 84, 1, (), (), (), True, True),
]
# parameters that the published heuristic kept, and its largest error
HEURISTIC = [(39_530, 0.15944667), (24_258, 0.22105147), (16_310, 0.29822626), (8_388, 0.41838844)]


@pytest.fixture(scope="module")
def published():
    with np.load(Path(__file__).parent / "published" / "lenet5.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file}


@pytest.fixture(scope="module")
def table(published):
    errors = {}
    for layer in LAYERS:
        for k in layer.slices:
            e = published[f"{layer.name}|k={k}"]
            errors[option_key(layer.name, 0, k)] = np.append(e, 0.0)[: layer.full_rank(0, k) + 1]
    return ChoiceTable(LAYERS, errors, Whole(81_194, 274_656, 4 * 81_194))


def test_errors_of_every_choice(published, tmp_path):
    ours = error_tables({"conv2": published["conv2.weight"]}, [LAYERS[1]], cache_dir=tmp_path)
    assert len(ours) == 4
    for k in LAYERS[1].slices:
        e = published[f"conv2|k={k}"]
        np.testing.assert_allclose(ours[option_key("conv2", 0, k)][: len(e)], e, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("parameters", "theirs", "optimum"),
    [(*row, best) for row, best in zip(HEURISTIC, (0.1594, 0.2191, 0.2872, 0.4075), strict=True)],
)
def test_optimum_is_no_worse_than_the_published_heuristic(table, parameters, theirs, optimum):
    x = Ladder(table).allocate(parameters)
    error = float(table.errors(x[None]).max())
    assert table.sizes(x[None], "parameters")[0] <= parameters
    assert error == pytest.approx(optimum, abs=5e-5) and error <= theirs + 1e-7
    heuristic = PublishedHeuristic(table).allocate(parameters, np.random.default_rng(0))
    assert error <= float(table.errors(heuristic[None]).max()) + 1e-12

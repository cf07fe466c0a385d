"""What only the real data set can show; skipped where its files are not."""

import pytest

from opt.console.errors import UsageError
from problems.data.data import load_dataset
from problems.workloads.parents import trained_parent


@pytest.fixture(scope="module")
def fashion():
    try:
        return load_dataset("fashion-mnist", download=False)
    except UsageError as error:
        pytest.skip(f"needs the Fashion-MNIST files: {error}")


def test_fashion_mnist_has_its_published_shape(fashion):
    assert (len(fashion.train), len(fashion.search), len(fashion.test)) == (50_000, 10_000, 10_000)
    assert fashion.input_shape == (1, 28, 28) and fashion.n_classes == 10
    assert fashion.test.labels.bincount().tolist() == [1000] * 10
    assert float(fashion.search.images.max()) == 1


def test_one_epoch_on_fashion_mnist_beats_four_fifths(fashion, tmp_path):
    _, info = trained_parent(fashion, widths=(64, 64), epochs=1, cache_dir=tmp_path, progress=False)
    assert info["accuracy"] > 0.8

import numpy as np
import pytest

from problems.networks.architectures.fully_connected import FullyConnected
from problems.similarity.cost import count


def test_count_agrees_with_the_network_itself():
    for hidden in ((5,), (9, 7), (3, 4, 2)):
        model = FullyConnected((11, *hidden, 6))
        cost = count(np.array(hidden), 11, 6)
        assert cost.parameters == sum(p.numel() for p in model.parameters())
        assert cost.macs == sum(layer.weight.numel() for layer in model.linear_layers)
        assert cost.size_bytes == 4 * cost.parameters


def test_count_of_many_is_count_of_each():
    widths = np.array([[256, 256], [26, 26], [100, 7]])
    together = count(widths, 784, 10)
    for k, row in enumerate(widths):
        alone = count(row, 784, 10)
        assert [array[k] for array in together] == list(alone)
    assert together.parameters[0] == 269_322
    assert together.parameters[1] / 269_322 == pytest.approx(0.0794, abs=1e-4)


def test_count_rounds_bits_up_to_bytes():
    assert count(np.array([1]), 2, 1, bit_width=1).size_bytes == 1
    assert count(np.array([256, 256]), 784, 10, bit_width=8).size_bytes == 269_322


def test_count_does_not_overflow_small_integers():
    assert count(np.array([[200, 200]], dtype=np.uint8), 784, 10).macs[0] == 784 * 200 + 200 * 200 + 2000


@pytest.mark.parametrize("widths", [np.array([0, 3]), np.array([2.0]), np.zeros((1, 1, 1), dtype=int)])
def test_count_refuses_other_widths(widths):
    with pytest.raises(ValueError, match="widths"):
        count(widths, 4, 2)

"""The named data sets: which weights they take, and that computed ones find their way back."""

from __future__ import annotations

import numpy as np
import pytest

from opt.console.errors import UsageError
from problems.circuits.tasks import TASKS, build_task
from problems.networks.architectures.valid_lenet5 import ValidLeNet5
from problems.networks.layers.quantised import Int8Weight, int8_weights

WEIGHTS = int8_weights(ValidLeNet5((1, 28, 28), 10, seed=3))
CONV1, CONV2 = WEIGHTS["conv1"].codes, WEIGHTS["conv2"].codes


@pytest.mark.parametrize(
    ("name", "sizes", "grid"),
    [
        ("single_filter", [(9, 16)], (5, 5)),
        ("reversed_single_filter", [(16, 9)], (5, 5)),
        ("zero_outer", [(9, 16)], (5, 5)),
        ("grid_size", [(9, 16)], (5, 5)),
        ("single_channel", [(54, 96)], (30, 7)),
        ("layer_bypass", [(150, 2400)], (30, 7)),
        ("all_layers", [(54, 96), (864, 1536)], (256, 31)),
        ("no_input", [(1, 2550)], (256, 31)),
        ("mobilenet", [(96, 2400)], (256, 31)),
    ],
)
def test_task_has_the_published_sizes(name, sizes, grid):
    task = build_task(name, WEIGHTS)
    assert [(len(d.inputs), len(d.outputs)) for d in task.data] == sizes
    assert (task.rows, task.cols) == grid
    assert task.n_outputs == sum(n for _, n in sizes)
    assert all(d.inputs.dtype == d.outputs.dtype == np.int8 for d in task.data)


@pytest.mark.parametrize("name", TASKS)
def test_right_outputs_put_back_are_the_trained_codes(name):
    for data in build_task(name, WEIGHTS).data:
        if name == "zero_outer":
            continue
        for layer, codes in data.codes(data.outputs, WEIGHTS).items():
            np.testing.assert_array_equal(codes, WEIGHTS[layer].codes)
        wrong = data.codes((data.outputs.astype(int) ^ 1).astype(np.int8), WEIGHTS)
        changed = sum(int((codes != WEIGHTS[layer].codes).sum()) for layer, codes in wrong.items())
        assert changed == len(data.outputs)


def test_core_and_outer_are_the_central_nine_and_the_rest():
    kernel = 4
    (data,) = build_task("single_filter", WEIGHTS, kernel=kernel).data
    weights = CONV1[kernel, 0]
    np.testing.assert_array_equal(data.inputs, weights[1:4, 1:4].ravel())
    rim = np.ones((5, 5), dtype=bool)
    rim[1:4, 1:4] = False
    np.testing.assert_array_equal(data.outputs, weights[rim])
    (reverse,) = build_task("reversed_single_filter", WEIGHTS, kernel=kernel).data
    np.testing.assert_array_equal(reverse.inputs, data.outputs)
    np.testing.assert_array_equal(reverse.outputs, data.inputs)


def test_zero_outer_makes_the_rim_zero():
    (data,) = build_task("zero_outer", WEIGHTS, kernel=2).data
    codes = data.codes(data.outputs, WEIGHTS)["conv1"]
    assert (codes[2, 0, 1:4, 1:4] == CONV1[2, 0, 1:4, 1:4]).all()
    assert (codes[2, 0, 0] == 0).all() and (codes[2, 0, :, 4] == 0).all()


def test_kernel_of_a_layer_with_several_input_channels_counts_output_channels_outermost():
    (data,) = build_task("single_filter", WEIGHTS, layer="conv2", kernel=6 * 2 + 5).data
    np.testing.assert_array_equal(data.inputs, CONV2[2, 5, 1:4, 1:4].ravel())
    (channel,) = build_task("single_channel", WEIGHTS, layer="conv2", kernel=5).data
    np.testing.assert_array_equal(channel.inputs, CONV2[:, 5, 1:4, 1:4].ravel())


def test_mobilenet_counts_its_own_inputs_as_loaded():
    task = build_task("mobilenet", WEIGHTS, layer="fc2")
    np.testing.assert_array_equal(task.data[0].inputs, WEIGHTS["fc2"].codes.ravel()[:96])
    assert task.n_replaced == 120 * 84 - 96
    assert build_task("layer_bypass", WEIGHTS).n_replaced == 2400


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"name": "single_filtre"}, "did you mean 'single_filter'"),
        ({"name": "single_filter", "layer": "conv3"}, "did you mean 'conv"),
        ({"name": "layer_bypass", "source": "nowhere"}, "no convolution or linear layer 'nowhere'"),
        ({"name": "layer_bypass", "source": "conv2", "layer": "conv2"}, "two different layers"),
        ({"name": "layer_bypass", "layer": "fc1"}, "two different layers"),
        ({"name": "single_filter", "layer": "fc1"}, "needs 2-D kernels of 5 x 5"),
        ({"name": "single_filter", "kernel": 6}, "kernel must lie in 0 .. 5"),
        ({"name": "single_filter", "kernel": -1}, "kernel must lie in 0 .. 5"),
        ({"name": "single_channel", "kernel": 1}, "must lie in 0 .. 0"),
    ],
)
def test_wrong_choice_is_one_line(options, part):
    with pytest.raises(UsageError) as caught:
        build_task(weights=WEIGHTS, **options)
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_network_without_wide_kernels_is_told_so():
    small = {"conv": Int8Weight(np.ones((2, 1, 3, 3), dtype=np.int8), np.ones((2, 1, 1, 1), dtype=np.float32))}
    with pytest.raises(UsageError, match="this network has none"):
        build_task("single_filter", small)
    with pytest.raises(UsageError, match="only 18"):
        build_task("mobilenet", small)
    assert build_task("no_input", small).n_outputs == 18

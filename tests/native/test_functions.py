"""The functions of gates against NumPy's, and function sets by name."""

from __future__ import annotations

import numpy as np
import pytest

from native.cgp import DataSet, FunctionSet, Grid, evaluate, function_names, function_value, outputs
from native.circuits.reference import apply

ALL = np.arange(-128, 128)
PAIRS = np.stack(np.meshgrid(ALL, ALL, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int8)


@pytest.mark.parametrize("name", [n for n in function_names("int8") if "mux" not in n])
def test_int8_function_equals_numpy_on_all_pairs(name):
    grid, functions = Grid(2, 1, 1, 1), FunctionSet.named(name)
    expected = apply(name, PAIRS[:, 0], PAIRS[:, 1], np.dtype(np.int8))
    found = outputs(np.array([0, 1, 0, 2]), grid, functions, PAIRS)[0, :, 0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", [n for n in function_names("int8") if "mux" not in n])
def test_int8_function_is_the_same_one_sample_at_a_time(name):
    """Few samples go another way through the C library: a branchless form instead of a column."""
    rng = np.random.default_rng(0)
    pairs = np.concatenate([PAIRS[rng.integers(len(PAIRS), size=300)], [[-128, -128], [127, 127], [-128, 127], [0, 0]]])
    expected = apply(name, pairs[:, 0], pairs[:, 1], np.dtype(np.int8))
    grid, functions = Grid(2, 1, 1, 1), FunctionSet.named(name)
    genome = np.array([0, 1, 0, 2])
    for pair, value in zip(pairs, expected, strict=True):
        assert outputs(genome, grid, functions, pair[None])[0, 0, 0] == value
        assert function_value("int8", name, *map(int, pair)) == value


def test_int8_negation_and_shifts_wrap_around():
    assert function_value("int8", "neg", -128) == -128
    assert function_value("int8", "shl1", 64) == -128
    assert function_value("int8", "shr5", -1) == -1
    assert function_value("int8", "mul", -128, -128) == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", function_names("float64"))
def test_float_function_equals_numpy(name, dtype):
    values = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-30, -7.25, 80.0, 1e5], dtype=dtype)
    pairs = np.stack(np.meshgrid(values, values, indexing="ij"), axis=-1).reshape(-1, 2)
    found = outputs(np.array([0, 1, 0, 2]), Grid(2, 1, 1, 1), FunctionSet.float(name, dtype=dtype), pairs)[0, :, 0]
    expected = apply(name, pairs[:, 0], pairs[:, 1], np.dtype(dtype))
    # transcendental functions differ between mathematical libraries in the last places
    np.testing.assert_allclose(
        found, expected, rtol=4 * np.finfo(dtype).eps, atol=1e-6 if dtype == "float32" else 1e-15
    )


@pytest.mark.parametrize("name", ["exp", "sin", "cos", "tan", "tanh"])
def test_float32_functions_are_rounded_correctly(name):
    """Within 0.5 of the last place up to 1e6; beyond, and there only for the periodic ones, the C library's 1."""
    rng = np.random.default_rng(0)
    spread = 10.0 ** rng.uniform(-40, 38, 20_000)
    x = np.concatenate(
        [rng.uniform(-4, 4, 20_000), rng.uniform(-120, 120, 20_000), spread, -spread, np.arange(-99, 99) * np.pi / 2]
    )
    x = x.astype(np.float32)
    found = outputs(np.array([0, 0, 0, 1]), Grid(1, 1, 1, 1), FunctionSet.float(name), x[:, None])[0, :, 0]
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.float64))
        rounded = exact.astype(np.float32)
        off = np.abs(found - exact) / np.spacing(np.abs(rounded)).astype(np.float64)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(rounded))
    near = np.isfinite(rounded) & (np.abs(x) <= 1e6)
    assert off[near].max() <= 0.5001
    assert off[np.isfinite(rounded)].max() <= 1.0
    limits = np.array([[0.0], [-0.0], [np.inf], [-np.inf], [np.nan]], dtype=np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(
            np.copysign(1, apply(name, limits[:4, 0], limits[:4, 0], limits.dtype))[:2],
            np.copysign(1, [function_value("float32", name, float(v)) for v in limits[:2, 0]]),
        )


def test_multiplexers_tell_data_sets_apart():
    grid, functions = Grid(3, 2, 2, 1, arity=3), FunctionSet.named("mux", "demux")
    genome = np.array([2, 0, 1, 0, 1, 0, 0, 1, 3, 4])  # mux of inputs 2, 0, 1; demux of input 1
    samples = np.array([[1, 2, 3]], dtype=np.int8)
    found = outputs(genome, grid, functions, [samples, samples, samples, samples])[0]
    np.testing.assert_array_equal(found, [[3, 2], [1, 0], [2, 0], [3, 2]])
    many = outputs(genome, grid, functions, [np.repeat(samples, 50, axis=0)] * 4)[0]
    np.testing.assert_array_equal(many, np.repeat(found, 50, axis=0))


def test_function_sets_by_name():
    functions = FunctionSet.named("add, mul", "identity")
    assert functions.names == ("add", "mul", "wire")
    assert FunctionSet.int8().without("mul").names == tuple(n for n in FunctionSet.int8().names if n != "mul")
    assert "mux" in FunctionSet.int8(multiplexer=True).names
    assert "mux" not in FunctionSet.int8().names
    assert FunctionSet.float("square", "sin", dtype="float64").names == ("sq", "sin")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FunctionSet.named("addd"), "did you mean 'add'"),
        (lambda: FunctionSet.named("add", "add"), "twice"),
        (lambda: FunctionSet("int8", ()), "at least one"),
        (lambda: FunctionSet("int8", (99,)), "0 to 29"),
        (lambda: FunctionSet("int16", (0,)), "domain"),
        (
            lambda: evaluate(
                np.zeros((1, 3), int), Grid(1, 1, 1, 1, arity=1), FunctionSet.named("add", "inc"), DataSet([[1]], [[1]])
            ),
            "arity is 1, but add",
        ),
    ],
)
def test_wrong_function_sets_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()

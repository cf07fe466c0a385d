"""Scores and outputs of genomes against a plain NumPy interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from native.cgp import (
    CostTable,
    DataSet,
    FunctionSet,
    Grid,
    active,
    bounds,
    deduplicate,
    evaluate,
    mutate,
    outputs,
    random_genomes,
)
from native.circuits.reference import active_gates, cost, interpret

GRIDS = [
    Grid(1, 1, 1, 1),
    Grid(3, 2, 1, 12),
    Grid(2, 3, 4, 3, levels_back=1),
    Grid(4, 1, 3, 5, levels_back=2),
    Grid(9, 16, 5, 5),
]


def assert_same(genome, grid, functions, data_sets, costs, scores, i):
    inputs = np.concatenate([d.inputs for d in data_sets])
    numbers = np.concatenate([np.full(d.n_samples, k) for k, d in enumerate(data_sets)])
    targets = np.concatenate([d.outputs for d in data_sets]).astype(np.int64)
    weights = np.concatenate([d.entry_weights() for d in data_sets])
    values = interpret(genome, grid, functions, inputs, numbers)
    np.testing.assert_array_equal(outputs(genome, grid, functions, [d.inputs for d in data_sets])[0], values)
    assert scores.error[i] == (weights * (values - targets) ** 2).sum()
    expected = cost(genome, grid, functions, costs)
    for name in ("energy_pj", "area", "delay", "n_gates", "depth"):
        assert scores[name][i] == pytest.approx(expected[name], rel=1e-12, abs=1e-15), name
    assert np.flatnonzero(active(genome, grid, functions)).tolist() == active_gates(genome, grid, functions)


def test_ten_thousand_random_int8_genomes_equal_the_interpreter():
    rng = np.random.default_rng(1)
    costs, functions = CostTable.default(), FunctionSet.int8(multiplexer=True)
    n = 0
    while n < 10_000:
        for grid in GRIDS:
            genomes = random_genomes(grid, functions, 400, rng)
            inputs = rng.integers(-128, 128, (3, grid.n_inputs))
            sets = [DataSet(inputs, rng.integers(-128, 128, (3, grid.n_outputs)))]
            scores = evaluate(genomes, grid, functions, sets, costs)
            values = outputs(genomes, grid, functions, inputs)
            for i, genome in enumerate(genomes):
                expected = interpret(genome, grid, functions, inputs)
                np.testing.assert_array_equal(values[i], expected)
                assert scores.error[i] == ((expected - sets[0].outputs.astype(np.int64)) ** 2).sum()
            for i in range(0, 400, 20):
                assert_same(genomes[i], grid, functions, sets, costs, scores, i)
            n += len(genomes)


@pytest.mark.parametrize("n_samples", [1, 8, 9, 255, 256, 257, 700])
def test_any_number_of_samples_sets_and_weights(n_samples):
    rng = np.random.default_rng(n_samples)
    grid, functions = GRIDS[4], FunctionSet.int8(multiplexer=True)
    sets = [
        DataSet(
            rng.integers(-128, 128, (n_samples, 9)),
            rng.integers(-128, 128, (n_samples, 16)),
            weights=rng.integers(0, 4, 16),
            is_care=rng.random((n_samples, 16)) < 0.7,
        )
        for _ in range(2)
    ]
    genomes = random_genomes(grid, functions, 20, rng)
    scores = evaluate(genomes, grid, functions, sets)
    for i, genome in enumerate(genomes):
        assert_same(genome, grid, functions, sets, CostTable.default(), scores, i)


def test_zero_genome_empty_circuit_one_gate_and_all_active():
    functions, costs = FunctionSet.named("add", "sub", "wire"), CostTable.default()
    grid = Grid(2, 1, 1, 6)
    zero = np.zeros(grid.n_genes, dtype=np.int32)  # the output reads input 0: no gate is active
    one = zero.copy()
    one[-1] = 2
    chain = np.array([g for k in range(6) for g in (k + 1, k + 1, 0)] + [7])
    data = DataSet([[3, 5]], [[7]])
    scores = evaluate(np.stack([zero, one, chain]), grid, functions, data, costs)
    assert scores.n_gates.tolist() == [0, 1, 6]
    assert scores.depth.tolist() == [0, 1, 6]
    assert scores.error.tolist() == [16.0, 1.0, (np.int8(np.int64(5 * 64 + 128) % 256 - 128) - 7.0) ** 2]
    assert scores.energy_pj.tolist() == pytest.approx([0.0, 0.03, 0.18])
    assert active(chain, grid, functions).all()
    assert not active(zero, grid, functions).any()


def test_a_wire_costs_nothing_and_is_no_gate():
    grid, functions = Grid(1, 1, 1, 2), FunctionSet.named("wire", "inc")
    scores = evaluate(np.array([0, 0, 0, 1, 0, 1, 2]), grid, functions, DataSet([[4]], [[5]]))
    assert (scores.error[0], scores.n_gates[0], scores.depth[0]) == (0.0, 1, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float_genomes_equal_the_interpreter(dtype):
    rng = np.random.default_rng(2)
    functions = FunctionSet.float(
        "add", "sub", "mul", "div", "abs", "sqrt", "sq", "cube", "step", "softsign", "1", "0", "pi", "not", dtype=dtype
    )
    for grid in GRIDS:
        inputs = rng.normal(size=(300, grid.n_inputs)).astype(dtype)
        targets = rng.normal(size=(300, grid.n_outputs)).astype(dtype)
        genomes = random_genomes(grid, functions, 60, rng)
        errors = evaluate(genomes, grid, functions, DataSet(inputs, targets), error="mse").error
        for genome, error, values in zip(genomes, errors, outputs(genomes, grid, functions, inputs), strict=True):
            expected = interpret(genome, grid, functions, inputs)
            np.testing.assert_array_equal(values, expected)
            with np.errstate(all="ignore"):
                plain = float(((expected.astype(np.float64) - targets) ** 2).mean())
            # squares of a block are summed in the domain's type, which may overflow
            is_beyond = not plain < np.finfo(dtype).max / 1000
            assert error == pytest.approx(plain, rel=1e-5) or (is_beyond and error == np.inf)


def test_not_a_number_is_an_infinite_error():
    grid, functions = Grid(1, 1, 1, 3), FunctionSet.float("exp", "sub", dtype="float64")
    genome = np.array([0, 0, 0, 1, 1, 0, 2, 2, 1, 3])  # exp(exp(1000)) - itself
    data = DataSet([[1000.0]], [[0.0]])
    assert np.isnan(outputs(genome, grid, functions, data.inputs)).all()
    assert evaluate(genome, grid, functions, data).error[0] == np.inf


@pytest.mark.parametrize(("error", "expected"), [("se", 6.0), ("mse", 1.5), ("ae", 4.0), ("mae", 1.0)])
@pytest.mark.parametrize("domain", ["int8", "float32", "float64"])
def test_errors(error, expected, domain):
    grid, functions = Grid(2, 2, 1, 1), FunctionSet.named("wire", domain=domain)
    data = DataSet([[0, 0], [0, 0]], [[1, 1], [-2, 9]], is_care=np.array([[1, 1], [1, 0]], bool), weights=[1, 1])
    found = evaluate(np.array([0, 0, 0, 0, 1]), grid, functions, data, error=error).error[0]
    assert found == pytest.approx(expected * (1 if error in ("se", "ae") else 4 / 3))


def test_sets_of_different_widths_are_padded():
    grid, functions = Grid(3, 2, 1, 1), FunctionSet.named("wire")
    sets = [DataSet([[1]], [[1]]), DataSet([[1, 2, 3]], [[1, 3]])]
    assert evaluate(np.array([0, 0, 0, 0, 2]), grid, functions, sets).error[0] == 0


def test_deduplicated_outputs_have_the_same_error():
    rng = np.random.default_rng(5)
    targets = rng.integers(-5, 5, 200)
    unique, weights, index = deduplicate(targets)
    np.testing.assert_array_equal(unique[index], targets)
    assert weights.sum() == 200
    functions, grid = FunctionSet.int8(), Grid(2, len(unique), 4, 4)
    short = random_genomes(grid, functions, 10, rng)
    long = np.concatenate([short[:, : -len(unique)], short[:, -len(unique) :][:, index]], axis=1)
    inputs = np.array([[3, -4]])
    ours = evaluate(short, grid, functions, DataSet(inputs, unique[None], weights=weights))
    theirs = evaluate(long, Grid(2, 200, 4, 4), functions, DataSet(inputs, targets[None]))
    np.testing.assert_array_equal(ours.error, theirs.error)
    np.testing.assert_array_equal(ours.energy_pj, theirs.energy_pj)
    two = np.stack([targets, targets[::-1]])
    unique, weights, index = deduplicate(two)
    np.testing.assert_array_equal(unique[:, index], two)


def test_recurrent_connections_bring_the_sample_before():
    grid, functions = Grid(1, 1, 1, 1, recurrent=0.5), FunctionSet.named("add")
    accumulator = np.array([0, 1, 0, 1])  # gate 0 = input + itself
    inputs = np.arange(1, 12)[:, None]
    found = outputs(accumulator, grid, functions, [inputs, inputs])[0, :, 0]
    np.testing.assert_array_equal(found, np.tile(np.cumsum(inputs), 2).astype(np.int8))
    rng = np.random.default_rng(0)
    genomes = random_genomes(Grid(2, 1, 1, 30, recurrent=0.4), functions, 50, rng)
    gates = genomes[:, :-1].reshape(50, 30, 3)[:, :, :2]
    ahead = (gates - 2 >= np.arange(30)[:, None]).mean()
    assert 0.3 < ahead < 0.5


def test_random_genomes_fill_the_bounds_and_mutation_leaves_its_input_alone():
    rng = np.random.default_rng(3)
    for grid in GRIDS:
        functions = FunctionSet.int8()
        lower, upper = bounds(grid, functions)
        genomes = random_genomes(grid, functions, 3000, rng)
        np.testing.assert_array_equal(genomes.min(axis=0)[upper - lower < 30], lower[upper - lower < 30])
        np.testing.assert_array_equal(genomes.max(axis=0)[upper - lower < 30], upper[upper - lower < 30])
        genomes.flags.writeable = False
        children = mutate(genomes, grid, functions, rng, rate=0.2)
        assert (children >= lower).all()
        assert (children <= upper).all()


def test_mutations_redraw_what_they_say():
    rng = np.random.default_rng(4)
    grid, functions = Grid(4, 2, 10, 10), FunctionSet.int8()
    parents = random_genomes(grid, functions, 2000, rng)
    read = np.zeros_like(parents, dtype=bool)
    for i, parent in enumerate(parents):
        is_active, reads = active(parent, grid, functions), functions.n_read(2)[parent[2:-2:3]]
        read[i, :-2] = np.stack([is_active & (reads > 0), is_active & (reads > 1), is_active], axis=1).ravel()
        read[i, -2:] = True

    def changed(mutation, rate):
        return mutate(parents, grid, functions, rng, mutation=mutation, rate=rate) != parents

    n = grid.n_genes
    lower, upper = bounds(grid, functions)
    differs = (1 - 1 / (upper - lower + 1)).mean()  # a redraw may give the same value
    assert changed("uniform", 0.05).sum(axis=1).max() <= np.ceil(0.05 * n)
    assert changed("uniform", 0.05).sum(axis=1).mean() == pytest.approx(differs * np.ceil(0.05 * n) / 2, rel=0.06)
    assert changed("point", 0.05).sum(axis=1).mean() == pytest.approx(differs * 0.05 * n, rel=0.06)
    assert changed("probabilistic", 0.05).mean() == pytest.approx(differs * 0.05, rel=0.06)
    single = changed("single", 0.0)
    assert ((single & read).sum(axis=1) == 1).all()
    only_active = changed("only-active", 0.3)
    assert not (only_active & ~read).any()
    assert only_active[read].mean() == pytest.approx(0.3, rel=0.15)
    assert not changed("probabilistic", 0.0).any()


@pytest.mark.parametrize(
    ("genomes", "message"),
    [
        (np.zeros((1, 5), int), r"must have shape \(n, 16\)"),
        (np.zeros((1, 16)), "integers"),
        (np.full((1, 16), 99), "gene 0 of genome 0 is 99, outside 0..1 "),
        (np.array([[0, 0, 0] * 4 + [0, 0, 7, 0]]), "function of gate 4"),
        (np.array([[0] * 15 + [7]]), "gene 15 of genome 0 is 7, outside 0..6 .*output 0"),
    ],
)
def test_wrong_genomes_are_named(genomes, message):
    with pytest.raises(ValueError, match=message):
        evaluate(genomes, Grid(2, 1, 1, 5), FunctionSet.named("add"), DataSet([[1, 1]], [[1]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_inputs": 0}, "n_inputs must be a whole number of at least 1, got 0"),
        ({"rows": 0}, "rows"),
        ({"cols": 0}, "cols"),
        ({"levels_back": 0}, "levels_back"),
        ({"n_outputs": -1}, "n_outputs"),
        ({"arity": 1.5}, "arity"),
        ({"recurrent": 1.5}, "recurrent"),
        ({"rows": 10**6, "cols": 10**6}, "at most"),
    ],
)
def test_wrong_grids_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Grid(**{"n_inputs": 1, "n_outputs": 1, "rows": 1, "cols": 1, **change})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataSet([[1, 2]], [[1], [2]]), "1 samples, outputs 2"),
        (lambda: DataSet([["a"]], [[1]]), "numbers"),
        (lambda: DataSet([[1]], [[1]], weights=[1, 2]), "weights must have shape"),
        (lambda: DataSet([[1]], [[1]], weights=[-1]), "not negative"),
    ],
)
def test_wrong_data_sets_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DataSet([[1.5, 0]], [[1]]), "whole numbers in -128..127, got 1.5"),
        (DataSet([[200, 0]], [[1]]), "got 200"),
        (DataSet([[1]], [[1]]), "1 inputs, the grid 2"),
        (DataSet([[1, 1]], [[1, 1]]), "2 outputs, the grid 1"),
        (DataSet([[1, 1]], [[1]], weights=[0.5]), "whole numbers"),
        ([], "at least one data set"),
    ],
)
def test_data_that_do_not_fit_are_named(data, message):
    with pytest.raises(ValueError, match=message):
        evaluate(np.zeros((1, 16), int), Grid(2, 1, 1, 5), FunctionSet.named("add"), data)

"""Layout and operators of Cartesian genetic programs, against a plain interpreter of the definition."""

from __future__ import annotations

import numpy as np
import pytest

from operators.circuits import (
    ActiveMutation,
    GateBlockCrossover,
    GridLayout,
    OnePointCrossover,
    PointMutation,
    ProbabilisticMutation,
    PublishedMutation,
    SingleMutation,
    UniformGateCrossover,
    UniformGenomeSampling,
)

# functions that read both operands, the first, none, both
READS = np.array([2, 1, 0, 2])


def layout(n_inputs=3, n_outputs=4, rows=3, cols=5, levels_back=2):
    return GridLayout(n_inputs, n_outputs, rows, cols, levels_back, READS)


LAYOUTS = {
    "short look back": layout(),
    "everything reachable": layout(levels_back=6),
    "one row": layout(rows=1, cols=12, levels_back=13),
    "one gate": layout(n_inputs=1, n_outputs=1, rows=1, cols=1, levels_back=2),
    "outputs only": layout(n_inputs=2, n_outputs=30, rows=1, cols=1, levels_back=2),
}
MUTATIONS = {
    "single": SingleMutation,
    "active": lambda grid: ActiveMutation(grid, 0.2),
    "published": lambda grid: PublishedMutation(grid, 0.3),
    "point": lambda grid: PointMutation(grid, 0.1),
    "probabilistic": lambda grid: ProbabilisticMutation(grid, 0.1),
}
CROSSOVERS = {"block": GateBlockCrossover, "one point": OnePointCrossover, "uniform": UniformGateCrossover}


def frozen(X):
    X.setflags(write=False)
    return X


def check(grid, X, n):
    assert X.shape == (n, grid.n_genes) and X.dtype == np.int64
    assert (grid.xl <= X).all() and (grid.xu >= X).all()


def active_by_definition(grid, x):
    """Gates that an output depends on, by walking back from each output."""
    gates = x[: grid.n_gates * 3].reshape(-1, 3)
    seen, stack = set(), [int(pin) for pin in x[grid.n_gates * 3 :]]
    while stack:
        gate = stack.pop() - grid.n_inputs
        if gate < 0 or gate in seen:
            continue
        seen.add(gate)
        stack += [int(pin) for pin in gates[gate, : READS[gates[gate, 2]]]]
    return np.isin(np.arange(grid.n_gates), list(seen))


def expression(grid, x, pin):
    """What a pin computes, as nested tuples of functions and inputs."""
    if pin < grid.n_inputs:
        return pin
    gate = x[: grid.n_gates * 3].reshape(-1, 3)[pin - grid.n_inputs]
    return (int(gate[2]), *(expression(grid, x, int(p)) for p in gate[: READS[gate[2]]]))


def expressions(grid, x):
    return [expression(grid, x, int(pin)) for pin in x[grid.n_gates * 3 :]]


def test_bounds_are_those_of_levels_back():
    grid = layout()
    # column 1 reads inputs; column 2 inputs and column 1; column 4 columns 2 and 3; outputs columns 4 and 5
    bounds = np.stack([grid.xl, grid.xu], axis=1)
    operands = [bounds[gate * 3].tolist() for gate in (0, 3, 6, 9, 12)]
    assert operands == [[0, 2], [0, 5], [3, 8], [6, 11], [9, 14]]
    assert bounds[2].tolist() == [0, 3]
    assert bounds[-4:].tolist() == [[12, 17]] * 4
    wide = layout(levels_back=6)
    assert wide.xl[-1] == 0 and wide.xu[-1] == 17


@pytest.mark.parametrize("name", LAYOUTS)
def test_active_gates_are_those_behind_an_output(name):
    grid = LAYOUTS[name]
    X = frozen(UniformGenomeSampling(grid)(200, np.random.default_rng(1)))
    expected = np.array([active_by_definition(grid, x) for x in X])
    np.testing.assert_array_equal(grid.active(X), expected)


@pytest.mark.parametrize("name", LAYOUTS)
def test_canonical_genomes_are_the_same_circuit_and_equal_where_only_idle_genes_differ(name):
    grid, rng = LAYOUTS[name], np.random.default_rng(2)
    X = frozen(UniformGenomeSampling(grid)(100, rng))
    canonical = grid.canonical(X)
    check(grid, canonical, 100)
    assert [expressions(grid, a) for a in X] == [expressions(grid, b) for b in canonical]
    idle = ~grid.active_genes(X)
    other = np.where(idle, UniformGenomeSampling(grid)(100, rng), X)
    np.testing.assert_array_equal(grid.canonical(other), canonical)
    np.testing.assert_array_equal(grid.canonical(canonical), canonical)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("kind", MUTATIONS)
def test_mutation_conforms(name, kind):
    grid = LAYOUTS[name]
    mutation = MUTATIONS[kind](grid)
    X = UniformGenomeSampling(grid)(50, np.random.default_rng(3))
    before = X.copy()
    first, again, other = (mutation(frozen(X), np.random.default_rng(seed)) for seed in (1, 1, 2))
    check(grid, first, 50)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(X, before)
    assert (first != other).any() and (first != X).any()
    check(grid, mutation(X[:1], np.random.default_rng(0)), 1)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("kind", CROSSOVERS)
def test_crossover_takes_every_gate_whole_from_one_parent(name, kind):
    grid = LAYOUTS[name]
    crossover = CROSSOVERS[kind](grid)
    A, B = (frozen(UniformGenomeSampling(grid)(60, np.random.default_rng(seed))) for seed in (4, 5))
    C, D = crossover(A, B, np.random.default_rng(1))
    again = crossover(A, B, np.random.default_rng(1))
    for child, repeated in zip((C, D), again, strict=True):
        check(grid, child, 60)
        np.testing.assert_array_equal(child, repeated)
    for parent, child, other in ((A, C, B), (B, D, A)):
        own = (grid.gates(child) == grid.gates(parent)).all(axis=2)
        theirs = (grid.gates(child) == grid.gates(other)).all(axis=2)
        assert (own | theirs).all()
    np.testing.assert_array_equal(np.sort([C, D], axis=0), np.sort([A, B], axis=0))


def test_single_mutation_changes_one_gene_that_counts():
    grid = layout(rows=4, cols=10, levels_back=11)
    X = UniformGenomeSampling(grid)(80, np.random.default_rng(6))
    mutated = SingleMutation(grid)(X, np.random.default_rng(7))
    changed = mutated != X
    assert ((changed & grid.active_genes(X)).sum(axis=1) == 1).all()


def test_single_mutation_of_a_genome_that_cannot_change_ends():
    grid = GridLayout(1, 1, 1, 1, 1, np.array([0]))  # one function, one input, one gate to read
    X = np.tile(grid.xl, (2, 1))
    np.testing.assert_array_equal(SingleMutation(grid)(X, np.random.default_rng(0)), X)
    np.testing.assert_array_equal(ActiveMutation(grid, 0.5)(X, np.random.default_rng(0)), X)


def test_active_mutation_leaves_idle_genes_alone():
    grid = layout(rows=4, cols=10, levels_back=11)
    X = UniformGenomeSampling(grid)(80, np.random.default_rng(8))
    mutated = ActiveMutation(grid, 0.1)(X, np.random.default_rng(9))
    assert not ((mutated != X) & ~grid.active_genes(X)).any()
    assert (mutated != X).any(axis=1).mean() > 0.5


def test_published_mutation_redraws_at_most_its_share():
    grid = layout(rows=10, cols=10, levels_back=11)
    X = UniformGenomeSampling(grid)(300, np.random.default_rng(10))
    changed = (PublishedMutation(grid, 0.15)(X, np.random.default_rng(11)) != X).sum(axis=1)
    assert changed.min() < 5 and 20 < changed.max() <= np.ceil(0.15 * grid.n_genes)
    points = (PointMutation(grid, 0.15)(X, np.random.default_rng(12)) != X).sum(axis=1)
    assert points.max() <= np.ceil(0.15 * grid.n_genes) and points.min() > 0.5 * 0.15 * grid.n_genes * 0.8

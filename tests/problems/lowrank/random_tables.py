"""Tables of choices with drawn errors, small enough that every allocation can be listed."""

from __future__ import annotations

import itertools

import numpy as np

from problems.lowrank.choices import ChoiceTable
from problems.lowrank.layer_matrices import Layer, Whole
from problems.lowrank.spectra import option_key

LAYERS = [
    Layer("a", 6, 4, 1, (3, 3), (5, 5), (5, 5), True, True),
    Layer("b", 5, 6, 1, (1, 1), (4, 4), (4, 4), False, True),
    Layer("c", 8, 12, 1, (), (), (), True, True),
]


def random_errors(seed, *, ties=False, schemes=(0,), layers=LAYERS):
    rng = np.random.default_rng(seed)
    errors = {}
    for scheme, layer in itertools.product(schemes, layers):
        for k in layer.slices:
            values = np.sort(rng.random(layer.full_rank(scheme, k)))[::-1]
            errors[option_key(layer.name, scheme, k)] = np.append(np.round(values, 1) if ties else values, 0.0)
    return errors


def random_table(seed, *, ties=False, schemes=(0,), layers=LAYERS):
    errors = random_errors(seed, ties=ties, schemes=schemes, layers=layers)
    n = sum(layer.parameters for layer in layers)
    whole = Whole(n + 20, sum(layer.macs for layer in layers), 4 * n + 80)
    return ChoiceTable(layers, errors, whole, schemes=schemes)


def everything(table, size):
    """(m, layers) errors and (m,) sizes of every allocation."""
    flats = [table.flat(i, size) for i in range(table.n_layers)]
    errors = np.array(list(itertools.product(*(f[2] for f in flats))))
    sizes = np.array(list(itertools.product(*(f[3] for f in flats)))).sum(axis=1) + table.rest[size]
    return errors, sizes

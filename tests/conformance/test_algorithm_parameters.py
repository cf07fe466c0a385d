"""Every number that an algorithm takes: one without sense is refused in a line, or the search runs with it."""

from __future__ import annotations

import math
import warnings
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
import sample_problems as samples

import opt
from opt.algorithms import algorithms
from opt.console.errors import UsageError

ODD: dict[type, tuple[Any, ...]] = {
    int: (-1, 0, 10**9, 10**30),
    float: (math.nan, math.inf, -math.inf, -1.0, 0.0, 5e-324, -1e308, 1e308),
}


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


NUMBERS = [
    (name, parameter, value)
    for name, spec in algorithms().items()
    for parameter, known in spec.parameters.items()
    for kind, values in ODD.items()
    if kind in _kinds(known.kind)
    for value in values
]


@pytest.mark.parametrize(("name", "parameter", "value"), NUMBERS)
def test_odd_number_is_refused_or_searched_with(name, parameter, value, tmp_path, monkeypatch):
    monkeypatch.setattr("opt.plots.run_pictures.plot_runs", lambda runs, *, out=None: runs[0].path)
    spec = algorithms()[name]
    problem = samples.Slope() if spec.objectives == "several" else samples.Bowl()
    sizes = {size: 8 for size in ("pop_size", "mu", "lambda_", "n_offsprings", "n_chains") if size in spec.parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a library's, of numbers near the end of the floating-point range
        try:
            run = opt.minimize(problem, name, n_eval=16, time=5, out=tmp_path, **{**sizes, parameter: value})
        except UsageError as error:
            assert parameter in str(error) and "\n" not in str(error) and len(str(error)) < 300
            return
    assert run.status == "finished"
    assert not (isinstance(value, float) and not math.isfinite(value)), "a number that is none is refused"

"""Every number that a problem takes: one that makes no sense is refused by name, in a line, before work begins."""

from __future__ import annotations

import math
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest

from opt.console.errors import UsageError
from opt.console.parameters import parameters_of
from opt.problem.loading import load_problem_class

FILES = sorted(p for p in (Path(__file__).parents[2] / "problems").glob("*.py") if not p.name.startswith("_"))
WRONG: dict[type, tuple[Any, ...]] = {
    int: (-1, -(2**63), 2**63, 10**30),
    float: (math.nan, math.inf, -math.inf, -1.0, -1e308, 1e308),
}


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


# What is as large as one likes: it takes what there is, and no room.
ENDLESS = {("ecomp", "perplexity", 1e308)}
NUMBERS = [
    (file.stem, name, value)
    for file in FILES
    for name, parameter in parameters_of(load_problem_class(str(file))).items()
    for kind, values in WRONG.items()
    if kind in _kinds(parameter.kind)
    for value in values
    if (file.stem, name, value) not in ENDLESS
]


def test_there_are_numbers_to_try():
    assert len({(stem, name) for stem, name, _ in NUMBERS}) > 40


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    """Nothing is trained: a wrong number is noticed before."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("work began before the number was looked at")

    for name in (
        "problems.workloads.parents.kept_network",
        "problems.networks.architectures.lottery_networks.build_architecture",
    ):
        monkeypatch.setattr(name, refuse)


@pytest.mark.parametrize(("stem", "name", "value"), NUMBERS)
def test_number_beyond_reason_is_refused_by_name(stem, name, value):
    (file,) = (f for f in FILES if f.stem == stem)
    with pytest.raises(UsageError) as caught:
        load_problem_class(str(file))(**{name: value})
    message = str(caught.value)
    assert message.startswith(name) and "\n" not in message and len(message) < 300

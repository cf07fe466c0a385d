"""Options that had other names: answered with the new one, and translated where they are on record."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from opt import CompressionProblem, Objective, UsageError
from opt.console.option_groups import flat_options, option_group
from opt.flags.parser import build_parser, parse, reread
from opt.problem.provenance import arguments_digest


@option_group
class Options:
    """Options.

    Args:
        network: A name.
        depth: Layers.
    """

    FORMER: ClassVar[dict[str, str]] = {"model": "network", "layers": "depth, a number of layers"}

    network: str = "small"
    depth: int = 2

    @staticmethod
    def of_former(recorded: dict[str, Any]) -> dict[str, Any]:
        """Recorded options under the names of now."""
        present = {name: value for name, value in recorded.items() if name != "model"}
        if "model" in recorded:
            present["network"] = {"lenet5": "lenet-5"}.get(recorded["model"], recorded["model"])
        return present


class Task(CompressionProblem):
    objectives = (Objective("f"),)

    @flat_options
    def __init__(self, *, options: Options, rate: float = 0.5) -> None:
        self.options = options
        super().__init__(n_var=1, xl=0.0, xu=1.0)

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return X


class Before(CompressionProblem):
    """The same before the option got its name."""

    objectives = (Objective("f"),)

    def __init__(self, *, model: str = "lenet5", depth: int = 2, rate: float = 0.5) -> None:
        super().__init__(n_var=1, xl=0.0, xu=1.0)


def test_a_former_name_is_answered_with_the_one_of_now():
    with pytest.raises(UsageError, match=r"Task\(\): model is now network"):
        Task(model="large")
    with pytest.raises(UsageError, match=r"--problem.model is now --problem.network$"):
        parse(build_parser(Task, None), ["--problem.model=large"])
    with pytest.raises(UsageError, match=r"--problem.layers is now --problem.depth, a number of layers"):
        parse(build_parser(Task, None), ["--problem.layers=3"])
    with pytest.raises(TypeError, match="unexpected keyword argument 'modl'"):
        Task(modl="large")


def test_recorded_options_are_translated():
    found = reread(Task, {"model": "lenet5", "depth": 3, "rate": 0.25})
    assert found == {"network": "lenet-5", "depth": 3, "rate": 0.25}
    assert Task(**found).options == Options(network="lenet-5", depth=3)


def test_a_renamed_option_changes_no_digest_of_a_run_that_goes_on():
    recorded = {"model": "lenet5", "depth": 3, "rate": 0.5}
    before = arguments_digest(Before(**recorded))
    assert arguments_digest(Task(network="lenet-5", depth=3), recorded=recorded) == before
    for other in (
        {"network": "lenet-5"},
        {"network": "other", "depth": 3},
        {"network": "lenet-5", "depth": 3, "rate": 1.0},
    ):
        assert arguments_digest(Task(**other), recorded=recorded) != before

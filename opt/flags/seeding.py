"""Seeds of a problem that follow the run's: `--problem.model_seed same-as-run`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

SAME_AS_RUN = "same-as-run"


def is_seed(name: str, kind: Any) -> bool:
    """Whether a parameter is a seed: whole numbers, under the name `seed` or one that ends in `_seed`."""
    return (name == "seed" or name.endswith("_seed")) and (kind is int or int in get_args(kind))


def with_same_as_run(kind: Any) -> Any:
    """The type of a seed, widened by the word `same-as-run`."""
    return kind | Literal["same-as-run"]


def resolved(parameters: Mapping[str, Any], *, seed: int) -> dict[str, Any]:
    """The parameters with every seed that is the same as the run's put in.

    The manifest keeps the word, so that runs of one command have one setting, and a resumed run,
    which knows its seed, gets the same number again.

    Args:
        parameters: A problem's parameters by name.
        seed: The run's seed.
    """
    return {name: seed if is_seed(name, int) and value == SAME_AS_RUN else value for name, value in parameters.items()}

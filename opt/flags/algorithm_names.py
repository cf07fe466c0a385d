"""The value of --algo: one algorithm, or several with commas between them."""

from __future__ import annotations

from opt.algorithms import algorithms
from opt.console.errors import UsageError


def algorithm_names(text: str) -> list[str]:
    """The algorithms that a text names with commas between them; a name may hold a comma itself (`deap-mu,lambda`).

    Raises:
        UsageError: There is nothing before, between or behind the commas.
    """
    names: list[str] = []
    for part in text.split(","):
        if names and f"{names[-1]},{part.strip()}" in algorithms():
            names[-1] += f",{part.strip()}"
        else:
            names.append(part.strip())
    if not all(names):
        raise UsageError(f"--algo must be an algorithm, or several with commas between them, got {text!r}")
    return names

"""A problem whose parameters are of every type that a constructor may ask for, for command lines to try."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np

from opt import CompressionProblem, Objective


class Colour(Enum):
    """Some choice."""

    RED = 1
    BLUE = 2


class Typed(CompressionProblem):
    """Two objectives on reals, which look at no parameter.

    Args:
        whole: A whole number.
        real: A number.
        flag: Yes or no.
        text: A text.
        choice: One of some words and a number.
        colour: One of an enumeration.
        maybe: A whole number or none.
        folder: A folder or none.
        wholes: Whole numbers.
        pair: A whole number and a number.
        many: Numbers, as many as one likes.
        table: Numbers by name.
        words: A set of words.
        either: A number or a text.
        anything: Whatever one likes.
        untyped: Likewise.
        some_seed: A seed.
    """

    objectives = (Objective("a"), Objective("b"))

    def __init__(
        self,
        *,
        whole: int = 3,
        real: float = 0.5,
        flag: bool = False,
        text: str = "12",
        choice: Literal["plain", "odd", 3] = "plain",
        colour: Colour = Colour.RED,
        maybe: int | None = None,
        folder: Path | None = None,
        wholes: list[int] | None = None,
        pair: tuple[int, float] = (1, 2.0),
        many: Sequence[float] = (),
        table: dict[str, float] | None = None,
        words: set[str] | None = None,
        either: float | str = "x",
        anything: Any = None,
        untyped=1,
        some_seed: int = 0,
    ) -> None:
        super().__init__(n_var=2, xl=0.0, xu=1.0)

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        """Both objectives of (n, 2)."""
        return np.column_stack([X.sum(axis=1), ((1 - X) ** 2).sum(axis=1)])

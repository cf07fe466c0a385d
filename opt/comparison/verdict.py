"""The verdict of a comparison of runs: one comparison a problem, tables, ranks over the problems, warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opt.comparison.indicators import Comparison
from opt.comparison.significance import RankTest
from opt.comparison.tables import Tables

LONGEST_NAME = 60


@dataclass(frozen=True)
class Verdict:
    """What a comparison found.

    Attributes:
        comparisons: One a problem.
        tables: The same in numbers.
        ranks: Friedman and Nemenyi over several problems, by measure; empty where they cannot be computed.
        warnings: What is doubtful about the whole; each comparison has its own besides.
    """

    comparisons: list[Comparison]
    tables: Tables
    ranks: dict[str, RankTest]
    warnings: list[str]

    @property
    def all_warnings(self) -> list[str]:
        """Every warning, those of one problem with its name before them."""
        return self.warnings + [f"{c.problem}: {text}" for c in self.comparisons for text in c.warnings]


def file_names(problems: Sequence[str]) -> dict[str, str]:
    """Problems' names as parts of files' names: short, plain, and each its own."""
    names: dict[str, str] = {}
    for problem in problems:
        plain = "".join(c if c.isalnum() or c in "+,._=-" else "-" for c in problem.lower())[:LONGEST_NAME]
        is_taken = plain in names.values()
        names[problem] = f"{plain}-{len(names) + 1}" if is_taken else plain
    return names

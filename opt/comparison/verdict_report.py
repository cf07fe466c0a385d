"""A verdict on the terminal: warnings, the tables of each problem, mean ranks."""

from __future__ import annotations

from rich.console import Console

from opt.comparison.report import print_comparison, print_ranks
from opt.comparison.verdict import Verdict
from opt.runs.front_table import say


def report(verdict: Verdict, console: Console) -> None:
    """Print the warnings, and the tables of each problem."""
    for text in verdict.warnings:
        say(console, f"warning: {text}")
    for comparison in verdict.comparisons:
        print_comparison(comparison, verdict.tables, console)
    print_ranks(verdict.ranks, console)

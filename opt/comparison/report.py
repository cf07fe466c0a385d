"""A verdict on the terminal: warnings first, then who is better at what and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from rich.console import Console
from rich.table import Table

from opt.comparison.hypothesis_tests import TESTED
from opt.comparison.indicators import Comparison
from opt.comparison.significance import CONFIDENCE, RankTest
from opt.comparison.tables import Tables
from opt.comparison.verdict import Verdict
from opt.console.tables import say
from opt.runs.front_table import number


def print_verdict(verdict: Verdict, console: Console) -> None:
    """Print the warnings, the tables of each problem, and the ranks over all of them."""
    for text in verdict.warnings:
        say(console, f"warning: {text}")
    for comparison in verdict.comparisons:
        print_comparison(comparison, verdict.tables, console)
    print_ranks(verdict.ranks, console)


def print_comparison(comparison: Comparison, tables: Tables, console: Console) -> None:
    """Print one problem: what is doubtful, what was done to compare, the groups, the targets, the tests."""
    say(console, f"\n{comparison.problem}: {len(comparison.runs)} runs of {', '.join(comparison.groups)}")
    for text in comparison.warnings:
        say(console, f"warning: {text}")
    for text in method(comparison):
        say(console, text)
    summary = tables.summary[tables.summary["problem"] == comparison.problem]
    tests = tables.tests[tables.tests["problem"] == comparison.problem]
    say(console, f"\nmedian, [quartiles], ({CONFIDENCE:.0%} bootstrap interval of the median)")
    console.print(_groups(comparison, summary))
    say(console, "\nto reach a share of the joint front's hypervolume: runs that did, expected running time (ERT)")
    console.print(_targets(comparison, summary))
    if len(tests):
        say(
            console,
            f"\n{', '.join(tests['test'].unique())}; p after Holm's correction; A12 near 0 or 1 is a large effect",
        )
        console.print(_tests(tests))


def method(comparison: Comparison) -> list[str]:
    """What was done to make the runs comparable, in words."""
    c = comparison
    parts = []
    for k, o in enumerate(c.objectives):
        low, high = (number(float(o.sign * bound[k])) for bound in (c.scale.ideal, c.scale.nadir))
        parts.append(f"{o.label} {low}..{high}")
    where = ", ".join(number(float(o.sign * v)) for o, v in zip(c.objectives, c.scale.ref_point_in_units, strict=True))
    normalised = ", ".join(number(float(v)) for v in c.scale.ref_point)
    reference = "the problem's exact front" if c.is_exact else "the joint front of all runs"
    n = len(c.reference)
    points = f"{n} points" if c.is_exact or n == len(c.joint) else f"{n} points spread along its {len(c.joint)}"
    return [
        f"one normalisation for all: {'; '.join(parts)}",
        f"hypervolume's reference point: ({where}), normalised ({normalised})",
        f"IGD+ and additive epsilon to {reference}, {points}; all on normalised objectives",
    ]


def print_ranks(ranks: Mapping[str, RankTest], console: Console) -> None:
    """Print the mean ranks over problems."""
    for measure, test in ranks.items():
        say(console, f"\nmean ranks over problems by median {measure}: Friedman p = {number(test.p, digits=3)}")
        table = _table("group", "mean rank", *(f"Nemenyi p to {name}" for name in test.ranks.index))
        for name, rank in test.ranks.items():
            p = [number(test.p_between(str(name), str(other)), digits=3) for other in test.ranks.index]
            cells = ["" if name == other else cell for other, cell in zip(test.ranks.index, p, strict=True)]
            table.add_row(str(name), number(float(rank), digits=3), *cells)
        console.print(table)


def _groups(comparison: Comparison, summary: pd.DataFrame) -> Table:
    table = _table("group", "runs", "hypervolume", "IGD+", "epsilon", "evaluations", "seconds")
    for group in comparison.groups:
        rows = _rows(summary, group)
        cells = [_spread(rows[measure]) for measure in TESTED]
        cells += [number(float(rows[measure]["median"]), digits=4) for measure in ("n_eval", "seconds")]
        table.add_row(group, str(len(comparison.of(group))), *cells)
    return table


def _targets(comparison: Comparison, summary: pd.DataFrame) -> Table:
    shares = [f"{share:.0%}" for share in comparison.targets]
    table = _table(
        "group", *(f"{share} {what}" for share in shares for what in ("reached", "ERT evaluations", "ERT s"))
    )
    for group in comparison.groups:
        rows = _rows(summary, group)
        cells = []
        for share in shares:
            rate = float(rows[f"n_eval_to_{share}"]["success_rate"])
            cells.append("not known" if math.isnan(rate) else f"{rate:.0%}")
            for unit in ("n_eval", "seconds"):
                ert = float(rows[f"{unit}_to_{share}"]["ert"])
                cells.append("never" if math.isnan(ert) else number(ert, digits=4))
        table.add_row(group, *cells)
    return table


def _tests(tests: pd.DataFrame) -> Table:
    table = _table("measure", "groups", "p", "p (Holm)", "A12", "effect", "verdict")
    for row in tests.to_dict("records"):
        p, p_holm, a12 = (number(float(row[name]), digits=3) for name in ("p", "p_holm", "a12"))
        table.add_row(
            str(row["measure"]), f"{row['a']}, {row['b']}", p, p_holm, a12, str(row["effect"]), str(row["verdict"])
        )
    return table


def _rows(summary: pd.DataFrame, group: str) -> dict[str, dict[str, float]]:
    """The numbers of a group, by measure."""
    rows = summary[summary["group"] == group].to_dict("records")
    return {str(row["measure"]): {str(name): value for name, value in row.items()} for row in rows}


def _spread(row: Mapping[str, float]) -> str:
    if math.isnan(row["median"]):
        return "none"
    middle, q1, q3, low, high = (
        number(float(row[name]), digits=4) for name in ("median", "q1", "q3", "ci_low", "ci_high")
    )
    interval = f" ({low}, {high})" if not math.isnan(row["ci_low"]) else ""
    return f"{middle} [{q1}, {q3}]{interval}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for k, name in enumerate(columns):
        words = k == 0 or name in ("groups", "effect", "verdict")
        table.add_column(name, justify="left" if words else "right", overflow="fold")
    return table

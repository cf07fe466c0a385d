"""Comparing runs, problem by problem: which group is better, and what is doubtful about it."""

from __future__ import annotations

from collections.abc import Sequence

from opt.comparison.indicators import Comparison, measure_runs
from opt.comparison.run_selection import check_field, finished_runs, same_objectives, value_of
from opt.comparison.tables import make_tables
from opt.comparison.validity import validity_warnings
from opt.comparison.verdict import Verdict
from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.runs.run import Run


def compare(runs: Sequence[Run], *, by: str = "algo", split: str | None = None) -> Verdict:
    """Compare runs, problem by problem.

    Args:
        runs: Of one problem or several.
        by: The manifest's field that names what is compared, such as `problem.parameters.crossover`.
        split: A field whose values make problems of their own, such as `problem.parameters.data`.

    Raises:
        UsageError: There are no finished runs, no run has the field, or a run cannot be read.
    """
    distinct = list({run.path.resolve(): run for run in runs}.values())
    fields = [by, *([split] if split else [])]
    for name in fields:
        check_field(distinct, name)
    finished, warnings = finished_runs(distinct)
    if not finished:
        raise UsageError(f"none of the {len(distinct)} runs is finished; `{spelled('show')}` lists them")
    order = list(dict.fromkeys(value_of(run, by) for run in finished))
    problems = _by_problem(finished, split)
    comparisons = [_comparison(name, problems[name], fields, order) for name in sorted(problems)]
    for comparison in comparisons:
        comparison.all_groups = [group for group in order if any(group in c.groups for c in comparisons)]
    tables, ranks, rank_warnings = make_tables(comparisons)
    return Verdict(comparisons, tables, ranks, warnings + rank_warnings)


def _by_problem(runs: Sequence[Run], split: str | None) -> dict[str, list[Run]]:
    """The runs of each problem, by seed; a value of `split` makes a problem of its own."""
    problems: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda r: (r.manifest["seed"], str(r.path))):
        name = str(run.manifest["problem"]["name"])
        problems.setdefault(f"{name} {value_of(run, split)}" if split else name, []).append(run)
    return problems


def _comparison(problem: str, runs: Sequence[Run], fields: Sequence[str], order: Sequence[str]) -> Comparison:
    """One problem's runs on one scale, by group in the given order.

    Args:
        problem: What to call it.
        runs: Its finished runs.
        fields: The field that names the groups, and the one that splits problems where there is one.
        order: The groups.
    """
    by = fields[0]
    same, warnings = same_objectives(runs)
    same.sort(key=lambda run: order.index(value_of(run, by)))
    groups = [value_of(run, by) for run in same]
    try:
        comparison = measure_runs(problem, same, groups)
    except UsageError as error:
        raise UsageError(f"{problem}: {error}") from None
    comparison.warnings += warnings + validity_warnings(same, groups, by=fields)
    return comparison

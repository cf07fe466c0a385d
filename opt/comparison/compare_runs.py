"""Comparing runs, problem by problem: which group is better, and what is doubtful about it."""

from __future__ import annotations

from collections.abc import Sequence

from opt.comparison.grouped_runs import compare_runs
from opt.comparison.tables import make_tables
from opt.comparison.verdict import Verdict
from opt.comparison.warnings_of_runs import check_field, doubts, same_objectives, usable_runs, value_of
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
    for name in (by, *([split] if split else [])):
        check_field(distinct, name)
    usable, warnings = usable_runs(distinct)
    if not usable:
        raise UsageError(f"none of the {len(distinct)} runs is finished; `{spelled('show')}` lists them")
    problems: dict[str, list[Run]] = {}
    for run in sorted(usable, key=lambda r: (r.manifest["seed"], str(r.path))):
        name = str(run.manifest["problem"]["name"])
        problems.setdefault(f"{name} {value_of(run, split)}" if split else name, []).append(run)
    order = list(dict.fromkeys(value_of(run, by) for run in usable))
    comparisons = []
    for problem in sorted(problems):
        same, left_out = same_objectives(problems[problem])
        same.sort(key=lambda run: order.index(value_of(run, by)))
        groups = [value_of(run, by) for run in same]
        try:
            comparison = compare_runs(problem, same, groups)
        except UsageError as error:
            raise UsageError(f"{problem}: {error}") from None
        comparison.warnings += left_out + doubts(same, groups, by=[by, *([split] if split else [])])
        comparisons.append(comparison)
    all_groups = [group for group in order if any(group in c.groups for c in comparisons)]
    for comparison in comparisons:
        comparison.all_groups = all_groups
    tables, ranks, over_problems = make_tables(comparisons)
    return Verdict(comparisons, tables, ranks, warnings + over_problems)

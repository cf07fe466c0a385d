"""Threats to the validity of a comparison: what differs among the runs that should not, and how few they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from opt.comparison.run_selection import MISSING, text_of, value_of
from opt.console.wording import some
from opt.problem.provenance import changed_names
from opt.runs.damage import altered_files
from opt.runs.run import Run

FEW_RUNS = 5
"""Fewer runs in a group than this are too few for a test to find anything."""
UNEVEN = 0.05
"""Runs whose evaluations differ by more than this share did not spend the same."""
FAILING = 0.01
"""A run of which more than this share of the evaluations failed is told."""


@dataclass(frozen=True)
class _Design:
    """What is compared.

    Attributes:
        runs: Finished runs of one problem with the same objectives.
        groups: What each is compared as.
        free: Names of parameters that tell groups and problems apart and so may differ.
    """

    runs: Sequence[Run]
    groups: Sequence[str]
    free: frozenset[str]

    @property
    def sizes(self) -> Counter[str]:
        """How many runs each group has, the groups in the order of their first run."""
        return Counter(self.groups)

    def of(self, group: str) -> list[Run]:
        """The runs of one group."""
        return [run for run, name in zip(self.runs, self.groups, strict=True) if name == group]


def validity_warnings(runs: Sequence[Run], groups: Sequence[str], *, by: Sequence[str]) -> list[str]:
    """Why a comparison of these runs may mislead, a line each.

    Args:
        runs: Finished runs of one problem with the same objectives.
        groups: What each is compared as.
        by: Fields that tell groups and problems apart and so may differ.
    """
    design = _Design(runs, groups, frozenset(name.split(".")[-1] for name in by))
    return [warning for check in _CHECKS for warning in check(design)]


# -- the groups: how many, how large, whether their runs are independent ----------------------------------


def _single_group(design: _Design) -> Iterator[str]:
    if len(design.sizes) == 1:
        yield f"only one group ({design.groups[0]}): nothing to compare it with"


def _few_runs(design: _Design) -> Iterator[str]:
    small = [f"{name} ({n})" for name, n in design.sizes.items() if n < FEW_RUNS]
    if small:
        rule = f"too few runs for a verdict, fewer than {FEW_RUNS}"
        yield f"{rule}: {some(small)}; intervals and p-values say little"


def _uneven_groups(design: _Design) -> Iterator[str]:
    if len(set(design.sizes.values())) > 1:
        sizes = [f"{name} {n}" for name, n in design.sizes.items()]
        yield f"groups of different size: {some(sizes, at_most=8)}"


def _repeated_seeds(design: _Design) -> Iterator[str]:
    for group in design.sizes:
        counts = Counter(value_of(run, "seed") for run in design.of(group))
        repeated = [seed for seed, n in counts.items() if n > 1]
        if repeated:
            yield f"{group}: more than one run of seed {some(repeated)}: these are no independent repeats"


# -- the conditions: what made the runs ------------------------------------------------------------------


def _different_conditions(design: _Design) -> Iterator[str]:
    conditions: list[tuple[str, Callable[[Run], dict[str, str]]]] = [
        ("different budgets", _limits),
        ("different versions", lambda run: _texts(run.manifest.get("versions"))),
        ("different code", lambda run: _texts(run.manifest.get("code"))),
        ("different problem parameters or data", lambda run: _texts(run.manifest["problem"].get("parameters"))),
        ("different problem files", lambda run: _named(run, "problem", "file", "class")),
        ("different data", lambda run: _texts(run.manifest.get("data"))),
        ("different numbers of threads", lambda run: _named(run, "request", "threads")),
        ("different worst values of objectives", lambda run: {o.name: text_of(o.worst) for o in run.objectives}),
    ]
    for name, condition_of in conditions:
        if text := _differences([condition_of(run) for run in design.runs], design.free):
            yield f"{name}: {text}"


def _unequal_effort(design: _Design) -> Iterator[str]:
    spent = [float(run.manifest.get("n_eval") or 0) for run in design.runs]
    if min(spent) < (1 - UNEVEN) * max(spent):
        yield f"unequal evaluations spent: from {min(spent):.0f} to {max(spent):.0f} a run"


def _mixed_groups(design: _Design) -> Iterator[str]:
    for group in design.sizes:
        runs = design.of(group)
        algorithms = sorted({value_of(run, "algo") for run in runs})
        parameters = [_texts(run.manifest["algo"].get("parameters")) for run in runs]
        if len(algorithms) > 1:
            yield f"{group} mixes algorithms: {some(algorithms)}"
        elif text := _differences(parameters, design.free):
            yield f"{group} mixes parameters of the algorithm: {text}"


# -- the records: what happened to single runs -----------------------------------------------------------


def _moving_objectives(design: _Design) -> Iterator[str]:
    names = [run.path.name for run in design.runs if not run.is_stationary]
    if names:
        yield (
            f"objectives changed their meaning during {len(names)} of {len(design.runs)} runs ({some(names)}): their "
            "growth and targets are left out, and only their final fronts are compared"
        )


def _altered_files(design: _Design) -> Iterator[str]:
    altered = [(run.path.name, list(altered_files(run))) for run in design.runs]
    texts = [f"{name} ({', '.join(files)})" for name, files in altered if files]
    if texts:
        yield f"files were altered since their run ended, --resume mends what it can: {some(texts)}"


def _empty_fronts(design: _Design) -> Iterator[str]:
    names = [run.path.name for run in design.runs if run.manifest.get("n_solutions") == 0]
    if names:
        yield f"no feasible solution: {some(names)}; IGD+ and epsilon are left out, hypervolume is 0"


def _hidden_evaluations(design: _Design) -> Iterator[str]:
    algorithms = dict.fromkeys(value_of(run, "algo") for run in design.runs if run.manifest.get("n_inner_eval"))
    if algorithms:
        yield (
            f"{some(list(algorithms))} judges candidates inside its own library that are not counted as evaluations "
            f"(n_inner_eval in the manifest): compare seconds, not evaluations"
        )


def _forced_resumes(design: _Design) -> Iterator[str]:
    resumed = [(run.path.name, run.manifest.get("resumed")) for run in design.runs]
    texts = [f"{name} ({some(changed_names(entries))})" for name, entries in resumed if entries]
    if texts:
        yield f"went on with --force after what made them had changed: {some(texts)}"


def _failed_evaluations(design: _Design) -> Iterator[str]:
    counts = [(run, run.manifest.get("n_failed") or 0, run.manifest.get("n_eval") or 1) for run in design.runs]
    names = [run.path.name for run, n_failed, n_eval in counts if n_failed > FAILING * n_eval]
    if names:
        yield f"more than {100 * FAILING:g} % of the evaluations failed: {some(names)}"


_CHECKS: tuple[Callable[[_Design], Iterator[str]], ...] = (
    _single_group,
    _few_runs,
    _uneven_groups,
    _repeated_seeds,
    _different_conditions,
    _unequal_effort,
    _mixed_groups,
    _moving_objectives,
    _altered_files,
    _empty_fronts,
    _hidden_evaluations,
    _forced_resumes,
    _failed_evaluations,
)
"""In the order in which their warnings are told."""


# -- conditions as names and texts -----------------------------------------------------------------------


def _limits(run: Run) -> dict[str, str]:
    budget = run.manifest.get("budget") or {}
    return {name: text_of(value) for name, value in budget.items() if name != "tolerance"}


def _named(run: Run, group: str, *names: str) -> dict[str, str]:
    fields = run.manifest.get(group) or {}
    return {name: text_of(fields.get(name)) for name in names}


def _texts(fields: Any) -> dict[str, str]:
    if isinstance(fields, dict):
        return {str(name): text_of(value) for name, value in fields.items()}
    return {} if fields is None else {"value": text_of(fields)}


def _differences(conditions: Sequence[dict[str, str]], free: frozenset[str]) -> str:
    """What differs among the runs' conditions, with its values; "" where nothing does."""
    parts = []
    for name in dict.fromkeys(name for condition in conditions for name in condition):
        values = list(dict.fromkeys(condition.get(name, MISSING) for condition in conditions))
        if len(values) > 1 and name not in free:
            parts.append(f"{name} {some(values)}")
    return "; ".join(parts)

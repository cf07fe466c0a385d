"""What makes a comparison of runs doubtful: what differs among them that should not, and how few they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from opt.console.errors import UsageError, nearest
from opt.console.wording import some
from opt.problem.provenance import changed_names
from opt.runs.damage import altered_files
from opt.runs.run import Run

FEW_RUNS = 5
"""Fewer runs in a group than this are too few for a test to find anything."""
UNEVEN = 0.05
"""Runs whose evaluations differ by more than this share did not spend the same."""
MISSING = "(none)"
ENDED = ("finished",)


def value_of(run: Run, name: str) -> str:
    """A manifest field as text: `algo` is the algorithm's name, a dot goes a level down.

    Args:
        run: The run.
        name: Such as `problem.parameters.crossover`.
    """
    value: Any = run.manifest
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, dict) and "name" in value:
        value = value["name"]
    return _plain(value)


def check_field(runs: Sequence[Run], name: str) -> None:
    """Refuse a field that no run's manifest has.

    Raises:
        UsageError: None has it; the nearest name is offered.
    """
    if not name or all(value_of(run, name) == MISSING for run in runs):
        known = {field for run in runs for field in _fields(run.manifest)}
        raise UsageError(f"no run's manifest has a field {name!r}{nearest(name, sorted(known))}; see manifest.json")


def usable_runs(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The finished runs, and a warning about those left out."""
    left_out = [run for run in runs if run.status not in ENDED]
    if not left_out:
        return list(runs), []
    how = Counter(run.status for run in left_out)
    states = ", ".join(f"{n} {status}" for status, n in sorted(how.items()))
    text = f"left out, not finished ({states}): {some([run.path.name for run in left_out])}"
    return [run for run in runs if run.status in ENDED], [text]


def same_objectives(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs with the objectives that most of them have, and a warning about the rest."""
    kinds = [tuple((o.name, o.sense, o.unit) for o in run.objectives) for run in runs]
    most = Counter(kinds).most_common(1)[0][0]
    other = [run for run, kind in zip(runs, kinds, strict=True) if kind != most]
    if not other:
        return list(runs), []
    names = [f"{run.path.name} ({', '.join(o.name for o in run.objectives)})" for run in other]
    text = f"left out, other objectives than {', '.join(name for name, _, _ in most)}: {some(names)}"
    return [run for run, kind in zip(runs, kinds, strict=True) if kind == most], [text]


def doubts(runs: Sequence[Run], groups: Sequence[str], *, by: Sequence[str]) -> list[str]:
    """Why a comparison of these runs may mislead.

    Args:
        runs: Finished runs of one problem with the same objectives.
        groups: What each is compared as.
        by: Fields that tell groups and problems apart and so may differ.
    """
    found = []
    counts = Counter(groups)
    if len(counts) == 1:
        found.append(f"only one group ({groups[0]}): nothing to compare it with")
    few = {name: n for name, n in counts.items() if n < FEW_RUNS}
    if few:
        sizes = some([f"{name} ({n})" for name, n in few.items()])
        found.append(f"too few runs for a verdict, fewer than {FEW_RUNS}: {sizes}; intervals and p-values say little")
    if len(set(counts.values())) > 1:
        found.append(f"groups of different size: {some([f'{name} {n}' for name, n in counts.items()], at_most=8)}")
    for name in counts:
        seeds = Counter(value_of(run, "seed") for run, group in zip(runs, groups, strict=True) if group == name)
        repeated = [seed for seed, n in seeds.items() if n > 1]
        if repeated:
            found.append(f"{name}: more than one run of seed {some(repeated)}: these are no independent repeats")
    questions: list[tuple[str, Callable[[Run], dict[str, str]]]] = [
        ("different budgets", _limits),
        ("different versions", lambda run: _texts(run.manifest.get("versions"))),
        ("different code", lambda run: _texts(run.manifest.get("code"))),
        ("different problem parameters or data", lambda run: _texts(run.manifest["problem"].get("parameters"))),
        ("different problem files", lambda run: _named(run, "problem", "file", "class")),
        ("different data", lambda run: _texts(run.manifest.get("data"))),
        ("different numbers of threads", lambda run: _named(run, "request", "threads")),
        ("different worst values of objectives", lambda run: {o.name: _plain(o.worst) for o in run.objectives}),
    ]
    free = {name.split(".")[-1] for name in by}
    for what, ask in questions:
        if text := _differences([ask(run) for run in runs], free):
            found.append(f"{what}: {text}")
    spent = [float(run.manifest.get("n_eval") or 0) for run in runs]
    if min(spent) < (1 - UNEVEN) * max(spent):
        found.append(f"unequal evaluations spent: from {min(spent):.0f} to {max(spent):.0f} a run")
    for name in counts:
        inside = [run for run, group in zip(runs, groups, strict=True) if group == name]
        if len({value_of(run, "algo") for run in inside}) > 1:
            found.append(f"{name} mixes algorithms: {some(sorted({value_of(run, 'algo') for run in inside}))}")
        elif text := _differences([_texts(run.manifest["algo"].get("parameters")) for run in inside], free):
            found.append(f"{name} mixes parameters of the algorithm: {text}")
    moving = [run.path.name for run in runs if not run.is_stationary]
    if moving:
        found.append(
            f"objectives changed their meaning during {len(moving)} of {len(runs)} runs ({some(moving)}): their "
            "growth and targets are left out, and only their final fronts are compared"
        )
    altered = [f"{run.path.name} ({', '.join(names)})" for run in runs if (names := list(altered_files(run)))]
    if altered:
        found.append(f"files were altered since their run ended, --resume mends what it can: {some(altered)}")
    empty = [run.path.name for run in runs if run.manifest.get("n_solutions") == 0]
    if empty:
        found.append(f"no feasible solution: {some(empty)}; IGD+ and epsilon are left out, hypervolume is 0")
    hidden = Counter(value_of(run, "algo") for run in runs if run.manifest.get("n_inner_eval"))
    if hidden:
        found.append(
            f"{some(list(hidden))} judges candidates inside its own library that are not counted as evaluations "
            f"(n_inner_eval in the manifest): compare seconds, not evaluations"
        )
    forced = [
        f"{run.path.name} ({some(changed_names(run.manifest['resumed']))})"
        for run in runs
        if run.manifest.get("resumed")
    ]
    if forced:
        found.append(f"went on with --force after what made them had changed: {some(forced)}")
    failing = [r.path.name for r in runs if (r.manifest.get("n_failed") or 0) > 0.01 * (r.manifest.get("n_eval") or 1)]
    if failing:
        found.append(f"more than 1 % of the evaluations failed: {some(failing)}")
    return found


def _limits(run: Run) -> dict[str, str]:
    budget = run.manifest.get("budget") or {}
    return {name: _plain(value) for name, value in budget.items() if name != "tolerance"}


def _named(run: Run, group: str, *names: str) -> dict[str, str]:
    fields = run.manifest.get(group) or {}
    return {name: _plain(fields.get(name)) for name in names}


def _texts(fields: Any) -> dict[str, str]:
    if isinstance(fields, dict):
        return {str(name): _plain(value) for name, value in fields.items()}
    return {} if fields is None else {"value": _plain(fields)}


def _differences(answers: Sequence[dict[str, str]], free: set[str]) -> str:
    """What differs among the answers, with its values; "" where nothing does."""
    parts = []
    for name in dict.fromkeys(name for answer in answers for name in answer):
        values = list(dict.fromkeys(answer.get(name, MISSING) for answer in answers))
        if len(values) > 1 and name not in free:
            parts.append(f"{name} {some(values)}")
    return "; ".join(parts)


def _plain(value: Any) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _fields(manifest: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in manifest.items():
        found.append(prefix + name)
        if isinstance(value, dict):
            found += _fields(value, f"{prefix}{name}.")
    return found

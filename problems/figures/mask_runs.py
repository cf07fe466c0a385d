"""Masks of saved runs: the problem that a run searched, and the masks of its front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opt.console.errors import UsageError
from opt.console.names import check_name
from opt.console.option_groups import of_former
from opt.execution.named_code import Code
from opt.execution.trust import check_code, recorded_by
from opt.flags.seeding import resolved
from opt.runs.run import Run

if TYPE_CHECKING:
    from problems.masks import Masks


@dataclass(frozen=True)
class NamedMask:
    """One mask and what it is called.

    Attributes:
        name: In tables and pictures.
        mask: (n,) bool.
        is_searched: Whether a run found it.
    """

    name: str
    mask: np.ndarray
    is_searched: bool


def problem_of(run: Run, *, trust: bool = False) -> Masks:
    """The problem that a run searched, built again from its manifest.

    Args:
        run: The run.
        trust: Call the function that the manifest names as its model, whatever it is.

    Raises:
        UsageError: The run is of another problem, was made from Python without parameters on record, or names a
            function that is not trusted (`opt.execution.trust`); or it searches a user's own workload.
    """
    from problems.masks import Masks

    asked = run.manifest["problem"]
    if asked.get("class") != "Masks":
        raise UsageError(f"{run.path} searches {asked.get('name')}; give runs of problems/masks.py")
    if asked.get("parameters") is None:
        raise UsageError(
            f"{run.path} was made from Python and its manifest holds no parameters; give a run of python -m opt.solve"
        )
    check_code(run.path, [Code(parameters=(asked["parameters"],))], recorded_by(run, ""), trust=trust)
    problem = Masks(**resolved(_present(asked["parameters"]), seed=run.manifest["seed"]))
    if problem.dataset is None:
        raise UsageError(f"{run.path} searches a workload of one's own; give runs on named data")
    return problem


def _present(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Recorded parameters under the names of now."""
    from problems.masks import Masks

    return of_former(Masks.__init__, parameters or {})


def best_mask(run: Run, problem: Masks) -> NamedMask:
    """The mask of least loss on a run's front."""
    from problems.masks import MASK_BITS

    front = run.front
    if not len(front):
        raise UsageError(f"the front of {run.path} is empty; give another run")
    for name in front["id"]:  # sorted by the first objective; the best of several objectives is saved too
        file = run.path / "solutions" / f"{check_name(name, f'{run.path}: solution')}.safetensors"
        if file.exists():
            bits = run.solution(name)[MASK_BITS]
            mask = np.unpackbits(bits, count=problem.layout.n).astype(bool)
            start = "" if problem.moves.start == "random" else f" from {problem.moves.start}"
            return NamedMask(f"{run.manifest['algo']['name']} seed {run.manifest['seed']}{start}", mask, True)
    raise UsageError(f"{run.path} holds no saved solution; search with --keep 1 or more")


def masks_of(runs: Sequence[Run], criteria: Sequence[str], *, trust: bool = False) -> tuple[Masks, list[NamedMask]]:
    """The first run's problem, the best mask of every run, and criteria's masks with as many places.

    Args:
        runs: Of one network.
        criteria: Names of criteria.
        trust: As in `problem_of`.

    Raises:
        UsageError: The runs mask different networks, and there is nothing to compare.
    """
    problem = problem_of(runs[0], trust=trust)
    found: list[NamedMask] = []
    for run in runs:
        other = _present(run.manifest["problem"].get("parameters"))
        own = _present(runs[0].manifest["problem"]["parameters"])
        different = [
            k for k in ("data", "network", "level", "layers", "width", "checkpoint") if other.get(k) != own.get(k)
        ]
        if different:
            raise UsageError(
                f"{run.path} and {runs[0].path} differ in {', '.join(different)}: their masks have other places"
            )
        found.append(best_mask(run, problem_of(run, trust=trust) if other != own else problem))
    names = [m.name for m in found]
    if len(set(names)) < len(names):
        found = [NamedMask(f"{m.name} ({k})", m.mask, True) for k, m in enumerate(found, start=1)]
    n_kept = int(found[0].mask.sum())
    known = [NamedMask(name, problem.criteria.mask(name, n_kept), False) for name in criteria]
    return problem, [*found, *known]

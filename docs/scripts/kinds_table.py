"""Every task on networks of eight kinds: what it can change, whether its evaluation proves true, how long that takes.

python docs/scripts/kinds_table.py [TASK...]
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opt.algorithms.interface.checked_operators import operators_of
from opt.console.errors import UsageError
from problems.alds import ALDS
from problems.cgp_layers import CGPLayers
from problems.ecomp import EComp
from problems.masks import Masks
from problems.threshold import Threshold
from problems.workloads import Workload

KINDS = Path(__file__).parents[1] / "your_network" / "kinds.py"

TASKS: dict[str, Callable[[Workload], Any]] = {
    "threshold": lambda work: Threshold(workload=work, layers="*"),
    "masks": lambda work: Masks(workload=work, sparsity=None, references="none"),
    "filters": lambda work: Masks(workload=work, sparsity=None, level="filters", references="none"),
    "alds": lambda work: ALDS(workload=work, goal="accuracy", rivals=False),
    "ecomp": lambda work: EComp(workload=work),
    "cgp_layers": lambda work: CGPLayers(workload=work, generations=20),
}
"""A problem of each task on a workload."""


def kinds() -> dict[str, Callable[[], Workload]]:
    """The workloads of `docs/your_network/kinds.py` by name."""
    spec = importlib.util.spec_from_file_location("kinds", KINDS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kinds"] = module
    spec.loader.exec_module(module)
    return {make.__name__: make for make in module.KINDS}


def tried(task: str, work: Workload, *, seed: int = 0) -> tuple[str, str]:
    """Open a task on a workload, prove it, evaluate some candidates: "yes", "whole" or "refused", and what was said."""
    try:
        problem = TASKS[task](work)
        rng = np.random.default_rng(seed)
        problem.begin_run(rng)
        notes = problem.verify(rng)
        F = problem.evaluate(operators_of(problem).sampling(4, rng))
        F = F[0] if isinstance(F, tuple) else F
        assert F.shape == (4, problem.n_obj) and np.isfinite(F).all()
    except UsageError as error:
        return "refused", str(error)
    return ("whole" if problem.is_whole else "yes"), "; ".join(notes)


def main(names: Sequence[str]) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    for kind, make in kinds().items():
        work = make()
        for task in names or TASKS:
            start = time.process_time()
            verdict, told = tried(task, work)
            print(f"{kind:12s} {task:10s} {verdict:8s} {time.process_time() - start:5.1f} s  {told}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Search for smaller neural networks: any algorithm on any compression problem.

From Python::

    import opt
    run = opt.minimize(problem, algo="nsga2", seed=1, n_gen=50)
    run.front            # a pandas DataFrame
    run.plot()
    opt.load_run("runs/...")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opt.console.errors import UsageError
    from opt.console.option_groups import flat_options, option_group
    from opt.console.ranges import Range
    from opt.execution.minimize import minimize
    from opt.execution.saved_run import Run, find_runs, list_runs, load_run
    from opt.problem import CompressionProblem, Move, Objective, Operators, Reference, maximise, minimise

_HOME = {
    "CompressionProblem": "opt.problem",
    "Move": "opt.problem",
    "Objective": "opt.problem",
    "Operators": "opt.problem",
    "Range": "opt.console.ranges",
    "Reference": "opt.problem",
    "Run": "opt.execution.saved_run",
    "UsageError": "opt.console.errors",
    "find_runs": "opt.execution.saved_run",
    "flat_options": "opt.console.option_groups",
    "list_runs": "opt.execution.saved_run",
    "load_run": "opt.execution.saved_run",
    "maximise": "opt.problem",
    "minimise": "opt.problem",
    "minimize": "opt.execution.minimize",
    "option_group": "opt.console.option_groups",
}
"""The module of each public name: it is imported when the name is first used, so that `import opt` is quick."""

__all__ = [
    "CompressionProblem",
    "Move",
    "Objective",
    "Operators",
    "Range",
    "Reference",
    "Run",
    "UsageError",
    "find_runs",
    "flat_options",
    "list_runs",
    "load_run",
    "maximise",
    "minimise",
    "minimize",
    "option_group",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'opt' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])

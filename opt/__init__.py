"""Search for smaller neural networks: any algorithm on any compression problem.

From Python::

    import opt
    run = opt.minimize(problem, algo="nsga2", seed=1, n_gen=50)
    run.front            # a pandas DataFrame
    run.plot()
    opt.load_run("runs/...")
"""

from opt.console.errors import UsageError
from opt.minimize import minimize
from opt.problem import CompressionProblem, Move, Objective, Operators, Reference, maximise, minimise
from opt.saved_run import Run, find_runs, list_runs, load_run

__all__ = [
    "CompressionProblem",
    "Move",
    "Objective",
    "Operators",
    "Reference",
    "Run",
    "UsageError",
    "find_runs",
    "list_runs",
    "load_run",
    "maximise",
    "minimise",
    "minimize",
]

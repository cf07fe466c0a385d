"""Pictures of runs: fronts, convergence, traces, repeats."""

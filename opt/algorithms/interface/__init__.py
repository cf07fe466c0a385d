"""What every algorithm is built on: the registry, the problem's operators for pymoo, random state, warm start."""

"""What is compressed and how it is judged: workloads, trained networks by name, the user's own."""

from problems.workloads.losses import Metric
from problems.workloads.recipe import Recipe
from problems.workloads.workload import Workload

__all__ = ["Metric", "Recipe", "Workload"]

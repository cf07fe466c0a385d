"""Sampling, crossover, mutation and repair of allocations: an option and a rank for each layer, two columns a layer."""

from operators.allocations.crossover_layers import LayerCrossover
from operators.allocations.mutation_ranks import RankMutation
from operators.allocations.repair_budget import BudgetRepair
from operators.allocations.sampling_budgets import BudgetSampling

__all__ = ["BudgetRepair", "BudgetSampling", "LayerCrossover", "RankMutation"]

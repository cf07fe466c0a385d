"""Sampling, crossover, mutation and repair of allocations: an option and a rank for each layer, two columns a layer."""

from operators.ranks.crossover_layers import LayerCrossover
from operators.ranks.mutation_ranks import RankMutation
from operators.ranks.repair_budget import BudgetRepair
from operators.ranks.sampling_budgets import BudgetSampling

__all__ = ["BudgetRepair", "BudgetSampling", "LayerCrossover", "RankMutation"]

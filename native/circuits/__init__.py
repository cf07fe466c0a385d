"""Circuits: grid, gate functions, genome, costs, data sets, and the problem that evaluates them."""

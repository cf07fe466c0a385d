"""Circuits: functions, grid, genome, cost of gates, data words."""

"""Nondominated sets: the archive, hypervolume and other indicators, spread along a front."""

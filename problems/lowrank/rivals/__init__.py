"""Rivals of ALDS at the same budget: filter pruning, PCA and the like."""

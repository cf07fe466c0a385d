"""Prune, retrain, repeat: the published experiment of ALDS."""

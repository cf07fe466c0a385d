"""Circuits that compute weights: tasks, options, energy model, variation, the strategy in C."""

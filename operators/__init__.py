"""Sampling, crossover, mutation and repair: arrays and an rng in, new arrays out."""

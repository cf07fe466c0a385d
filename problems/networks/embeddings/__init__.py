"""Embeddings: what a network's layers make of examples, and how far two networks' are from each other."""

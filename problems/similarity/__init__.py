"""EComp's own: batches of networks, pruning and refit of a parent's neurons, size."""

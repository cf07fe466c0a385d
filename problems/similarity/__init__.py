"""EComp's own: affinities, similarity objectives, pruning and refit of a parent's neurons."""

"""What the threshold search needs: scores of weights, masks by thresholds, accuracy of pruned networks."""

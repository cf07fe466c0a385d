"""ALDS as search algorithms: the published heuristic, and the exact front."""

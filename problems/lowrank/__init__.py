"""Low-rank decomposition of layers: tables of all choices, exact and published allocation, factors, rivals."""

"""Network architectures, with initial weights from a seed of their own."""

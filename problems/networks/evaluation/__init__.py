"""How good many networks are at once: accuracy, loss, shared prefixes of layers."""

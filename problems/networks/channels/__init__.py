"""Channels of any network: which go together, and the smaller network that is left of the kept ones."""

"""Small networks that are odd in one way each: what people bring, and what a search must be right about.

`NETWORKS` has them by name; each is a function whose docstring says how it is odd.
"""

from odd_networks import (  # noqa: F401
    behaviour,
    computed_weights,
    containers,
    convolutions,
    norms,
    sequences,
    shared_weights,
    signatures,
)
from odd_networks.case import NETWORKS, OddNetwork

__all__ = ["NETWORKS", "OddNetwork"]

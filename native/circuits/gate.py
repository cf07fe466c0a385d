"""A gate of a circuit that an output depends on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """An active gate: its number, its function, the pins that it reads."""

    number: int
    function: str
    sources: tuple[int, ...]

    def is_ahead(self, pin: int, n_inputs: int) -> bool:
        """Whether a pin that it reads is its own or a later gate's, which only recurrent circuits have."""
        return pin >= n_inputs + self.number

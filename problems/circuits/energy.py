"""Energy model: reading weights from SRAM or DRAM, against computing them by a circuit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from opt.console.errors import UsageError

READ_PJ_64_BITS = {8 * 1024: 10.0, 32 * 1024: 20.0, 1024 * 1024: 100.0}
"""Energy of a 64-bit read by the memory's size in bytes: on-chip SRAM at 45 nm, 0.9 V.

Source: Horowitz 2014, ISSCC, doi:10.1109/ISSCC.2014.6757323, fig. 1.1.9.
"""

DRAM_PJ_64_BITS = (1300.0, 2600.0)
"""Likewise for DRAM: from 1.3 to 2.6 nJ."""

_BYTES = 8
_LARGEST_SRAM = 1024**4
_MOST_PJ = 1e9
_UNITS = {"k": 1024, "m": 1024**2}


def sram_pj_per_byte(size_bytes: float) -> float:
    """Energy of reading a byte from an SRAM: the source's three sizes, and straight lines between them in log-log.

    Beyond the sizes of the source the nearest line goes on.
    """
    sizes, reads = (np.log(np.array(list(v))) for v in (READ_PJ_64_BITS, READ_PJ_64_BITS.values()))
    at = math.log(size_bytes)
    k = min(max(int(np.searchsorted(sizes, at)) - 1, 0), len(sizes) - 2)
    slope = (reads[k + 1] - reads[k]) / (sizes[k + 1] - sizes[k])
    return math.exp(reads[k] + slope * (at - sizes[k])) / _BYTES


def memory_pj_per_byte(memory: str) -> float:
    """Energy of reading one byte.

    Args:
        memory: `sram-32k`, `sram-1m` or another size; `dram` (the source's lower figure) or `dram-high`; or a number of
            pJ a byte.

    Raises:
        UsageError: none of these, or not above 0.
    """
    text = memory.strip().lower()
    if text in ("dram", "dram-high"):
        return DRAM_PJ_64_BITS[text == "dram-high"] / _BYTES
    if match := re.fullmatch(r"sram-(\d+)([km])", text):
        size = int(match[1]) * _UNITS[match[2]]
        if 0 < size <= _LARGEST_SRAM:
            return sram_pj_per_byte(size)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= _MOST_PJ:
        raise UsageError(
            "memory must be sram-8k, sram-32k, sram-1m or another size, dram, dram-high, or pJ a byte above 0 and at "
            f"most 1e9, got {memory!r}"
        )
    return value


@dataclass(frozen=True)
class Verdict:
    """A circuit's energy against reading the weights that it replaces, once each.

    Args:
        circuit_pj: Energy of computing all of them.
        loading_pj: Energy of reading them.
        n_bytes: Weights replaced, a byte each.
    """

    circuit_pj: float
    loading_pj: float
    n_bytes: int

    @property
    def saving(self) -> float:
        """Share of the loading energy that is saved; negative where the circuit costs more."""
        return 1 - self.circuit_pj / self.loading_pj

    @property
    def break_even_pj_per_byte(self) -> float:
        """Energy of reading a byte above which the circuit pays."""
        return self.circuit_pj / self.n_bytes


def verdict(energy_pj: float, *, n_runs: int, n_bytes: int, pj_per_byte: float) -> Verdict:
    """Judge a circuit.

    Args:
        energy_pj: Of one evaluation of the circuit.
        n_runs: How often it runs to give all weights: once for each data set.
        n_bytes: Weights that need not be loaded, a byte each.
        pj_per_byte: Of the memory that they would be read from.
    """
    return Verdict(energy_pj * n_runs, n_bytes * pj_per_byte, n_bytes)

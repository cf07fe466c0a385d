"""Energy of reading weights, and the verdict on circuits."""

from __future__ import annotations

import pytest

from opt.console.errors import UsageError
from problems.circuits.energy import memory_pj_per_byte, sram_pj_per_byte, verdict


@pytest.mark.parametrize(
    ("memory", "pj_64_bits"),
    [("sram-8k", 10), ("sram-32k", 20), ("sram-1m", 100), ("SRAM-1024k", 100), ("dram", 1300), ("dram-high", 2600)],
)
def test_named_memories_cost_what_the_source_says(memory, pj_64_bits):
    assert memory_pj_per_byte(memory) == pytest.approx(pj_64_bits / 8)


def test_sizes_between_lie_between_and_a_number_is_itself():
    assert memory_pj_per_byte("sram-8k") < memory_pj_per_byte("sram-16k") < memory_pj_per_byte("sram-32k")
    # halfway in the logarithm: the geometric mean
    assert sram_pj_per_byte(16 * 1024) == pytest.approx((10 * 20) ** 0.5 / 8)
    assert sram_pj_per_byte(4 * 1024) < 10 / 8 and sram_pj_per_byte(4 << 20) > 100 / 8
    assert memory_pj_per_byte("0.7") == 0.7


@pytest.mark.parametrize("memory", ["", "sram", "sram-0k", "-3", "0", "nan", "inf", "drum", "sram-8g"])
def test_unknown_memory_is_one_line(memory):
    with pytest.raises(UsageError, match="memory must be") as caught:
        memory_pj_per_byte(memory)
    assert "\n" not in str(caught.value)


def test_verdict_counts_runs_of_the_circuit_and_bytes_replaced():
    judged = verdict(3.0, n_runs=2, n_bytes=100, pj_per_byte=0.12)
    assert judged.circuit_pj == 6 and judged.loading_pj == pytest.approx(12)
    assert judged.saving == pytest.approx(0.5)
    assert judged.break_even_pj_per_byte == pytest.approx(0.06)
    assert verdict(20.0, n_runs=1, n_bytes=10, pj_per_byte=1.0).saving == pytest.approx(-1)

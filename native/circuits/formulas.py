"""Formulas of a circuit's outputs: expressions of its gates, nested as far as they stay readable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from native.circuits.gate import Gate
from native.circuits.gate_table import gate_table

LONGEST = 200  # characters of a formula, beyond which a gate gets a name of its own


@dataclass(frozen=True)
class Notation:
    """How formulas are written.

    Args:
        templates: By function, with {0} and {1} for its operands.
        call: Of functions without a template, with {0} for the name and {1} for the operands.
        input: Of an input, with {} for its number.
        gate: Of a gate with a name of its own, likewise.
    """

    templates: Mapping[str, str]
    call: str
    input: str
    gate: str


def plain_text(gates: Sequence[Gate], output_pins: Sequence[int], n_inputs: int, domain: str) -> str:
    """One line per output, `y0 = ...`; gates that several read come before, as `g7 = ...`.

    A gate that looks ahead in a recurrent circuit names the value of the sample before with a prime: `g7'`.
    """
    templates = {row.name: row.plain for row in gate_table(domain) if row.plain}
    notation = Notation(templates, call="{}({})", input="x{}", gate="g{}")
    return "\n".join(f"{name} = {formula}" for name, formula in formulas(gates, output_pins, n_inputs, notation))


def formulas(
    gates: Sequence[Gate], output_pins: Sequence[int], n_inputs: int, notation: Notation
) -> list[tuple[str, str]]:
    """Name and formula of every gate that has a name of its own, then of every output.

    Args:
        gates: The active gates, in an order of evaluation.
        output_pins: The pin of each output.
        n_inputs: Of the circuit.
        notation: How they are written.
    """
    named = _named_pins(gates, n_inputs)
    texts = {pin: notation.input.format(pin) for pin in range(n_inputs)}
    lines = []
    for gate in gates:
        pin = n_inputs + gate.number
        text = _formula(gate, texts, n_inputs, notation)
        if pin in named or len(text) > LONGEST:
            lines.append((f"g{gate.number}", text))
            text = notation.gate.format(gate.number)
        texts[pin] = text
    lines += [(f"y{i}", texts[pin]) for i, pin in enumerate(output_pins)]
    return [(name, _bare(text)) for name, text in lines]


def _named_pins(gates: Sequence[Gate], n_inputs: int) -> set[int]:
    """Pins of gates that are written once and then named: those with several readers, and those read ahead of."""
    n_readers = Counter(pin for gate in gates for pin in gate.sources)
    shared = {n_inputs + gate.number for gate in gates if gate.sources and n_readers[n_inputs + gate.number] > 1}
    return shared | {pin for gate in gates for pin in gate.sources if gate.is_ahead(pin, n_inputs)}


def _formula(gate: Gate, texts: Mapping[int, str], n_inputs: int, notation: Notation) -> str:
    operands = [
        notation.gate.format(pin - n_inputs) + "'" if gate.is_ahead(pin, n_inputs) else texts[pin]
        for pin in gate.sources
    ]
    if gate.function in notation.templates:
        return notation.templates[gate.function].format(*operands)
    return notation.call.format(gate.function, ", ".join(operands))


def _bare(formula: str) -> str:
    """Without the brackets around the whole."""
    if not (formula.startswith("(") and formula.endswith(")")):
        return formula
    depth = 0
    for i, sign in enumerate(formula):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and i < len(formula) - 1:
            return formula
    return formula[1:-1]

"""Code generation: a circuit as source in C, Python or Verilog that computes the same outputs."""

from __future__ import annotations

from native.circuits.gate import Gate
from native.circuits.gate_table import gate_table
from native.circuits.genome import Genome

C_TYPES = {"int8": "int8_t", "float32": "float", "float64": "double"}


def to_c(genome: Genome, *, name: str = "circuit") -> str:
    """A C99 function `void NAME(const T *x, T *y)`; with multiplexers also `int data_set`.

    Compile floating point without contraction (-ffp-contract=off) for the same last digits.
    """
    _refuse_recurrent(genome)
    domain = genome.functions.domain
    kind, suffix = C_TYPES[domain], "f" if domain == "float32" else ""
    formulas = {row.name: row.c for row in gate_table(domain)}
    lines = [
        "#include <stdint.h>" if domain == "int8" else "#include <math.h>",
        "",
        f"/* {genome.grid}; x holds {genome.grid.n_inputs} values, y {genome.grid.n_outputs} */",
        f"void {name}(const {kind} *x, {kind} *y{', int data_set' if _has_multiplexer(genome) else ''}) {{",
    ]
    for gate in genome.gates:
        operands = [_pin(genome, pin, "x[{}]") for pin in gate.sources]
        formula = _choice(genome, gate, operands, "0") or formulas[gate.function].format(*operands, f=suffix)
        lines.append(f"    const {kind} g{gate.number} = ({kind})({formula});")
    lines += [f"    y[{i}] = {_pin(genome, pin, 'x[{}]')};" for i, pin in enumerate(genome.output_pins)]
    return "\n".join(lines) + "\n}\n"


def to_python(genome: Genome, *, name: str = "circuit") -> str:
    """A Python function `NAME(x)`, with multiplexers `NAME(x, data_set)`.

    int8: a sequence of whole numbers to a list of them, plain Python. Floating point: an array (..., n_inputs) to
    (..., n_outputs) with NumPy; transcendental functions may differ in the last places.
    """
    _refuse_recurrent(genome)
    is_int8 = genome.functions.domain == "int8"
    formulas = {row.name: row.python or row.c for row in gate_table(genome.functions.domain)}
    arguments = "x, data_set" if _has_multiplexer(genome) else "x"
    lines = [] if is_int8 else ["import numpy as np", "", ""]
    lines += [f"def {name}({arguments}):", f'    """{genome.grid}."""']
    if is_int8:
        lines.append("    def wrap(value):\n        return (value + 128) % 256 - 128\n")
        source = "x[{}]"
    else:
        lines += [f"    T = np.{genome.functions.domain}", "    x = np.asarray(x, dtype=T)"]
        lines.append("    ones = np.ones(x.shape[:-1], dtype=T)")
        source = "x[..., {}]"
    for gate in genome.gates:
        operands = [_pin(genome, pin, source) for pin in gate.sources]
        if is_int8:
            formula = _python_choice(genome, gate, operands) or f"wrap({formulas[gate.function].format(*operands)})"
        else:
            formula = formulas[gate.function].format(*operands)
        lines.append(f"    g{gate.number} = {formula}")
    outputs = ", ".join(_pin(genome, pin, source) for pin in genome.output_pins)
    lines.append(f"    return [{outputs}]" if is_int8 else f"    return np.stack([{outputs}], axis=-1)")
    return "\n".join(lines) + "\n"


def to_verilog(genome: Genome, *, name: str = "circuit") -> str:
    """A combinational Verilog-2001 module of an int8 circuit: inputs x0.., outputs y0.., with multiplexers data_set.

    Raises:
        ValueError: The circuit is of floating point, or recurrent.
    """
    _refuse_recurrent(genome)
    if genome.functions.domain != "int8":
        raise ValueError(f"Verilog is written for int8 circuits, got {genome.functions.domain}")
    grid = genome.grid
    formulas = {row.name: row.verilog or row.c for row in gate_table("int8")}
    ports = ["    input [7:0] data_set"] if _has_multiplexer(genome) else []
    ports += [f"    input signed [7:0] x{i}" for i in range(grid.n_inputs)]
    ports += [f"    output signed [7:0] y{i}" for i in range(grid.n_outputs)]
    lines = [f"// {grid}", f"module {name}(", ",\n".join(ports), ");"]
    for gate in genome.gates:
        operands = [_pin(genome, pin, "x{}") for pin in gate.sources]
        formula = _choice(genome, gate, operands, "8'sd0") or formulas[gate.function].format(*operands)
        lines.append(f"    wire signed [7:0] g{gate.number} = {formula};")
    lines += [f"    assign y{i} = {_pin(genome, pin, 'x{}')};" for i, pin in enumerate(genome.output_pins)]
    return "\n".join([*lines, "endmodule", ""])


def _pin(genome: Genome, pin: int, source: str) -> str:
    n_in = genome.grid.n_inputs
    return source.format(pin) if pin < n_in else f"g{pin - n_in}"


def _has_multiplexer(genome: Genome) -> bool:
    names = {row.name for row in gate_table(genome.functions.domain) if row.reads_set}
    return any(gate.function in names for gate in genome.gates)


def _choice(genome: Genome, gate: Gate, operands: list[str], zero: str) -> str:
    """A multiplexer as a chain of `condition ? value : ...` in C and Verilog alike, or "" for other gates."""
    case, arity = "data_set % {} == {} ? {} : ", genome.grid.arity
    if gate.function == "demux":
        return case.format(arity, 0, operands[0]) + zero
    if gate.function == "mux":
        return "".join(case.format(arity, k, value) for k, value in enumerate(operands[:-1])) + operands[-1]
    return ""


def _python_choice(genome: Genome, gate: Gate, operands: list[str]) -> str:
    arity = genome.grid.arity
    if gate.function == "demux":
        return f"{operands[0]} if data_set % {arity} == 0 else 0"
    if gate.function == "mux":
        return f"({', '.join(operands)})[data_set % {arity}]"
    return ""


def _refuse_recurrent(genome: Genome) -> None:
    for gate in genome.gates:
        if any(gate.is_ahead(pin, genome.grid.n_inputs) for pin in gate.sources):
            raise ValueError(
                f"source is written for circuits without recurrent connections; gate {gate.number} has one"
            )

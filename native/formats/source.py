"""A circuit as source that computes the same outputs: C, Python, Verilog."""

from __future__ import annotations

from native.circuits.genome import Gate, Genome

_INT8_C = {
    "rsub127": "127 - {0}",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "neg": "-{0}",
    "sub128": "{0} - 128",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "xor": "{0} ^ {1}",
    "not": "~{0}",
    "inc": "{0} + 1",
    "dec": "{0} - 1",
    "one": "1",
    "minus_one": "-1",
    "zero": "0",
    "min": "-128",
    "max": "127",
    "wire": "{0}",
    **{f"shr{k}": f"{{0}} >> {k}" for k in range(1, 6)},
    **{f"shl{k}": f"{{0}} * {2**k}" for k in range(1, 6)},
}
# {f} is the suffix of float32 functions and constants
_FLOAT_C = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{1} == 0 ? 1 : {0} / {1}",
    "abs": "fabs{f}({0})",
    "sqrt": "sqrt{f}({0} > 0 ? {0} : 0)",
    "sq": "{0} * {0}",
    "cube": "{0} * {0} * {0}",
    "pow": "pow{f}({0}, {1})",
    "exp": "exp{f}({0})",
    "sin": "sin{f}({0})",
    "cos": "cos{f}({0})",
    "tan": "tan{f}({0})",
    "1": "1",
    "0": "0",
    "pi": "3.14159265358979323846{f}",
    "sig": "1 / (1 + exp{f}(-{0}))",
    "gauss": "exp{f}(-0.5{f} * {0} * {0})",
    "step": "{0} < 0 ? 0 : 1",
    "softsign": "{0} / (1 + fabs{f}({0}))",
    "tanh": "tanh{f}({0})",
    "and": "{0} != 0 && {1} != 0",
    "nand": "!({0} != 0 && {1} != 0)",
    "or": "{0} != 0 || {1} != 0",
    "nor": "!({0} != 0 || {1} != 0)",
    "xor": "({0} != 0) != ({1} != 0)",
    "xnor": "({0} != 0) == ({1} != 0)",
    "not": "{0} == 0",
    "wire": "{0}",
}
_FLOAT_PYTHON = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "np.where({1} == 0, T(1), {0} / {1})",
    "abs": "np.abs({0})",
    "sqrt": "np.sqrt(np.where({0} > 0, {0}, T(0)))",
    "sq": "{0} * {0}",
    "cube": "{0} * {0} * {0}",
    "pow": "np.power({0}, {1})",
    "exp": "np.exp({0})",
    "sin": "np.sin({0})",
    "cos": "np.cos({0})",
    "tan": "np.tan({0})",
    "1": "ones",
    "0": "T(0) * ones",
    "pi": "T(np.pi) * ones",
    "sig": "T(1) / (T(1) + np.exp(-{0}))",
    "gauss": "np.exp(T(-0.5) * {0} * {0})",
    "step": "np.where({0} < 0, T(0), T(1))",
    "softsign": "{0} / (T(1) + np.abs({0}))",
    "tanh": "np.tanh({0})",
    "and": "(({0} != 0) & ({1} != 0)).astype(T)",
    "nand": "(~(({0} != 0) & ({1} != 0))).astype(T)",
    "or": "(({0} != 0) | ({1} != 0)).astype(T)",
    "nor": "(~(({0} != 0) | ({1} != 0))).astype(T)",
    "xor": "(({0} != 0) != ({1} != 0)).astype(T)",
    "xnor": "(({0} != 0) == ({1} != 0)).astype(T)",
    "not": "({0} == 0).astype(T)",
    "wire": "{0}",
}
_VERILOG = {
    **_INT8_C,
    "rsub127": "8'sd127 - {0}",
    "sub128": "{0} ^ 8'sh80",
    "inc": "{0} + 8'sd1",
    "dec": "{0} - 8'sd1",
    "one": "8'sd1",
    "minus_one": "-8'sd1",
    "zero": "8'sd0",
    "min": "8'sh80",
    "max": "8'sd127",
    **{f"shr{k}": f"{{0}} >>> {k}" for k in range(1, 6)},
    **{f"shl{k}": f"{{0}} <<< {k}" for k in range(1, 6)},
}
C_TYPES = {"int8": "int8_t", "float32": "float", "float64": "double"}


def to_c(genome: Genome, *, name: str = "circuit") -> str:
    """A C99 function `void NAME(const T *x, T *y)`; with multiplexers also `int data_set`.

    Compile floating point without contraction (-ffp-contract=off) for the same last digits.
    """
    _refuse_recurrent(genome)
    domain = genome.functions.domain
    kind, suffix = C_TYPES[domain], "f" if domain == "float32" else ""
    table = _INT8_C if domain == "int8" else _FLOAT_C
    lines = [
        "#include <stdint.h>" if domain == "int8" else "#include <math.h>",
        "",
        f"/* {genome.grid}; x holds {genome.grid.n_inputs} values, y {genome.grid.n_outputs} */",
        f"void {name}(const {kind} *x, {kind} *y{', int data_set' if _has_multiplexer(genome) else ''}) {{",
    ]
    for gate in genome.gates:
        operands = [_pin(genome, pin, "x[{}]") for pin in gate.sources]
        formula = _choice(genome, gate, operands, "data_set % {} == {} ? {} : ") or table[gate.function].format(
            *operands, f=suffix
        )
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
            formula = _python_choice(genome, gate, operands) or f"wrap({_INT8_C[gate.function].format(*operands)})"
        else:
            formula = _FLOAT_PYTHON[gate.function].format(*operands)
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
    ports = ["    input [7:0] data_set"] if _has_multiplexer(genome) else []
    ports += [f"    input signed [7:0] x{i}" for i in range(grid.n_inputs)]
    ports += [f"    output signed [7:0] y{i}" for i in range(grid.n_outputs)]
    lines = [f"// {grid}", f"module {name}(", ",\n".join(ports), ");"]
    for gate in genome.gates:
        operands = [_pin(genome, pin, "x{}") for pin in gate.sources]
        formula = _choice(genome, gate, operands, "data_set % {} == {} ? {} : ", "8'sd0") or _VERILOG[
            gate.function
        ].format(*operands)
        lines.append(f"    wire signed [7:0] g{gate.number} = {formula};")
    lines += [f"    assign y{i} = {_pin(genome, pin, 'x{}')};" for i, pin in enumerate(genome.output_pins)]
    return "\n".join([*lines, "endmodule", ""])


def _pin(genome: Genome, pin: int, source: str) -> str:
    n_in = genome.grid.n_inputs
    return source.format(pin) if pin < n_in else f"g{pin - n_in}"


def _has_multiplexer(genome: Genome) -> bool:
    return any(gate.function in ("mux", "demux") for gate in genome.gates)


def _choice(genome: Genome, gate: Gate, operands: list[str], case: str, zero: str = "0") -> str:
    """A multiplexer as a chain of `condition ? value : ...`, or "" for other gates."""
    arity = genome.grid.arity
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
        if any(pin >= genome.grid.n_inputs + gate.number for pin in gate.sources):
            raise ValueError(
                f"source is written for circuits without recurrent connections; gate {gate.number} has one"
            )

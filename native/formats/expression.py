"""A circuit as formulas, for reading: plain text and LaTeX."""

from __future__ import annotations

from native.circuits.genome import Gate, Genome

# {0} and {1} are operands; values of int8 wrap around
_PLAIN = {
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} * {1})",
    "div": "({0} / {1})",
    "neg": "(-{0})",
    "rsub127": "(127 - {0})",
    "sub128": "({0} - 128)",
    "inc": "({0} + 1)",
    "dec": "({0} - 1)",
    "one": "1",
    "minus_one": "-1",
    "zero": "0",
    "min": "-128",
    "max": "127",
    "1": "1",
    "0": "0",
    "pi": "pi",
    "wire": "{0}",
    "sq": "({0}**2)",
    "cube": "({0}**3)",
    "pow": "({0}**{1})",
    **{f"shr{k}": f"({{0}} >> {k})" for k in range(1, 6)},
    **{f"shl{k}": f"({{0}} << {k})" for k in range(1, 6)},
}
_INT8_LOGIC = {"and": "({0} & {1})", "or": "({0} | {1})", "xor": "({0} ^ {1})", "not": "(~{0})"}
_LATEX = {
    "add": "({0} + {1})",
    "sub": "({0} - {1})",
    "mul": "({0} \\cdot {1})",
    "div": "\\frac{{{0}}}{{{1}}}",
    "neg": "(-{0})",
    "rsub127": "(127 - {0})",
    "sub128": "({0} - 128)",
    "inc": "({0} + 1)",
    "dec": "({0} - 1)",
    "one": "1",
    "minus_one": "-1",
    "zero": "0",
    "min": "-128",
    "max": "127",
    "1": "1",
    "0": "0",
    "pi": "\\pi",
    "wire": "{0}",
    "abs": "\\left|{0}\\right|",
    "sqrt": "\\sqrt{{{0}}}",
    "sq": "({0})^{{2}}",
    "cube": "({0})^{{3}}",
    "pow": "({0})^{{{1}}}",
    "exp": "e^{{{0}}}",
    "sin": "\\sin({0})",
    "cos": "\\cos({0})",
    "tan": "\\tan({0})",
    "tanh": "\\tanh({0})",
    "and": "({0} \\wedge {1})",
    "or": "({0} \\vee {1})",
    "xor": "({0} \\oplus {1})",
    "not": "\\neg {0}",
    **{f"shr{k}": f"({{0}} \\gg {k})" for k in range(1, 6)},
    **{f"shl{k}": f"({{0}} \\ll {k})" for k in range(1, 6)},
}
LONGEST = 200  # characters of a formula, beyond which a gate gets a name of its own


def to_expression(genome: Genome) -> str:
    """One line per output, `y0 = ...`; gates that several read come before, as `g7 = ...`.

    A gate that looks ahead in a recurrent circuit names the value of the sample before with a prime: `g7'`.
    """
    table = {**_PLAIN, **(_INT8_LOGIC if genome.functions.domain == "int8" else {})}
    lines = _formulas(genome, table, "{}({})", "x{}", "g{}")
    return "\n".join(f"{name} = {_bare(formula)}" for name, formula in lines)


def to_latex(genome: Genome) -> str:
    """The same as an `align*` environment."""
    lines = _formulas(genome, _LATEX, "\\mathrm{{{}}}({})", "x_{{{}}}", "g_{{{}}}")
    rows = [f"  {_latex_name(name)} &= {_bare(formula)}" for name, formula in lines]
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}\n"


def _formulas(genome: Genome, table: dict[str, str], call: str, x: str, g: str) -> list[tuple[str, str]]:
    n_in, gates = genome.grid.n_inputs, genome.gates
    n_readers = dict.fromkeys((n_in + gate.number for gate in gates), 0)
    ahead = set()
    for gate in gates:
        for pin in gate.sources:
            if pin >= n_in:
                n_readers[pin] += 1
                if pin >= n_in + gate.number:
                    ahead.add(pin)
    formulas = {pin: x.format(pin) for pin in range(n_in)}
    lines = []
    for gate in gates:
        pin = n_in + gate.number
        formula = _formula(gate, table, call, formulas, g, n_in)
        name = g.format(gate.number)
        if (n_readers[pin] > 1 and gate.sources) or len(formula) > LONGEST or pin in ahead:
            lines.append((f"g{gate.number}", formula))
            formulas[pin] = name
        else:
            formulas[pin] = formula
    return lines + [(f"y{i}", formulas[pin]) for i, pin in enumerate(genome.output_pins)]


def _formula(gate: Gate, table: dict[str, str], call: str, formulas: dict[int, str], g: str, n_in: int) -> str:
    operands = [g.format(pin - n_in) + "'" if pin >= n_in + gate.number else formulas[pin] for pin in gate.sources]
    if gate.function in table:
        return table[gate.function].format(*operands)
    return call.format(gate.function, ", ".join(operands))


def _latex_name(name: str) -> str:
    return f"{name[0]}_{{{name[1:]}}}"


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

"""Formulas of a circuit, for reading: plain text and LaTeX."""

from __future__ import annotations

from native.circuits.formulas import Notation, formulas
from native.circuits.gate_table import gate_table
from native.circuits.genome import Genome


def to_expression(genome: Genome) -> str:
    """One line per output, `y0 = ...`; gates that several read come before, as `g7 = ...`.

    A gate that looks ahead in a recurrent circuit names the value of the sample before with a prime: `g7'`.
    """
    return str(genome)


def to_latex(genome: Genome) -> str:
    """The same as an `align*` environment."""
    rows = gate_table(genome.functions.domain)
    templates = {row.name: row.latex or row.plain for row in rows if row.latex or row.plain}
    notation = Notation(templates, call="\\mathrm{{{}}}({})", input="x_{{{}}}", gate="g_{{{}}}")
    lines = formulas(genome.gates, genome.output_pins, genome.grid.n_inputs, notation)
    equations = [f"  {name[0]}_{{{name[1:]}}} &= {formula}" for name, formula in lines]
    return "\\begin{align*}\n" + " \\\\\n".join(equations) + "\n\\end{align*}\n"

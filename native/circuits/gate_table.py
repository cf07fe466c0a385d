"""Table of the gate functions: formulas, reference value and costs of each, a row a function in the order of ids.

The other half of the table is in C: `native/src/gates/functions.h` has id, name, number of inputs and value. A new
function is a row at the end of both, and its name in `native/README.md`; a test says so where one is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

# Energy: 8-bit addition and multiplication at 45 nm are Horowitz's; the other gates stand to the addition as in the
# published weight-function search (relative to its .0195). 127 - a inverts seven bits and -128 + a one, so they take
# 7/8 and 1/8 of `not`; a multiplexer bit is two and-gates and one or-gate, a demultiplexer bit one and-gate.
# Area and delay: unit gates after Tyagi: and, or 1; xor 2 and 2; full adder 7 and 4 (2 along the carry); inverter 0.5.
# mul keeps the low byte of an array: 36 and-gates and 28 full adders. Shifts and constants are wiring.
# Published relative energies have no 127 - a and no -128 + a: these count as a subtraction and an addition.
ADD_PJ, MUL_PJ = 0.03, 0.2
_RELATIVE = ADD_PJ / 0.0195


@dataclass(frozen=True)
class GateFunction:
    """A function that gates compute. In formulas {0} and {1} are the operands.

    Args:
        name: As in the C library.
        value: On int64 arrays (the caller wraps values around) or arrays of floating point: what C is checked against.
            None for multiplexers, whose value hangs on the data set.
        c: Formula in C, where {f} is the suffix of float32; "" for multiplexers.
        plain: Formula as plain text; "" writes a call of the function by its name.
        latex: Formula in LaTeX; "" takes the plain one.
        python: Formula in NumPy, where T is the type and `ones` an array of ones; "" takes the one in C.
        verilog: Formula in Verilog; "" takes the one in C.
        cost: Energy in pJ, area and delay in unit gates; of int8 alone, since floating point counts gates.
        published_pj: Energy in the units of the published weight-function search.
        aliases: Other names under which it is asked for.
        inputs_there: How many inputs a node of CGP-Library reads for it, where that differs from here: "all", or the
            "weighted" sum of all.
        is_wire: Whether it costs nothing and is no gate.
        reads_set: Whether its value hangs on the data set.

    Source: Horowitz, ISSCC 2014, doi:10.1109/ISSCC.2014.6757323, figure 1.1.9; Tyagi 1993, doi:10.1109/12.247838.
    """

    name: str
    value: Callable[[np.ndarray, np.ndarray], Any] | None = None
    c: str = ""
    plain: str = ""
    latex: str = ""
    python: str = ""
    verilog: str = ""
    cost: tuple[float, float, float] = (0.0, 0.0, 0.0)
    published_pj: float = 0.0
    aliases: tuple[str, ...] = ()
    inputs_there: Literal["", "all", "weighted"] = ""
    is_wire: bool = False
    reads_set: bool = False


def _shift_right(k: int) -> GateFunction:
    return GateFunction(
        f"shr{k}", lambda a, b: a >> k, f"{{0}} >> {k}", plain=f"({{0}} >> {k})", latex=f"({{0}} \\gg {k})",
        verilog=f"{{0}} >>> {k}",
    )  # fmt: skip


def _shift_left(k: int) -> GateFunction:
    return GateFunction(
        f"shl{k}", lambda a, b: a << k, f"{{0}} * {2**k}", plain=f"({{0}} << {k})", latex=f"({{0}} \\ll {k})",
        verilog=f"{{0}} <<< {k}",
    )  # fmt: skip


# fmt: off
_INT8 = (
    GateFunction("rsub127", lambda a, b: 127 - a, "127 - {0}", plain="(127 - {0})", verilog="8'sd127 - {0}",
                 cost=(4.7e-6 * _RELATIVE * 7 / 8, 3.5, 0.5), published_pj=0.025),
    GateFunction("add", lambda a, b: a + b, "{0} + {1}", plain="({0} + {1})", cost=(ADD_PJ, 56.0, 18.0),
                 published_pj=0.0195),
    GateFunction("sub", lambda a, b: a - b, "{0} - {1}", plain="({0} - {1})", cost=(0.025 * _RELATIVE, 60.0, 18.5),
                 published_pj=0.025),
    GateFunction("mul", lambda a, b: a * b, "{0} * {1}", plain="({0} * {1})", latex="({0} \\cdot {1})",
                 cost=(MUL_PJ, 232.0, 29.0), published_pj=0.1515),
    GateFunction("neg", lambda a, b: -a, "-{0}", plain="(-{0})", cost=(0.0032 * _RELATIVE, 28.0, 9.5),
                 published_pj=0.0032, aliases=("negate",)),
    GateFunction("sub128", lambda a, b: -128 + a, "{0} - 128", plain="({0} - 128)", verilog="{0} ^ 8'sh80",
                 cost=(4.7e-6 * _RELATIVE / 8, 0.5, 0.5), published_pj=0.0195),
    _shift_right(2),
    _shift_right(1),
    GateFunction("and", lambda a, b: a & b, "{0} & {1}", plain="({0} & {1})", latex="({0} \\wedge {1})",
                 cost=(8.9e-5 * _RELATIVE, 8.0, 1.0), published_pj=8.9e-5),
    GateFunction("or", lambda a, b: a | b, "{0} | {1}", plain="({0} | {1})", latex="({0} \\vee {1})",
                 cost=(1.2e-4 * _RELATIVE, 8.0, 1.0), published_pj=1.2e-4),
    GateFunction("xor", lambda a, b: a ^ b, "{0} ^ {1}", plain="({0} ^ {1})", latex="({0} \\oplus {1})",
                 cost=(4.3e-4 * _RELATIVE, 16.0, 2.0), published_pj=4.3e-4),
    GateFunction("not", lambda a, b: ~a, "~{0}", plain="(~{0})", latex="\\neg {0}",
                 cost=(4.7e-6 * _RELATIVE, 4.0, 0.5), published_pj=4.7e-6),
    _shift_left(1),
    GateFunction("inc", lambda a, b: a + 1, "{0} + 1", plain="({0} + 1)", verilog="{0} + 8'sd1",
                 cost=(0.0023 * _RELATIVE, 24.0, 9.0), published_pj=0.0023),
    GateFunction("dec", lambda a, b: a - 1, "{0} - 1", plain="({0} - 1)", verilog="{0} - 8'sd1",
                 cost=(0.0031 * _RELATIVE, 24.0, 9.0), published_pj=0.0031),
    _shift_right(3),
    _shift_right(4),
    _shift_right(5),
    _shift_left(2),
    _shift_left(3),
    _shift_left(4),
    _shift_left(5),
    GateFunction("one", lambda a, b: 1, "1", plain="1", verilog="8'sd1"),
    GateFunction("minus_one", lambda a, b: -1, "-1", plain="-1", verilog="-8'sd1"),
    GateFunction("zero", lambda a, b: 0, "0", plain="0", verilog="8'sd0"),
    GateFunction("min", lambda a, b: -128, "-128", plain="-128", verilog="8'sh80"),
    GateFunction("max", lambda a, b: 127, "127", plain="127", verilog="8'sd127"),
    GateFunction("mux", cost=((2 * 8.9e-5 + 1.2e-4) * _RELATIVE, 24.0, 2.0), reads_set=True),
    GateFunction("demux", cost=(8.9e-5 * _RELATIVE, 8.0, 1.0), reads_set=True),
    GateFunction("wire", lambda a, b: a, "{0}", plain="{0}", aliases=("identity",), is_wire=True),
)
_FLOAT = (
    GateFunction("add", lambda a, b: a + b, "{0} + {1}", plain="({0} + {1})", inputs_there="all"),
    GateFunction("sub", lambda a, b: a - b, "{0} - {1}", plain="({0} - {1})", inputs_there="all"),
    GateFunction("mul", lambda a, b: a * b, "{0} * {1}", plain="({0} * {1})", latex="({0} \\cdot {1})",
                 inputs_there="all"),
    GateFunction("div", lambda a, b: np.where(b == 0, a.dtype.type(1), a / b), "{1} == 0 ? 1 : {0} / {1}",
                 plain="({0} / {1})", latex="\\frac{{{0}}}{{{1}}}", python="np.where({1} == 0, T(1), {0} / {1})",
                 inputs_there="all"),
    GateFunction("abs", lambda a, b: np.abs(a), "fabs{f}({0})", latex="\\left|{0}\\right|", python="np.abs({0})"),
    GateFunction("sqrt", lambda a, b: np.sqrt(np.where(a > 0, a, a.dtype.type(0))), "sqrt{f}({0} > 0 ? {0} : 0)",
                 latex="\\sqrt{{{0}}}", python="np.sqrt(np.where({0} > 0, {0}, T(0)))"),
    GateFunction("sq", lambda a, b: a * a, "{0} * {0}", plain="({0}**2)", latex="({0})^{{2}}", aliases=("square",)),
    GateFunction("cube", lambda a, b: a * a * a, "{0} * {0} * {0}", plain="({0}**3)", latex="({0})^{{3}}"),
    GateFunction("pow", lambda a, b: np.power(a, b), "pow{f}({0}, {1})", plain="({0}**{1})", latex="({0})^{{{1}}}",
                 python="np.power({0}, {1})"),
    GateFunction("exp", lambda a, b: np.exp(a), "exp{f}({0})", latex="e^{{{0}}}", python="np.exp({0})"),
    GateFunction("sin", lambda a, b: np.sin(a), "sin{f}({0})", latex="\\sin({0})", python="np.sin({0})"),
    GateFunction("cos", lambda a, b: np.cos(a), "cos{f}({0})", latex="\\cos({0})", python="np.cos({0})"),
    GateFunction("tan", lambda a, b: np.tan(a), "tan{f}({0})", latex="\\tan({0})", python="np.tan({0})"),
    GateFunction("1", lambda a, b: 1.0, "1", plain="1", python="ones", aliases=("one",)),
    GateFunction("0", lambda a, b: 0.0, "0", plain="0", python="T(0) * ones", aliases=("zero",)),
    GateFunction("pi", lambda a, b: np.pi, "3.14159265358979323846{f}", plain="pi", latex="\\pi",
                 python="T(np.pi) * ones"),
    GateFunction("sig", lambda a, b: 1 / (1 + np.exp(-a)), "1 / (1 + exp{f}(-{0}))",
                 python="T(1) / (T(1) + np.exp(-{0}))", aliases=("sigmoid",), inputs_there="weighted"),
    GateFunction("gauss", lambda a, b: np.exp(a.dtype.type(-0.5) * a * a), "exp{f}(-0.5{f} * {0} * {0})",
                 python="np.exp(T(-0.5) * {0} * {0})", inputs_there="weighted"),
    GateFunction("step", lambda a, b: np.where(a < 0, 0.0, 1.0), "{0} < 0 ? 0 : 1",
                 python="np.where({0} < 0, T(0), T(1))", inputs_there="weighted"),
    GateFunction("softsign", lambda a, b: a / (1 + np.abs(a)), "{0} / (1 + fabs{f}({0}))",
                 python="{0} / (T(1) + np.abs({0}))", inputs_there="weighted"),
    GateFunction("tanh", lambda a, b: np.tanh(a), "tanh{f}({0})", latex="\\tanh({0})", python="np.tanh({0})",
                 inputs_there="weighted"),
    GateFunction("and", lambda a, b: (a != 0) & (b != 0), "{0} != 0 && {1} != 0", latex="({0} \\wedge {1})",
                 python="(({0} != 0) & ({1} != 0)).astype(T)", inputs_there="all"),
    GateFunction("nand", lambda a, b: ~((a != 0) & (b != 0)), "!({0} != 0 && {1} != 0)",
                 python="(~(({0} != 0) & ({1} != 0))).astype(T)", inputs_there="all"),
    GateFunction("or", lambda a, b: (a != 0) | (b != 0), "{0} != 0 || {1} != 0", latex="({0} \\vee {1})",
                 python="(({0} != 0) | ({1} != 0)).astype(T)", inputs_there="all"),
    GateFunction("nor", lambda a, b: ~((a != 0) | (b != 0)), "!({0} != 0 || {1} != 0)",
                 python="(~(({0} != 0) | ({1} != 0))).astype(T)", inputs_there="all"),
    GateFunction("xor", lambda a, b: (a != 0) != (b != 0), "({0} != 0) != ({1} != 0)", latex="({0} \\oplus {1})",
                 python="(({0} != 0) != ({1} != 0)).astype(T)", inputs_there="all"),
    GateFunction("xnor", lambda a, b: (a != 0) == (b != 0), "({0} != 0) == ({1} != 0)",
                 python="(({0} != 0) == ({1} != 0)).astype(T)", inputs_there="all"),
    GateFunction("not", lambda a, b: a == 0, "{0} == 0", latex="\\neg {0}", python="({0} == 0).astype(T)"),
    GateFunction("wire", lambda a, b: a, "{0}", plain="{0}", aliases=("identity",), is_wire=True),
)
# fmt: on


def gate_table(domain: str) -> tuple[GateFunction, ...]:
    """The functions of a domain ("int8", "float32" or "float64"), by id."""
    return _INT8 if domain == "int8" else _FLOAT

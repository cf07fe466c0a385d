"""Text form of genomes, as CGP tools exchange them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from native.circuits.functions import FunctionSet
from native.circuits.genome import Genome
from native.circuits.grid import Grid

_NUMBER = r"-?\d+"
_HEAD = re.compile(rf"\{{\s*({_NUMBER}(?:\s*,\s*{_NUMBER})*)\s*\}}")
_GATE = re.compile(rf"\(\s*\[\s*({_NUMBER})\s*\]\s*({_NUMBER}(?:\s*,\s*{_NUMBER})*)\s*\)")
_OUTPUTS = re.compile(rf"\(\s*({_NUMBER}(?:\s*,\s*{_NUMBER})*)\s*\)")


def to_text(genome: Genome, *, n_data: int = 1) -> str:
    """`{n_in,n_out,cols,rows,arity,l_back,n_data}([pin]a,b,f)...(o1,...)`: every gate, active or not.

    `f` is the id in the domain's function table, not the index in the set; `n_data` the number of data sets.
    """
    grid, size = genome.grid, genome.grid.arity + 1
    head = (grid.n_inputs, grid.n_outputs, grid.cols, grid.rows, grid.arity, grid.reach, n_data)
    parts = [f"{{{','.join(map(str, head))}}}"]
    for gate in range(grid.n_gates):
        *sources, function = (int(gene) for gene in genome.genes[gate * size : (gate + 1) * size])
        numbers = [*sources, genome.functions.ids[function]]
        parts.append(f"([{grid.n_inputs + gate}]{','.join(map(str, numbers))})")
    return "".join(parts) + f"({','.join(map(str, genome.output_pins))})"


def from_text(text: str, functions: FunctionSet | None = None) -> Genome:
    """The genome that `to_text` wrote.

    Args:
        text: One genome; blanks and line breaks between its parts do not matter.
        functions: The set that the genome's function genes shall index; None is all int8 functions.

    Raises:
        ValueError: The text is cut or malformed, its counts disagree, a gene is out of range, a
            function is not in the set.
    """
    functions = FunctionSet.int8(multiplexer=True) if functions is None else functions
    text = text.strip()
    head = _HEAD.match(text)
    if not head:
        raise ValueError(f"a genome's text begins with {{n_in,n_out,cols,rows,arity,l_back,n_data}}, got {text[:40]!r}")
    numbers = [int(n) for n in head[1].split(",")]
    if len(numbers) != 7:
        raise ValueError(f"the head of a genome's text has 7 numbers, got {len(numbers)}: {head[0]}")
    n_in, n_out, cols, rows, arity, reach, _ = numbers
    grid = Grid(n_in, n_out, rows, cols, levels_back=reach, arity=arity)
    genes = np.empty(grid.n_genes, dtype=np.int64)
    at = head.end()
    for gate in range(grid.n_gates):
        match = _GATE.match(text, _skip(text, at))
        if not match:
            raise ValueError(_expected(text, at, f"gate {gate} of {grid.n_gates} as ([{n_in + gate}]a,..,f)"))
        at = match.end()
        numbers = [int(n) for n in match[2].split(",")]
        if int(match[1]) != n_in + gate:
            raise ValueError(f"gates are numbered in order: expected [{n_in + gate}], got [{match[1]}]")
        if len(numbers) != arity + 1:
            raise ValueError(f"gate [{match[1]}] needs {arity} connections and a function, got {match[0]}")
        if numbers[-1] not in functions.ids:
            raise ValueError(f"gate [{match[1]}] has function {numbers[-1]}, which is not in the set")
        genes[gate * (arity + 1) : (gate + 1) * (arity + 1)] = [*numbers[:-1], functions.ids.index(numbers[-1])]
    match = _OUTPUTS.match(text, _skip(text, at))
    if not match:
        raise ValueError(_expected(text, at, f"the {n_out} outputs as (o1,...)"))
    numbers = [int(n) for n in match[1].split(",")]
    if len(numbers) != n_out:
        raise ValueError(f"the head speaks of {n_out} outputs, got {len(numbers)}: {match[0]}")
    if text[match.end() :].strip():
        raise ValueError(f"nothing may follow a genome's outputs, got {text[match.end() :].strip()[:40]!r}")
    genes[grid.n_gates * (arity + 1) :] = numbers
    return Genome(grid, functions, genes)


def read_genome(path: str | Path, functions: FunctionSet | None = None) -> Genome:
    """The genome in a text file; see `from_text`."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"genome {path} cannot be read: {error}") from error
    try:
        return from_text(text, functions)
    except ValueError as error:
        raise ValueError(f"genome {path}: {error}") from error


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _expected(text: str, at: int, what: str) -> str:
    rest = text[at : at + 40]
    return f"expected {what}, got {rest!r}" if rest.strip() else f"the text ends where {what} should stand"

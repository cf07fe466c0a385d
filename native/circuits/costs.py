"""What a gate costs: energy, area and delay of each function."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from native.circuits.functions import function_names

ADD_PJ, MUL_PJ = 0.03, 0.2

# Energy: 8-bit addition and multiplication at 45 nm are Horowitz's; the other gates stand to the addition as in the
# published weight-function search (relative to its .0195). 127 - a inverts seven bits and -128 + a one, so they take
# 7/8 and 1/8 of `not`; a multiplexer bit is two and-gates and one or-gate, a demultiplexer bit one and-gate.
# Area and delay: unit gates after Tyagi: and, or 1; xor 2 and 2; full adder 7 and 4 (2 along the carry); inverter 0.5.
# mul keeps the low byte of an array: 36 and-gates and 28 full adders. Shifts and constants are wiring.
_RELATIVE = ADD_PJ / 0.0195
_INT8 = {
    "add": (ADD_PJ, 56.0, 18.0),
    "sub": (0.025 * _RELATIVE, 60.0, 18.5),
    "mul": (MUL_PJ, 232.0, 29.0),
    "neg": (0.0032 * _RELATIVE, 28.0, 9.5),
    "inc": (0.0023 * _RELATIVE, 24.0, 9.0),
    "dec": (0.0031 * _RELATIVE, 24.0, 9.0),
    "xor": (4.3e-4 * _RELATIVE, 16.0, 2.0),
    "or": (1.2e-4 * _RELATIVE, 8.0, 1.0),
    "and": (8.9e-5 * _RELATIVE, 8.0, 1.0),
    "not": (4.7e-6 * _RELATIVE, 4.0, 0.5),
    "rsub127": (4.7e-6 * _RELATIVE * 7 / 8, 3.5, 0.5),
    "sub128": (4.7e-6 * _RELATIVE / 8, 0.5, 0.5),
    "mux": ((2 * 8.9e-5 + 1.2e-4) * _RELATIVE, 24.0, 2.0),
    "demux": (8.9e-5 * _RELATIVE, 8.0, 1.0),
}
# Published relative energies; 127 - a and -128 + a are not among them and count as a subtraction and an addition
_PUBLISHED_PJ = {
    "mul": 0.1515,
    "sub": 0.025,
    "add": 0.0195,
    "neg": 0.0032,
    "dec": 0.0031,
    "inc": 0.0023,
    "xor": 4.3e-4,
    "or": 1.2e-4,
    "and": 8.9e-5,
    "not": 4.7e-6,
    "rsub127": 0.025,
    "sub128": 0.0195,
}


@dataclass(frozen=True)
class CostTable:
    """One row per function of a domain, by id.

    Args:
        domain: "int8", "float32" or "float64".
        energy_pj: (n_functions,) picojoules per evaluation.
        area: (n_functions,) in unit gates, or whatever the table's user counts in.
        delay: (n_functions,) in unit-gate delays, likewise.

    Source: Horowitz, ISSCC 2014, doi:10.1109/ISSCC.2014.6757323, figure 1.1.9; Tyagi 1993, doi:10.1109/12.247838.
    """

    domain: str
    energy_pj: np.ndarray
    area: np.ndarray
    delay: np.ndarray

    def __post_init__(self) -> None:
        names = function_names(self.domain)
        for column in ("energy_pj", "area", "delay"):
            values = np.array(getattr(self, column), dtype=np.float64)
            if values.shape != (len(names),):
                raise ValueError(
                    f"a cost table of {self.domain} needs one {column} for each of its {len(names)} functions, "
                    f"got shape {values.shape}"
                )
            for name, value in zip(names, values, strict=True):
                if not (math.isfinite(value) and value >= 0):
                    raise ValueError(f"{column} of {name} must be finite and not negative, got {value:g}")
            values.flags.writeable = False
            object.__setattr__(self, column, values)

    @classmethod
    def default(cls, domain: str = "int8") -> CostTable:
        """For int8 gates at 45 nm; for floating point every function but a wire costs 1."""
        return cls._of(domain, _INT8) if domain == "int8" else cls.unit(domain)

    @classmethod
    def unit(cls, domain: str = "int8") -> CostTable:
        """Every function costs 1 in energy, area and delay, a wire nothing: energy is the number of gates."""
        ones = np.array([float(name != "wire") for name in function_names(domain)])
        return cls(domain, ones, ones, ones)

    @classmethod
    def published(cls) -> CostTable:
        """The relative energies of the published weight-function search, with the default area and delay."""
        default = cls.default()
        energy = [_PUBLISHED_PJ.get(name, 0.0) for name in function_names("int8")]
        return cls("int8", np.array(energy), default.area, default.delay)

    @classmethod
    def _of(cls, domain: str, rows: dict[str, tuple[float, float, float]]) -> CostTable:
        table = np.array([rows.get(name, (0.0, 0.0, 0.0)) for name in function_names(domain)])
        return cls(domain, table[:, 0], table[:, 1], table[:, 2])

    @classmethod
    def read(cls, path: str | Path, domain: str = "int8") -> CostTable:
        """A CSV file: header `name,energy_pj,area,delay`, then a line per function, in id order.

        Raises:
            ValueError: A row or column is missing, out of order, not a number, negative; the line says which.
        """
        names = function_names(domain)
        path = Path(path)
        try:
            lines = list(csv.reader(path.read_text().splitlines()))
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"cost table {path} cannot be read: {error}") from error
        rows = [(i, [cell.strip() for cell in line]) for i, line in enumerate(lines, 1) if line and line[0][:1] != "#"]
        if not rows or rows[0][1] != ["name", "energy_pj", "area", "delay"]:
            raise ValueError(f"cost table {path} must begin with the line name,energy_pj,area,delay")
        table = np.zeros((len(names), 3))
        for k, name in enumerate(names):
            if k + 1 >= len(rows):
                raise ValueError(
                    f"cost table {path} has {len(rows) - 1} rows, {domain} needs {len(names)}: no {name!r}"
                )
            number, cells = rows[k + 1]
            if len(cells) != 4 or cells[0] != name:
                raise ValueError(f"cost table {path}, line {number}: expected {name},energy,area,delay; got {cells}")
            try:
                table[k] = [float(cell) for cell in cells[1:]]
            except ValueError as error:
                raise ValueError(f"cost table {path}, line {number}: {error}") from error
        if len(rows) > len(names) + 1:
            raise ValueError(f"cost table {path} has {len(rows) - 1} rows, {domain} needs {len(names)}")
        try:
            return cls(domain, table[:, 0], table[:, 1], table[:, 2])
        except ValueError as error:
            raise ValueError(f"cost table {path}: {error}") from error

    def write(self, path: str | Path) -> None:
        """Writes what `read` reads."""
        rows = zip(function_names(self.domain), self.energy_pj, self.area, self.delay, strict=True)
        lines = ["name,energy_pj,area,delay", *(f"{n},{float(e)!r},{float(a)!r},{float(d)!r}" for n, e, a, d in rows)]
        Path(path).write_text("\n".join(lines) + "\n")

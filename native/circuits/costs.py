"""Cost tables: energy, area and delay of each gate function."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from native.circuits.functions import function_names
from native.circuits.gate_table import gate_table

COLUMNS = ("name", "energy_pj", "area", "delay")


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
        if domain != "int8":
            return cls.unit(domain)
        energy, area, delay = np.array([row.cost for row in gate_table(domain)]).T
        return cls(domain, energy, area, delay)

    @classmethod
    def unit(cls, domain: str = "int8") -> CostTable:
        """Every function costs 1 in energy, area and delay, a wire nothing: energy is the number of gates."""
        ones = np.array([float(not row.is_wire) for row in gate_table(domain)])
        return cls(domain, ones, ones, ones)

    @classmethod
    def published(cls) -> CostTable:
        """The relative energies of the published weight-function search, with the default area and delay."""
        default = cls.default()
        energy = [row.published_pj for row in gate_table("int8")]
        return cls("int8", np.array(energy), default.area, default.delay)

    @classmethod
    def read(cls, path: str | Path, domain: str = "int8") -> CostTable:
        """A CSV file: header `name,energy_pj,area,delay`, then a line per function, in id order.

        Raises:
            ValueError: A row or column is missing, out of order, not a number, negative; the line says which.
        """
        path = Path(path)
        try:
            lines = list(csv.reader(path.read_text().splitlines()))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"cost table {path} cannot be read: {error}") from error
        rows = [(i, [cell.strip() for cell in line]) for i, line in enumerate(lines, 1) if line and line[0][:1] != "#"]
        if not rows or rows[0][1] != list(COLUMNS):
            raise ValueError(f"cost table {path} must begin with the line {','.join(COLUMNS)}")
        names, body = function_names(domain), rows[1:]
        costs = [_costs(path, number, cells, name) for name, (number, cells) in zip(names, body, strict=False)]
        if len(body) != len(names):
            missing = f": no {names[len(body)]!r}" if len(body) < len(names) else ""
            raise ValueError(f"cost table {path} has {len(body)} rows, {domain} needs {len(names)}{missing}")
        try:
            return cls(domain, *np.array(costs).T)
        except ValueError as error:
            raise ValueError(f"cost table {path}: {error}") from error

    def write(self, path: str | Path) -> None:
        """Writes what `read` reads."""
        rows = zip(function_names(self.domain), self.energy_pj, self.area, self.delay, strict=True)
        lines = [",".join(COLUMNS), *(f"{n},{float(e)!r},{float(a)!r},{float(d)!r}" for n, e, a, d in rows)]
        Path(path).write_text("\n".join(lines) + "\n")


def _costs(path: Path, number: int, cells: list[str], name: str) -> list[float]:
    """Energy, area and delay in one line of a table, which must be those of the function `name`."""
    if len(cells) != len(COLUMNS) or cells[0] != name:
        raise ValueError(f"cost table {path}, line {number}: expected {name},energy,area,delay; got {cells}")
    try:
        return [float(cell) for cell in cells[1:]]
    except ValueError as error:
        raise ValueError(f"cost table {path}, line {number}: {error}") from error

"""Function sets: which functions the gates of a grid may compute."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from native._cgp import ffi, lib
from native.circuits.gate_table import gate_table

DOMAINS = {"int8": lib.CGP_INT8, "float32": lib.CGP_FLOAT32, "float64": lib.CGP_FLOAT64}


def function_names(domain: str) -> tuple[str, ...]:
    """Names of all functions of a domain ("int8", "float32" or "float64"), by id."""
    code = domain_code(domain)
    return tuple(ffi.string(lib.cgp_function_name(code, i)).decode() for i in range(lib.cgp_n_functions(code)))


def domain_code(domain: str) -> int:
    """The C library's number of a domain."""
    if domain not in DOMAINS:
        raise ValueError(f"domain must be one of {', '.join(DOMAINS)}; got {domain!r}")
    return DOMAINS[domain]


@dataclass(frozen=True)
class FunctionSet:
    """Functions that the function genes index, in order.

    int8 functions wrap around in two's complement; floating-point ones bear the names of CGP-Library. The table in
    `native/README.md` defines each. Made by `int8`, `float` or `named`.

    Args:
        domain: "int8", "float32" or "float64".
        ids: Ids of the domain's function table, without repeats.
    """

    domain: str
    ids: tuple[int, ...]

    def __post_init__(self) -> None:
        n_known = lib.cgp_n_functions(domain_code(self.domain))
        if not self.ids:
            raise ValueError("a function set needs at least one function, got none")
        for i in self.ids:
            if not 0 <= i < n_known:
                raise ValueError(f"function ids of {self.domain} run from 0 to {n_known - 1}, got {i}")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError(f"a function set must not name a function twice, got {', '.join(self.names)}")

    @classmethod
    def int8(cls, *, multiplexer: bool = False) -> FunctionSet:
        """All int8 functions; those that tell data sets apart (mux, demux) only when asked for."""
        rows = enumerate(gate_table("int8"))
        return cls("int8", tuple(i for i, row in rows if multiplexer or not row.reads_set))

    @classmethod
    def float(cls, *names: str, dtype: str = "float32") -> FunctionSet:
        """Floating-point functions by name; without names add, sub, mul and div."""
        return cls.named(*(names or ("add", "sub", "mul", "div")), domain=dtype)

    @classmethod
    def named(cls, *names: str, domain: str = "int8") -> FunctionSet:
        """Functions by name, in the order given; a comma-separated string will do."""
        all_names = function_names(domain)
        id_of = {alias: i for i, row in enumerate(gate_table(domain)) for alias in row.aliases}
        id_of |= {name: i for i, name in enumerate(all_names)}
        ids = []
        for name in (part.strip() for given in names for part in given.split(",")):
            if name not in id_of:
                close = difflib.get_close_matches(name, all_names, n=1, cutoff=0.6)
                hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(all_names)}"
                raise ValueError(f"no {domain} function is called {name!r}{hint}")
            ids.append(id_of[name])
        return cls(domain, tuple(ids))

    def without(self, *names: str) -> FunctionSet:
        """The same set, some functions left out."""
        left_out = FunctionSet.named(*names, domain=self.domain)
        return FunctionSet(self.domain, tuple(i for i in self.ids if i not in left_out.ids))

    @property
    def names(self) -> tuple[str, ...]:
        """Names, by function gene."""
        all_names = function_names(self.domain)
        return tuple(all_names[i] for i in self.ids)

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return np.dtype(self.domain)

    def n_read(self, arity: int) -> np.ndarray:
        """(n_functions,) int: how many of a gate's connections each function reads."""
        reads = [lib.cgp_function_arity(DOMAINS[self.domain], i) for i in self.ids]
        return np.array([arity if n < 0 else n for n in reads], dtype=np.int32)

    def check_arity(self, arity: int) -> None:
        """Raises ValueError for functions that need more connections than a gate has."""
        needs = {
            name: 2 if lib.cgp_function_arity(DOMAINS[self.domain], i) < 0 else int(n)
            for name, i, n in zip(self.names, self.ids, self.n_read(arity), strict=True)
        }
        greedy = [name for name, n in needs.items() if n > arity]
        if greedy:
            raise ValueError(
                f"the grid's arity is {arity}, but {_list(greedy)} of the function set need {needs[greedy[0]]} inputs; "
                "leave them out or raise the arity"
            )

    def __len__(self) -> int:
        return len(self.ids)


def function_value(domain: str, name: str, a: float, b: float = 0.0, data_set: int = 0) -> float:
    """Value of a function on one pair, as the C library computes it."""
    code = FunctionSet.named(name, domain=domain).ids[0]
    return float(lib.cgp_function_value(DOMAINS[domain], code, a, b, data_set))


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)

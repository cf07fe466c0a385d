"""Grid of gates that genomes of Cartesian genetic programming describe."""

from __future__ import annotations

from dataclasses import dataclass

MAX_GENES = 1_000_000_000


@dataclass(frozen=True)
class Grid:
    """A grid of `rows` x `cols` gates, numbered column by column, between inputs and outputs.

    Genes of a genome: per gate `in_0 .. in_{arity-1}, function`, then one per output. Pins: inputs first, then gates.
    The inputs count as column 0, the outputs as column `cols + 1`; a gate in column c reads columns
    max(0, c - levels_back) .. c - 1. One row is the usual linear form.

    Args:
        n_inputs: Values that come in.
        n_outputs: Values that go out.
        rows: Gates in a column.
        cols: Columns.
        levels_back: How many columns a connection can look back; None is `cols + 1`, which reaches everything.
        arity: Connection genes per gate.
        recurrent: Probability that a redrawn connection looks at its own gate or ahead. Such a connection brings the
            value that its source had on the sample before, 0 on the first. 0 forbids it.

    Source: Miller (ed.), Cartesian Genetic Programming, Springer 2011, chapter 2; recurrent connections: Turner and
    Miller 2014, doi:10.1007/978-3-319-10762-2_47.
    """

    n_inputs: int
    n_outputs: int
    rows: int
    cols: int
    levels_back: int | None = None
    arity: int = 2
    recurrent: float = 0.0

    def __post_init__(self) -> None:
        for name in ("n_inputs", "n_outputs", "rows", "cols", "levels_back", "arity"):
            value = getattr(self, name)
            if value is None and name == "levels_back":
                continue
            if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
                raise ValueError(f"a grid's {name} must be a whole number of at least 1, got {value!r}")
            object.__setattr__(self, name, int(value))
        if not 0.0 <= self.recurrent <= 1.0:
            raise ValueError(f"a grid's recurrent must be a probability in 0..1, got {self.recurrent!r}")
        if self.arity > 64:
            raise ValueError(f"a grid's arity must be at most 64, got {self.arity}")
        if self.n_genes + self.n_pins > MAX_GENES:
            raise ValueError(f"a grid of {self.rows} x {self.cols} has {self.n_genes} genes; at most 1e9 are possible")

    @property
    def n_gates(self) -> int:
        """Gates, active or not."""
        return self.rows * self.cols

    @property
    def n_pins(self) -> int:
        """Inputs and gates: what a connection can name."""
        return self.n_inputs + self.n_gates

    @property
    def n_genes(self) -> int:
        """Length of a genome."""
        return self.n_gates * (self.arity + 1) + self.n_outputs

    @property
    def reach(self) -> int:
        """`levels_back` as a number."""
        return self.cols + 1 if self.levels_back is None else self.levels_back

    def __str__(self) -> str:
        return f"{self.n_inputs} -> {self.n_outputs} on {self.rows} x {self.cols}"

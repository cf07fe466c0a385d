"""Graph drawing: a circuit in Graphviz's DOT language, and as a picture by matplotlib."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from native.circuits.genome import Genome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GATE, INPUT, OUTPUT = "#dbe8f6", "#e6e6e6", "#fbe3c8"


def to_dot(genome: Genome) -> str:
    """The active circuit in Graphviz's DOT language, inputs left, outputs right."""
    n_in = genome.grid.n_inputs
    lines = ["digraph circuit {", "  rankdir=LR;", "  node [shape=box, style=filled, fontname=Helvetica];"]
    lines += [f'  x{pin} [shape=circle, fillcolor="{INPUT}"];' for pin in _inputs_read(genome)]
    lines += [f'  g{gate.number} [label="{gate.function}", fillcolor="{GATE}"];' for gate in genome.gates]
    for gate in genome.gates:
        for k, pin in enumerate(gate.sources):
            label = f' [label="{k}", fontsize=9]' if len(gate.sources) > 1 else ""
            style = " [style=dashed]" if gate.is_ahead(pin, n_in) else label
            lines.append(f"  {_node(genome, pin)} -> g{gate.number}{style};")
    for i, pin in enumerate(genome.output_pins):
        lines.append(f'  y{i} [shape=circle, fillcolor="{OUTPUT}"];')
        lines.append(f"  {_node(genome, pin)} -> y{i};")
    return "\n".join([*lines, "}", ""])


def draw(genome: Genome, path: str | Path | None = None, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """The active circuit as a graph: inputs left, each gate to the right of what it reads, outputs at the right edge.

    Args:
        genome: What to draw.
        path: Where to save it (PNG, PDF, SVG by its ending), or None.
        ax: Axes to draw into; None makes a figure of fitting size.
        title: Above the picture; None writes what is known of the circuit.

    Returns:
        The axes.
    """
    from matplotlib.figure import Figure

    places = _places(genome)
    heights = Counter(column for column, _ in places.values())
    if ax is None:
        width, height = 1.5 * len(heights) + 0.5, max(2.4, 0.42 * max(heights.values()) + 0.8)
        ax = Figure(figsize=(width, height), layout="constrained").add_subplot()
    spots = {name: (float(column), -(row + 0.5) / heights[column]) for name, (column, row) in places.items()}
    _draw_edges(genome, spots, ax)
    labels = {f"g{gate.number}": gate.function for gate in genome.gates}
    for name, (x, y) in spots.items():
        colour = {"x": INPUT, "g": GATE, "y": OUTPUT}[name[0]]
        box = {"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": "#555555", "lw": 0.6}
        ax.text(x, y, labels.get(name, name), ha="center", va="center", fontsize=8, bbox=box, parse_math=False)
    ax.set_xlim(-0.6, max(heights) + 0.6)
    ax.set_ylim(-1.02, 0.02)
    ax.axis("off")
    ax.set_title(_title(genome) if title is None else title, fontsize=9, parse_math=False)
    if path is not None:
        figure = ax.get_figure(root=True)
        assert figure is not None
        figure.savefig(path, dpi=150)
    return ax


def _draw_edges(genome: Genome, spots: dict[str, tuple[float, float]], ax: Axes) -> None:
    """An arrow a connection, from right of its source to left of its reader; dashed where it looks ahead."""
    n_in = genome.grid.n_inputs
    edges = [(_node(genome, pin), f"g{g.number}", g.is_ahead(pin, n_in)) for g in genome.gates for pin in g.sources]
    edges += [(_node(genome, pin), f"y{i}", False) for i, pin in enumerate(genome.output_pins)]
    n_drawn: Counter[tuple[str, str]] = Counter()
    for source, target, is_ahead in edges:
        (x0, y0), (x1, y1) = spots[source], spots[target]
        # bent past the columns between, and apart from a second connection to the same source
        bend = (0.0 if x1 - x0 == 1 else 0.18 if y0 <= y1 else -0.18) + 0.25 * n_drawn[source, target]
        n_drawn[source, target] += 1
        ax.annotate(
            "",
            (x1 - 0.2, y1),
            (x0 + 0.2, y0),
            arrowprops={
                "arrowstyle": "-|>",
                "connectionstyle": f"arc3,rad={bend}",
                "color": "#777777",
                "lw": 0.7,
                "ls": "--" if is_ahead else "-",
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )


def _node(genome: Genome, pin: int) -> str:
    n_in = genome.grid.n_inputs
    return f"x{pin}" if pin < n_in else f"g{pin - n_in}"


def _inputs_read(genome: Genome) -> list[int]:
    """Inputs that a gate or an output reads, ascending."""
    pins = {pin for gate in genome.gates for pin in gate.sources} | set(genome.output_pins)
    return sorted(pin for pin in pins if pin < genome.grid.n_inputs)


def _levels(genome: Genome) -> dict[int, int]:
    """Column of every active gate by its number: one right of the rightmost that it reads, the inputs' being 0."""
    n_in = genome.grid.n_inputs
    levels: dict[int, int] = {}
    for gate in genome.gates:
        before = (pin - n_in for pin in gate.sources if pin >= n_in and not gate.is_ahead(pin, n_in))
        levels[gate.number] = 1 + max((levels[number] for number in before), default=0)
    return levels


def _places(genome: Genome) -> dict[str, tuple[int, int]]:
    """Column and row of every node; within a column by the mean height of what it reads, which keeps edges short."""
    inputs, levels = _inputs_read(genome), _levels(genome)
    places = {f"x{pin}": (0, row) for row, pin in enumerate(inputs)}
    height = {f"x{pin}": (row + 0.5) / len(inputs) for row, pin in enumerate(inputs)}
    members: dict[int, list[tuple[float, str]]] = {}
    for gate in sorted(genome.gates, key=lambda gate: levels[gate.number]):
        name = f"g{gate.number}"
        # what it reads ahead of has no height yet
        before = [height[node] for node in (_node(genome, pin) for pin in gate.sources) if node in height]
        height[name] = sum(before) / len(before) if before else 0.5
        members.setdefault(levels[gate.number], []).append((height[name], name))
    last = max(levels.values(), default=0) + 1
    members[last] = [(height[_node(genome, pin)], f"y{i}") for i, pin in enumerate(genome.output_pins)]
    for column, nodes in members.items():
        places |= {name: (column, row) for row, (_, name) in enumerate(sorted(nodes))}
    return places


def _title(genome: Genome) -> str:
    words = [f"{genome.n_active} active of {genome.grid.n_gates} gates"]
    if "error" in genome.score:
        words.append(f"error {genome.score['error']:.4g}")
    if "energy_pj" in genome.score:
        words.append(f"energy {genome.score['energy_pj']:.3g} pJ" if genome.functions.domain == "int8" else "")
    return ", ".join(word for word in words if word)

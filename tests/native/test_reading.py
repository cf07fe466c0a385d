"""Circuits for the eye: formulas, LaTeX, DOT, pictures; getters; averages over runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from native.cgp import (
    DataSet,
    FunctionSet,
    Genome,
    Grid,
    draw,
    evolve,
    random_genomes,
    repeat,
    to_dot,
    to_expression,
    to_latex,
)

README = Path(__file__).parents[2] / "native" / "README.md"


def genome():
    """y0 = (x0 + x1) * (x0 + x1), y1 = the shared sum, y2 = x1; gate 2 is not active."""
    functions = FunctionSet.named("add", "mul", "shr1", "wire")
    return Genome(Grid(2, 3, 1, 3), functions, np.array([0, 1, 0, 2, 2, 1, 0, 0, 2, 3, 2, 1]))


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    space: dict = {}
    exec(re.search(r"```python\n(.*?)```", README.read_text(), re.S)[1], space)
    assert space["best"].score["error"] == 0
    assert (tmp_path / "circuit.png").exists()
    assert "endmodule" in capsys.readouterr().out


def test_expression_and_latex():
    assert to_expression(genome()) == "g0 = x0 + x1\ny0 = g0 * g0\ny1 = g0\ny2 = x1"
    assert str(genome()) == to_expression(genome())
    assert "g_{0} &= x_{0} + x_{1} \\\\\n  y_{0} &= g_{0} \\cdot g_{0}" in to_latex(genome())
    recurrent = Genome(Grid(1, 1, 1, 1, recurrent=0.5), FunctionSet.named("add"), np.array([0, 1, 0, 1]))
    assert to_expression(recurrent) == "g0 = x0 + g0'\ny0 = g0"


@pytest.mark.parametrize("seed", range(20))
def test_expression_computes_the_same(seed):
    functions = FunctionSet.float("add", "sub", "mul", "sq", "cube", "1", "pi", "wire", dtype="float64")
    grid = Grid(2, 2, 3, 4)
    circuit = Genome(grid, functions, random_genomes(grid, functions, 1, np.random.default_rng(seed))[0])
    values = {"x0": 0.5, "x1": -0.75, "pi": np.pi}
    exec(to_expression(circuit), {}, values)
    np.testing.assert_allclose([values["y0"], values["y1"]], circuit(np.array([[0.5, -0.75]]))[0], rtol=1e-12)


def test_getters():
    circuit = genome()
    assert circuit.n_active == 2
    assert circuit.n_active_connections == 4
    assert circuit.is_active.tolist() == [True, True, False]
    assert [(gate.number, gate.function, gate.sources) for gate in circuit.gates] == [
        (0, "add", (0, 1)),
        (1, "mul", (2, 2)),
    ]
    assert circuit.output_pins == (3, 2, 1)
    assert circuit(np.array([[3, 4]])).tolist() == [[49, 7, 4]]
    assert circuit == genome()
    assert hash(circuit) == hash(genome())
    with pytest.raises(ValueError, match="read-only"):
        circuit.genes[0] = 1


def test_dot_holds_every_active_gate_and_edge():
    text = to_dot(genome())
    assert set(re.findall(r"^  (\w+) -> (\w+)", text, re.M)) == {
        ("x0", "g0"),
        ("x1", "g0"),
        ("g0", "g1"),
        ("g1", "y0"),
        ("g0", "y1"),
        ("x1", "y2"),
    }
    assert "g2" not in text
    assert text.count("{") == text.count("}")


def test_picture_shows_every_node_apart(tmp_path):
    functions = FunctionSet.int8()
    grid = Grid(9, 16, 5, 5)
    circuit = Genome(grid, functions, random_genomes(grid, functions, 1, np.random.default_rng(3))[0])
    ax = draw(circuit, tmp_path / "circuit.png")
    assert (tmp_path / "circuit.png").stat().st_size > 5000
    spots = [tuple(np.round(text.get_position(), 6)) for text in ax.texts if text.get_text()]
    assert len(set(spots)) == len(spots)
    assert sum(text.get_text().startswith("y") for text in ax.texts) == 16


def test_repeated_runs_have_averages():
    rng = np.random.default_rng(0)
    data = DataSet(rng.integers(-128, 128, (1, 4)), rng.integers(-128, 128, (1, 3)))

    def search(seed):
        return evolve(Grid(4, 3, 5, 5), FunctionSet.int8(), data, seed=seed, n_gen=400, targets={"error": 2})

    runs, again = (repeat(search, n_runs=5, seed=1, n_threads=n) for n in (1, 3))
    assert runs.genomes == again.genomes
    assert len(runs) == 5
    table = runs.table()
    assert table["error"]["mean"] == pytest.approx(runs.errors.mean())
    assert table["n_gen"]["median"] == np.median([g.counts.n_gen for g in runs.genomes])
    assert table["n_active"]["max"] == max(g.n_active for g in runs.genomes)
    assert runs.best.score["error"] == runs.errors.min()
    assert str(runs).count("\n") == 4
    with pytest.raises(ValueError, match="n_runs"):
        repeat(search, n_runs=0, seed=1)

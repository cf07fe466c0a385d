"""Emitted C, Python and Verilog, compiled and run, compute what the circuit computes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from native.cgp import FunctionSet, Genome, Grid, function_names, random_genomes, to_c, to_python, to_verilog

FLOAT = FunctionSet.float(*function_names("float64"), dtype="float64")
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def genomes(functions, n=6, seed=0):
    grid = Grid(3, 4, 4, 5)
    rng = np.random.default_rng(seed)
    return [Genome(grid, functions, genes) for genes in random_genomes(grid, functions, n, rng)]


def all_int8():
    """Every int8 function in one circuit, each an output of its own."""
    functions = FunctionSet.int8(multiplexer=True)
    grid = Grid(2, len(functions), len(functions), 1)
    genes = [gene for f in range(len(functions)) for gene in (0, 1, f)] + list(range(2, 2 + len(functions)))
    return Genome(grid, functions, np.array(genes))


def inputs_of(functions, n_in, n=200):
    rng = np.random.default_rng(9)
    if functions.domain == "int8":
        return rng.integers(-128, 128, (n, n_in)).astype(np.int8)
    return rng.normal(size=(n, n_in)).astype(functions.dtype)


def close(functions):
    return {
        "rtol": 1e-4 if functions.domain == "float32" else 1e-12,
        "atol": 1e-5 if functions.domain == "float32" else 1e-12,
    }


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@pytest.mark.parametrize("dtype", ["int8", "float32", "float64"])
def test_c_source_computes_the_same(tmp_path, dtype):
    functions = FunctionSet.named(*(n for n in function_names(dtype) if n not in ("mux", "demux")), domain=dtype)
    circuits = genomes(functions)
    source = "".join(to_c(genome, name=f"circuit{i}") for i, genome in enumerate(circuits))
    (tmp_path / "circuit.c").write_text(source)
    flags = ["-std=c99", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-unused-variable", "-shared", "-fPIC"]
    subprocess.run(
        [COMPILER, *flags, "-O1", "-o", tmp_path / "circuit.so", tmp_path / "circuit.c", "-lm"],
        check=True,
        cwd=tmp_path,
    )
    library = ctypes.CDLL(str(tmp_path / "circuit.so"))
    for i, genome in enumerate(circuits):
        x = inputs_of(functions, 3)
        expected, found = genome(x), np.empty((len(x), 4), dtype=functions.dtype)
        for row, out in zip(x, found, strict=True):
            getattr(library, f"circuit{i}")(row.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p))
        np.testing.assert_allclose(found, expected, **close(functions))


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_c_and_python_multiplexers_take_the_data_set(tmp_path):
    genome = all_int8()
    x = inputs_of(genome.functions, 2, 50)
    first, second = np.split(genome([x, x]), 2)
    (tmp_path / "c.c").write_text(to_c(genome))
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", tmp_path / "c.so", tmp_path / "c.c"], check=True)
    function = ctypes.CDLL(str(tmp_path / "c.so")).circuit
    space: dict = {}
    exec(to_python(genome), space)
    for data_set, expected in ((0, first), (1, second)):
        out = np.empty(expected.shape[1], dtype=np.int8)
        for row, values in zip(x, expected, strict=True):
            function(row.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), data_set)
            np.testing.assert_array_equal(out, values)
            assert space["circuit"]([int(v) for v in row], data_set) == values.tolist()


@pytest.mark.parametrize("dtype", ["int8", "float32", "float64"])
def test_python_source_computes_the_same(dtype):
    functions = FunctionSet.named(*(n for n in function_names(dtype) if n not in ("mux", "demux")), domain=dtype)
    for genome in genomes(functions, 12, 1):
        space: dict = {}
        exec(to_python(genome, name="run"), space)
        x = inputs_of(functions, 3)
        if dtype == "int8":
            found = np.array([space["run"]([int(v) for v in row]) for row in x])
        else:
            with np.errstate(all="ignore"):
                found = space["run"](x)
            assert found.dtype == functions.dtype
        np.testing.assert_allclose(found, genome(x), **close(functions))


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
@pytest.mark.parametrize("genome", [all_int8(), *genomes(FunctionSet.int8(), 3, 2)], ids=lambda g: str(g.grid))
def test_verilog_source_computes_the_same(tmp_path, genome):
    n_in, n_out = genome.grid.n_inputs, genome.grid.n_outputs
    is_switched = "mux" in genome.functions.names
    x = inputs_of(genome.functions, n_in, 100)
    x[:4] = [[-128] * n_in, [127] * n_in, [0] * n_in, [-1] * n_in]
    expected = genome([x, x] if is_switched else x)
    wires = ", ".join([*(f".x{i}(x{i})" for i in range(n_in)), *(f".y{i}(y{i})" for i in range(n_out))])
    lines = ["module bench;", *(f"  reg signed [7:0] x{i};" for i in range(n_in)), "  reg [7:0] data_set;"]
    lines += [f"  wire signed [7:0] y{i};" for i in range(n_out)]
    lines += [f"  circuit c({'.data_set(data_set), ' if is_switched else ''}{wires});", "  initial begin"]
    shown = " ".join(["%0d"] * n_out), ", ".join(f"y{i}" for i in range(n_out))
    for data_set in range(2 if is_switched else 1):
        for row in x:
            settings = " ".join(f"x{i} = {int(v)};" for i, v in enumerate(row))
            lines.append(f'    data_set = {data_set}; {settings} #1 $display("{shown[0]}", {shown[1]});')
    (tmp_path / "circuit.v").write_text(to_verilog(genome) + "\n".join([*lines, "  end", "endmodule", ""]))
    subprocess.run(["iverilog", "-Wall", "-o", tmp_path / "run", tmp_path / "circuit.v"], check=True)
    output = subprocess.run(["vvp", "-n", tmp_path / "run"], check=True, capture_output=True, text=True).stdout
    np.testing.assert_array_equal(np.array([line.split() for line in output.splitlines()], dtype=int), expected)


def test_source_of_what_cannot_be_written_is_refused():
    recurrent = Genome(Grid(1, 1, 1, 1, recurrent=0.5), FunctionSet.named("add"), np.array([0, 1, 0, 1]))
    for emit in (to_c, to_python, to_verilog):
        with pytest.raises(ValueError, match="recurrent connections; gate 0"):
            emit(recurrent)
    with pytest.raises(ValueError, match="int8 circuits, got float64"):
        to_verilog(genomes(FLOAT, 1)[0])

"""Genomes, data sets, chromosomes and cost tables as files; what is wrong in them is said in one line."""

from __future__ import annotations

import numpy as np
import pytest

from native.cgp import (
    CostTable,
    DataSet,
    FunctionSet,
    Genome,
    Grid,
    from_text,
    function_names,
    random_genomes,
    read_chromo,
    read_data,
    read_genome,
    to_text,
    write_chromo,
    write_data,
)

GRID = Grid(2, 2, 2, 3, levels_back=2)
INT8 = FunctionSet.int8(multiplexer=True)
TEXT = "{2,1,2,1,2,3,1}([2]0,1,1)([3]2,2,3)(3)"


def test_text_round_trips():
    for genes in random_genomes(GRID, INT8, 50, np.random.default_rng(0)):
        genome = Genome(GRID, INT8, genes)
        assert from_text(to_text(genome)) == genome
    few = FunctionSet.named("mul", "add")
    genome = Genome(Grid(2, 1, 1, 2, levels_back=3), few, np.array([0, 1, 1, 2, 2, 0, 3]))
    assert to_text(genome) == TEXT
    assert from_text(TEXT, few) == genome
    assert from_text(TEXT.replace(")", " )\n").replace(",", ", "), few) == genome


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with"),
        ("{2,1,2}" + TEXT[15:], "7 numbers, got 3"),
        (TEXT[:25], "gate 1 of 2|ends"),
        (TEXT[:-3], "ends where the 1 outputs"),
        (TEXT.replace("([3]2,2,3)", ""), "expected gate 1 of 2"),
        (TEXT.replace("[3]", "[4]"), r"expected \[3\], got \[4\]"),
        (TEXT.replace("2,2,3)", "2,3)"), "needs 2 connections"),
        (TEXT.replace("0,1,1)", "0,9,1)"), "gene 1 of genome 0 is 9, outside 0..1"),
        (TEXT.replace("2,2,3)", "2,2,99)"), "function 99, which is not in the set"),
        (TEXT.replace("(3)", "(3,3)"), "1 outputs, got 2"),
        (TEXT.replace("(3)", "(7)"), "outside 0..3"),
        (TEXT.replace("{2,1,2,1", "{2,1,0,1"), "cols must be"),
        (TEXT + "x", "nothing may follow"),
    ],
)
def test_wrong_text_is_named(text, message):
    with pytest.raises(ValueError, match=message) as raised:
        from_text(text)
    assert "\n" not in str(raised.value)


def test_genome_file(tmp_path):
    path = tmp_path / "genome.txt"
    path.write_text(TEXT + "\n")
    assert to_text(read_genome(path)) == TEXT
    with pytest.raises(ValueError, match="cannot be read"):
        read_genome(tmp_path / "none.txt")
    path.write_text(TEXT[:-2])
    with pytest.raises(ValueError, match=r"genome\.txt: expected"):
        read_genome(path)


def test_data_round_trips_with_long_lines(tmp_path):
    rng = np.random.default_rng(0)
    for data in (
        DataSet(rng.integers(-128, 128, (3, 5000)), rng.integers(-128, 128, (3, 2))),
        DataSet(rng.normal(size=(20, 3)), rng.normal(size=(20, 1))),
    ):
        write_data(tmp_path / "x.data", data)
        back = read_data(tmp_path / "x.data")
        np.testing.assert_array_equal(back.inputs, data.inputs)
        np.testing.assert_array_equal(back.outputs, data.outputs)
        assert back.inputs.dtype.kind == data.inputs.dtype.kind


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("1,1\n", "must begin with"),
        ("1,x,1\n", "must begin with"),
        ("0,1,1\n1,\n", "at least one"),
        ("1,1,2,\n1,2,\n", "speaks of 2 samples and holds 1"),
        ("2,1,1,\n1,2,\n", "line 2: expected 3 columns, got 2"),
        ("1,1,1,\n1,two,\n", "line 2: could not convert"),
        ("1,1,1,\n1,nan,\n", "finite"),
    ],
)
def test_wrong_data_files_are_named(tmp_path, text, message):
    (tmp_path / "x.data").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_data(tmp_path / "x.data")


def test_chromo_round_trips(tmp_path):
    path = tmp_path / "x.chromo"
    functions = FunctionSet.float(*function_names("float64"), dtype="float64")
    for grid in (Grid(2, 3, 1, 20), Grid(2, 1, 1, 20, recurrent=0.3)):
        genome = Genome(grid, functions, random_genomes(grid, functions, 1, np.random.default_rng(1))[0])
        write_chromo(path, genome)
        back = read_chromo(path)
        np.testing.assert_array_equal(back.genes, genome.genes)
        assert back.functions == functions
        x = np.random.default_rng(2).normal(size=(30, 2))
        np.testing.assert_array_equal(back(x), genome(x))


def test_chromo_as_cgp_library_writes_it(tmp_path):
    path = tmp_path / "x.chromo"
    path.write_text(
        "numInputs,1\nnumNodes,2\nnumOutputs,1\narity,2\nfunctionSet,add,mul,sig\n"
        "0\n0,0.318205\n0,-0.941300\n1\n1,0.500000\n0,0.250000\n2,"
    )
    genome = read_chromo(path)
    np.testing.assert_array_equal(genome(np.array([[3.0]])), [[18.0]])  # (x + x) * x; add and mul have no weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("numNodes,2", "numNodes,3"), "10 lines, got 7"),
        (("numInputs,1", "inputs,1"), "line 1: expected numInputs"),
        (("functionSet,add,mul,sig", "functionSet,add,mull"), "did you mean 'mul'"),
        (("functionSet,add,mul,sig", "functionSet,add,rand"), "no float64 function is called 'rand'"),
        (("functionSet,add,mul,sig", "nodes"), "line 5"),
        (("\n0\n0,0.3", "\n9\n0,0.3"), "line 6: function 9"),
        (("\n0\n0,0.3", "\n2\n0,0.3"), "connection weights are not known"),
        (("0,0.318205", "0"), "line 7: expected INPUT,WEIGHT"),
        (("0,0.318205", "8,0.318205"), "outside"),
        (("\n2,", "\n2,2,"), "expected 1 whole numbers"),
        (("\n2,", "\n7,"), "outside 0..2"),
    ],
)
def test_wrong_chromosomes_are_named(tmp_path, change, message):
    path = tmp_path / "x.chromo"
    text = (
        "numInputs,1\nnumNodes,2\nnumOutputs,1\narity,2\nfunctionSet,add,mul,sig\n"
        "0\n0,0.318205\n0,-0.941300\n1\n1,0.500000\n0,0.250000\n2,"
    )
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(ValueError, match=message):
        read_chromo(path)


@pytest.mark.parametrize("arity", ["0", "²"])
def test_chromosome_of_nodes_without_inputs_is_named(tmp_path, arity):
    path = tmp_path / "x.chromo"
    path.write_text(f"numInputs,1\nnumNodes,1\nnumOutputs,1\narity,{arity}\nfunctionSet,sig\n0\n0,")
    with pytest.raises(ValueError, match=r"chromosome .*x\.chromo.* arity"):
        read_chromo(path)


def test_chromosomes_that_mean_something_else_are_refused(tmp_path):
    genome = Genome(GRID, INT8, random_genomes(GRID, INT8, 1, np.random.default_rng(0))[0])
    with pytest.raises(ValueError, match="one row of floating-point"):
        write_chromo(tmp_path / "x.chromo", genome)
    functions, grid = FunctionSet.float("add", dtype="float64"), Grid(1, 1, 1, 2, arity=3)
    with pytest.raises(ValueError, match="read all 3 inputs"):
        write_chromo(tmp_path / "x.chromo", Genome(grid, functions, np.zeros(grid.n_genes, dtype=int)))


def test_cost_table_round_trips(tmp_path):
    path = tmp_path / "costs.csv"
    for table in (CostTable.default(), CostTable.published(), CostTable.unit("float32")):
        table.write(path)
        back = CostTable.read(path, table.domain)
        for column in ("energy_pj", "area", "delay"):
            np.testing.assert_array_equal(getattr(back, column), getattr(table, column))
    text = path.read_text()
    path.write_text("# ours\n" + text.replace("add,1.0,", "add,7.5,"))
    assert CostTable.read(path, "float32").energy_pj[0] == 7.5


def test_default_costs_are_the_sources():
    names, table = function_names("int8"), CostTable.default()
    energy = dict(zip(names, table.energy_pj, strict=True))
    assert (energy["add"], energy["mul"]) == (0.03, 0.2)
    assert energy["sub"] / energy["add"] == pytest.approx(0.025 / 0.0195)
    for free in ("wire", "shl3", "shr1", "one", "zero", "max"):
        assert energy[free] == 0
    assert CostTable.published().energy_pj[names.index("mul")] == 0.1515


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("mul,", "mull,"), "line 5: expected mul,"),
        (lambda t: "\n".join(t.splitlines()[:-1]), "29 rows, int8 needs 30: no 'wire'"),
        (lambda t: t.replace("add,0.03", "add,-0.03"), "energy_pj of add must be finite and not negative, got -0.03"),
        (lambda t: t.replace("add,0.03", "add,nan"), "energy_pj of add"),
        (lambda t: t.replace("add,0.03", "add,cheap"), "line 3: could not convert"),
        (lambda t: t.replace("add,0.03,", "add,"), "line 3: expected add,energy,area,delay"),
        (lambda t: t.replace("name,", "function,"), "must begin with"),
        (lambda t: t + "extra,0,0,0\n", "31 rows"),
        (lambda t: "", "must begin with"),
        (lambda t: t + "x" * 200_000, "cannot be read: field larger"),
    ],
)
def test_wrong_cost_tables_are_named(tmp_path, change, message):
    path = tmp_path / "costs.csv"
    CostTable.default().write(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message) as raised:
        CostTable.read(path)
    assert "costs.csv" in str(raised.value)

"""A gate stands in one row of a table in C and one in Python, and nowhere else but in the README."""

from __future__ import annotations

import ast
import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from native.cgp import FunctionSet, function_names
from native.circuits.gate_table import gate_table

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
C_TABLE, PYTHON_TABLE = NATIVE / "src/gates/functions.h", NATIVE / "circuits/gate_table.py"
DOMAINS = ["int8", "float32", "float64"]
NAMES = {row.name for domain in DOMAINS for row in gate_table(domain)}
# what other modules may name: functions whose value hangs on the data set, a default set, least and greatest, nought
ELSEWHERE = {
    "native/circuits/functions.py": {"add", "sub", "mul", "div"},
    "native/circuits/reference.py": {"mux", "demux"},
    "native/formats/source.py": {"mux", "demux", "0"},
    "native/search/runs.py": {"min", "max"},
}


@pytest.mark.parametrize("domain", DOMAINS)
def test_both_tables_have_the_same_functions_by_id(domain):
    names = tuple(row.name for row in gate_table(domain))
    assert names == function_names(domain), f"a function needs a row in both {C_TABLE} and {PYTHON_TABLE}, in one order"


@pytest.mark.parametrize("domain", DOMAINS)
def test_row_says_what_the_readers_of_the_table_need(domain):
    for row in gate_table(domain):
        assert row.reads_set == (row.value is None) == (row.c == ""), row.name
        assert row.cost == (0.0, 0.0, 0.0) or domain == "int8", row.name
        assert not set(row.aliases) & set(function_names(domain)), row.name
    assert [row.name for row in gate_table(domain) if row.is_wire] == ["wire"]


def test_readme_lists_every_function():
    text = (NATIVE / "README.md").read_text()
    for i, name in enumerate(function_names("int8")):
        assert re.search(rf"\| {i} \| `{name}` \|", text), f"{name} is missing in the table of native/README.md"
    assert f"`{' '.join(function_names('float64'))}`" in re.sub(r"\s+", " ", text)


def test_no_other_module_names_a_gate():
    files = [
        *NATIVE.rglob("*.py"),
        *(ROOT / "problems/circuits").glob("*.py"),
        *(ROOT / "operators/circuits").glob("*.py"),
    ]
    for path in [*files, ROOT / "problems/cgp.py", ROOT / "problems/cgp_layers.py"]:
        if path == PYTHON_TABLE:
            continue
        constants = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        strings = {value for value in constants if isinstance(value, str)}
        assert strings & NAMES <= ELSEWHERE.get(path.relative_to(ROOT).as_posix(), set()), path


def test_no_other_c_source_names_a_gate():
    plain_words = {"add", "and", "or", "not", "min", "max", "one", "zero", "step", "wire", "0", "1"}
    of_libm = {"abs", "sqrt", "pow", "exp", "sin", "cos", "tan", "tanh"}
    rows = re.compile(rf"\b({'|'.join(sorted(NAMES - plain_words - of_libm))})\b")
    for path in [*NATIVE.glob("src/*/*.[ch]")]:
        code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        assert path == C_TABLE or not rows.search(code), f"{path}: {rows.search(code)}"


@pytest.mark.skipif(shutil.which("make") is None or shutil.which("cc") is None, reason="no C compiler")
def test_new_gate_is_one_row_in_c(tmp_path):
    """A copy of the library with a row more in each domain: its own tests pass and cover the new functions."""
    for folder in ("include", "src", "tests"):
        shutil.copytree(NATIVE / folder, tmp_path / folder)
    shutil.copy(NATIVE / "Makefile", tmp_path)
    table = tmp_path / C_TABLE.relative_to(NATIVE)
    n_int8, n_float = len(function_names("int8")), len(function_names("float64"))
    rows = {
        f"{n_int8 - 1},": f'X({n_int8}, nor, "nor", 2, ~(a | b), -1, -1, 1, 0, -1, 0)',
        f"{n_float - 1},": f'X({n_float}, neg, "neg", 1, -a, NULL)',
    }
    text = table.read_text()
    for last, row in rows.items():
        text = re.sub(rf"(    X\({last} .*)\n\n", rf"\1 \\\n    {row}\n\n", text, count=1)
    table.write_text(text)
    programs = ["build/test_values", "build/test_search", "build/libcgp.so"]
    subprocess.run(["make", "-s", "OPTIMISE=-O0", *programs], check=True, cwd=tmp_path, capture_output=True)
    for program in programs[:2]:
        subprocess.run([tmp_path / program], check=True, capture_output=True)
    library = ctypes.CDLL(str(tmp_path / programs[2]))
    library.cgp_function_value.restype = ctypes.c_double
    library.cgp_function_value.argtypes = [
        ctypes.c_int,
        ctypes.c_int32,
        ctypes.c_double,
        ctypes.c_double,
        ctypes.c_int32,
    ]
    assert library.cgp_n_functions(0) == n_int8 + 1
    assert library.cgp_function_value(0, n_int8, 12.0, 3.0, 0) == ~(12 | 3)
    assert library.cgp_function_value(1, n_float, 2.5, 0.0, 0) == -2.5


def test_aliases_are_names_too():
    assert FunctionSet.named("negate", "identity").names == ("neg", "wire")
    assert FunctionSet.float("sigmoid", "one", "zero").names == ("sig", "1", "0")

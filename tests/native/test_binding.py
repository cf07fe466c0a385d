"""The binding: what the compiled module exports, which Python it serves, and that nothing is printed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from native import _build, _cgp
from native._cgp import ffi, lib

MODULE = Path(_cgp.__file__)
ROOT = Path(_build.__file__).parent


def test_module_serves_the_limited_api():
    assert MODULE.name.endswith(".abi3.so")


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm")
def test_module_exports_its_initialiser_alone():
    text = subprocess.run(["nm", "-D", "--defined-only", MODULE], check=True, capture_output=True, text=True).stdout
    assert [line.split()[-1] for line in text.splitlines()] == ["PyInit__cgp"]


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm")
def test_library_neither_prints_nor_exits_nor_draws_from_the_c_library():
    text = subprocess.run(["nm", "-D", "--undefined-only", MODULE], check=True, capture_output=True, text=True).stdout
    used = {line.split()[-1].split("@")[0] for line in text.splitlines()}
    assert not used & {
        "exit",
        "abort",
        "_exit",
        "rand",
        "srand",
        "random",
        "drand48",
        "fopen",
        "puts",
        "putchar",
        "stdout",
    }
    # the binding's own start-up code reports a wrong version of cffi to stderr; the library's sources print nothing
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.c"))
    assert "printf" not in sources
    assert "stdio" not in sources


def test_every_declared_function_is_bound():
    names = {
        line.split("(")[0].split()[-1].lstrip("*")
        for line in _build.declarations().splitlines()
        if "cgp_" in line and "(" in line
    }
    functions = {name for name in names if name.startswith("cgp_") and not name.endswith("_H")}
    assert len(functions) > 20
    for name in functions:
        assert callable(getattr(lib, name)), name


def test_every_status_has_a_line():
    lines = {ffi.string(lib.cgp_status_text(status)).decode() for status in range(10)}
    assert len(lines) == 10
    assert not any("\n" in line for line in lines)


def test_native_knows_nothing_of_the_rest():
    """Only NumPy, cffi and matplotlib, and the latter when something is drawn."""
    code = (
        "import sys; before = set(sys.modules); import native.cgp; "
        "print(*{m.split('.')[0] for m in set(sys.modules) - before})"
    )
    text = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT.parent
    ).stdout
    assert not set(text.split()) & {"opt", "problems", "operators", "torch", "pymoo", "matplotlib", "scipy", "pandas"}

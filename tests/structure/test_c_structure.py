"""The C library in order: no circle among its files and headers, and each folder uses only those below it."""

from __future__ import annotations

import re

import pytest
from code_graph import ROOT, circles

NATIVE = ROOT / "native"
SRC = NATIVE / "src"
# what a folder of C sources may include and call
C_BELOW = {
    "gates": set(),
    "problem": {"gates"},
    "evaluation": {"gates", "problem"},
    "circuit": {"gates", "problem"},
    "search": {"problem", "evaluation", "circuit"},
}


def c_text(path):
    """A C source without comments and text in quotes."""
    return re.sub(r'/\*.*?\*/|"[^"\n]*"', "", path.read_text(), flags=re.DOTALL)


def c_functions(path):
    """Name -> names that it calls, of every function defined in a C file."""
    bodies = re.findall(r"^\w[^;{}#]*?\b(\w+)\([^;{}]*?\) \{\n(.*?)^\}", c_text(path), flags=re.DOTALL | re.MULTILINE)
    return {name: set(re.findall(r"\b(\w+)\(", body)) for name, body in bodies}


def c_calls():
    """C file -> C files that define what it calls, also through inline functions of headers."""
    sources = {path: c_functions(path) for path in SRC.rglob("*.c")}
    inline = {name: calls for path in SRC.rglob("*.h") for name, calls in c_functions(path).items()}
    declared = c_headers()
    # what no header declares is a file's own
    home = {name: path for path, functions in sources.items() for name in functions if name in declared}
    graph = {}
    for path, functions in sources.items():
        waiting, called = set().union(*functions.values()), set()
        while waiting:
            name = waiting.pop()
            called.add(name)
            waiting |= inline.get(name, set()) - called
        files = {home[name] for name in called if name in home} - {path}
        graph[path.relative_to(SRC).as_posix()] = {file.relative_to(SRC).as_posix() for file in files}
    return graph


def c_headers():
    """Every name that some header declares."""
    headers = [*SRC.rglob("*.h"), *(NATIVE / "include").glob("*.h")]
    return set(re.findall(r"\b(\w+)\(", "".join(c_text(path) for path in headers)))


def c_includes():
    """C file or header -> headers of the library that it includes."""
    return {
        path.relative_to(SRC).as_posix(): set(re.findall(r'#include "(\w+/\w+\.h)"', path.read_text()))
        for path in SRC.rglob("*.[ch]")
    }


def test_no_circle_among_c_files():
    calls = c_calls()
    # that the calls are read at all
    assert "circuit/memory.c" in calls["circuit/hidden.c"], "through the inline function `put`"
    assert {"circuit/hidden.c", "circuit/ripple.c"} <= calls["circuit/circuit.c"]
    assert circles(calls) == []


def test_no_circle_among_c_headers():
    includes = c_includes()
    assert "problem/problem.h" in includes["circuit/circuit.h"]
    assert circles(includes) == []


@pytest.mark.parametrize("folder", C_BELOW)
def test_folder_of_c_sources_uses_only_what_lies_below(folder):
    used = set()
    for graph in (c_calls(), c_includes()):
        own = [others for file, others in graph.items() if file.startswith(f"{folder}/")]
        used |= {other.split("/")[0] for others in own for other in others}
    assert used - {folder} <= C_BELOW[folder]


def test_every_folder_of_c_sources_has_its_place():
    assert {path.parent.relative_to(SRC).as_posix() for path in SRC.rglob("*.[ch]")} == set(C_BELOW)

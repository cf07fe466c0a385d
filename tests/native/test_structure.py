"""Who calls whom in the library: no circle among Python modules, among C files, or among folders."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"
SRC = NATIVE / "src"

# what a folder may import; `native` stands for the compiled module native._cgp
BELOW = {
    "native/circuits": {"native"},
    "native/search": {"native", "native/circuits"},
    "native/formats": {"native/circuits"},
    "native/cgp": {"native/circuits", "native/search", "native/formats"},
}


# what a folder of C sources may include and call
C_BELOW = {
    "gates": set(),
    "problem": {"gates"},
    "evaluation": {"gates", "problem"},
    "circuit": {"gates", "problem"},
    "search": {"problem", "evaluation", "circuit"},
}
LARGEST_FOLDER = 17


def circles(graph):
    """Strongly connected components of more than one node, by Tarjan's algorithm; `graph` maps a node to others."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def python_imports():
    """Module -> modules of native that it imports, at the top, lazily, or for type checking."""
    files = {path: path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in NATIVE.rglob("*.py")}
    names = {name.removesuffix(".__init__") for name in files.values()}
    graph = {}
    for path, name in files.items():
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0 and node.module, path
                imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        graph[name.removesuffix(".__init__")] = {other for other in imported if other in names} - {name}
    return graph


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


def test_no_circle_among_python_modules():
    assert circles(python_imports()) == []


@pytest.mark.parametrize("folder", BELOW)
def test_folder_imports_only_what_lies_below(folder):
    package = folder.replace("/", ".")
    imported = set()
    for name, others in python_imports().items():
        if name == package or name.startswith(package + "."):
            imported |= {other for other in others if other != package and not other.startswith(package + ".")}
    folders = {"/".join(other.split(".")[:2]) for other in imported}
    assert folders <= BELOW[folder]


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


def test_no_folder_is_too_large():
    for folder in (NATIVE, *(path for path in NATIVE.rglob("*") if path.is_dir())):
        files = [path for path in folder.iterdir() if path.suffix in (".py", ".c", ".h")]
        assert len(files) <= LARGEST_FOLDER, folder


def test_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]

"""Who calls whom in the library: no circle among the Python modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"

# what a folder may import; `native` stands for the compiled module native._cgp
BELOW = {
    "native/circuits": {"native"},
    "native/search": {"native", "native/circuits"},
    "native/formats": {"native/circuits"},
    "native/cgp": {"native/circuits", "native/search", "native/formats"},
}


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


def test_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]

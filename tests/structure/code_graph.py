"""Who imports whom in the project's own code, circles in a graph, and how long and how branched its functions are."""

from __future__ import annotations

import ast
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
PACKAGES = ("native", "operators", "opt", "problems")

Graph = Mapping[str, set[str]]


def tracked(*suffixes: str) -> list[str]:
    """Files of the project by their paths in it: what git tracks, or, where there is no git, what lies there."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        names = [name for name in answer.stdout.splitlines() if (ROOT / name).is_file()]
    except (OSError, subprocess.CalledProcessError):
        names = [file.relative_to(ROOT).as_posix() for file in ROOT.rglob("*") if file.is_file()]
    return sorted(name for name in names if name.endswith(suffixes or ("",)))


def own_modules() -> dict[str, str]:
    """The project's modules by dotted name, each with its file."""
    files = [name for name in tracked(".py") if name.split("/")[0] in PACKAGES]
    return {file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for file in files}


def imports(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Which of the modules each imports, at its head, within functions, or for type checking only."""
    graph = {}
    for module, file in modules.items():
        named: set[str] = set()
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                named |= {f"{node.module}.{alias.name}" for alias in node.names}
        graph[module] = {own for name in named if (own := _module_of(name, modules))} - {module}
    return graph


def _module_of(name: str, modules: Mapping[str, str]) -> str:
    if name.startswith("native._cgp"):  # compiled: no source of ours
        return ""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def folders(graph: Graph, modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Which folder imports from which other."""
    result: dict[str, set[str]] = defaultdict(set)
    for module, imported in graph.items():
        folder = str(PurePosixPath(modules[module]).parent)
        result[folder] |= {str(PurePosixPath(modules[other]).parent) for other in imported} - {folder}
    return dict(result)


def circles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that reach each other (strongly connected components of two or more).

    Source: Tarjan 1972, doi:10.1137/0201010.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                groups.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return groups


def functions(file: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of a file with its name, methods too."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, from its `def` to its end."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def complexity(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Cyclomatic complexity: one, and one for each branch, loop, handler, condition within and `and` or `or`.

    Functions within it count as a part of it. Source: McCabe 1976, doi:10.1109/TSE.1976.233837.
    """
    count = 1
    for node in _inside(function.body):
        if isinstance(node, (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)):
            count += 1
        elif isinstance(node, ast.comprehension):
            count += 1 + len(node.ifs)
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
    return count


def _inside(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for statement in body:
        yield from ast.walk(statement)

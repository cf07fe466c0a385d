"""The source files behind a problem: its own, and what it imports from its own package or folder."""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

PROGRAM = ("opt", "operators", "native")
"""Packages of this program, which a run knows by version and commit."""


def source_files(file: Path, modules: Iterable[str] = ()) -> dict[str, Path]:
    """The file, and what is reached from it by imports, wherever in the code they stand.

    A file inside a package brings the modules of that package; one in a plain folder what lies in the folder. What
    is installed elsewhere counts by its version. Files that cannot be parsed are taken without their imports.

    Args:
        file: The problem's file.
        modules: More modules by name, such as those of functions that parameters name.

    Returns:
        Path by name relative to the folder that the imports start from.
    """
    first = file.resolve()
    root, top = _root(first)
    waiting = [first]
    named = {_name(first, root): first}
    for module in modules:
        if path := _file_of(module):
            waiting.append(path)
            named[_name(path, root)] = path
    while waiting:
        path = waiting.pop()
        own_root, own_top = (root, top) if path.is_relative_to(root) else _root(path)
        for found in _imported(path, own_root, own_top):
            name = _name(found, root)
            if name not in named:
                named[name] = found
                waiting.append(found)
    return dict(sorted(named.items()))


def _root(file: Path) -> tuple[Path, str | None]:
    """(folder that absolute imports of the file start from, its top-level package or None)."""
    folder, top = file.parent, None
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        top, folder = folder.name, folder.parent
    return folder, top


def _name(path: Path, root: Path) -> str:
    """A file relative to the root, or to its own behind that folder's name."""
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    own, _ = _root(path)
    return f"{own.name}:{path.relative_to(own).as_posix()}"


def _file_of(module: str) -> Path | None:
    """The file of a module by name, without importing it where that can be avoided."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded is None:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError, AttributeError):
            return None
        loaded = None if spec is None else spec.origin
    path = None if loaded is None else Path(loaded)
    return path.resolve() if path is not None and path.suffix == ".py" and path.is_file() else None


def _imported(file: Path, root: Path, top: str | None) -> Iterator[Path]:
    try:
        about = file.stat()
    except OSError:
        return
    for node in _imports(file, about.st_mtime_ns, about.st_size):
        names: list[str] = []
        base = root
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                base = file.parents[node.level - 1] if node.level <= len(file.parents) else root
            names = [module, *(f"{module}.{alias.name}".lstrip(".") for alias in node.names)]
        for name in filter(None, names):
            if _is_absolute(node) and (name.split(".")[0] in PROGRAM or (top and name.split(".")[0] != top)):
                continue
            yield from _files(base, name)


@functools.lru_cache(maxsize=4096)
def _imports(file: Path, changed: int, size: int) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The import statements of a file; its time and size, so that one that has changed is read again."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)))


def _is_absolute(node: ast.AST) -> bool:
    """Whether an import statement starts from the root."""
    return not (isinstance(node, ast.ImportFrom) and node.level)


def _files(base: Path, name: str) -> Iterator[Path]:
    """The files of a dotted module name below a folder: the packages on the way, and the module."""
    parts = name.split(".")
    for k in range(1, len(parts) + 1):
        path = base.joinpath(*parts[:k])
        for candidate in (path / "__init__.py", path.with_suffix(".py") if path.name else path):
            try:
                if candidate.is_file():
                    yield candidate.resolve()
            except (OSError, ValueError):
                continue

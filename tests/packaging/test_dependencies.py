"""The declared dependencies are what the code imports."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("native", "operators", "opt", "problems")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_OTHERS = {"cma"}  # pymoo's CMA-ES imports it


def normal(requirement: str) -> str:
    """The name of a distribution, without version and extras, as the index spells it."""
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def imported() -> dict[str, set[str]]:
    """The packages of others that are imported anywhere in ours, with the files that do."""
    modules: dict[str, set[str]] = {}
    for file in (path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_bytes())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            for name in names:
                modules.setdefault(name.split(".")[0], set()).add(str(file.relative_to(ROOT)))
    return {name: files for name, files in modules.items() if name not in {*sys.stdlib_module_names, *PACKAGES}}


def test_dependencies_are_what_is_imported():
    belongs = importlib.metadata.packages_distributions()
    used = {normal(belongs[name][0]) for name in imported()}
    needed = {normal(text) for text in PROJECT["dependencies"]}
    extra = {"dask-jobqueue", "distributed", "pillow"}  # of the extras `dask` and `pictures`
    assert (used - needed, needed - used) == (extra, OF_OTHERS)
    assert "dask[distributed]" in " ".join(PROJECT["optional-dependencies"]["dask"])

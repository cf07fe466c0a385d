"""Where `import module` would find a module, found out without importing anything."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


def module_specs(module: str, folder: Path | None = None) -> list[ModuleSpec]:
    """Where `import module` would find the module and the packages around it, outermost first; empty if nowhere.

    `importlib.util.find_spec` would import the packages around it, so only the outermost is its to find.
    """
    parts = module.split(".")
    try:
        spec = importlib.util.find_spec(parts[0])
    except (ImportError, ValueError):  # a main program, or a name such as ""
        loaded = getattr(sys.modules.get(parts[0]), "__file__", None)
        spec = importlib.util.spec_from_file_location(parts[0], loaded) if loaded else None
    if spec is None and folder is not None:  # loading the problem file puts its folder on the path
        spec = PathFinder.find_spec(parts[0], [str(folder.resolve())])
    specs = []
    for n in range(2, len(parts) + 2):
        if spec is None:
            return []
        specs.append(spec)
        if n <= len(parts):
            locations = spec.submodule_search_locations
            # by its own name alone: with its package's the package must be imported already
            spec = None if locations is None else PathFinder.find_spec(parts[n - 1], list(locations))
    return specs

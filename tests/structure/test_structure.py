"""The house in order: who may import whom, no circles, and how much stands in one place."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

import pytest
from code_graph import ROOT, circles, complexity, folders, functions, imports, length, own_modules, tracked

MODULES = own_modules()
GRAPH = imports(MODULES)
MOST_FILES = 17
LONGEST_FILE = 399
LONGEST_FUNCTION = 60
MOST_BRANCHED, N_BRANCHED = 15, 10
TASKS = ("similarity", "thresholds", "masking", "lowrank", "circuits")
SHARED = {"problems/data", "problems/workloads", "problems/networks"}


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_modules_import_in_no_circle():
    assert circles(GRAPH) == []


def test_folders_import_in_no_circle():
    assert circles(folders(GRAPH, MODULES)) == []


def _imported(prefix: str) -> set[str]:
    """The first parts of what modules under a dotted prefix import."""
    own = [module for module in GRAPH if module == prefix or module.startswith(f"{prefix}.")]
    return {other.split(".")[0] for module in own for other in GRAPH[module]} - {prefix.split(".")[0]}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [("native", set()), ("operators", set()), ("opt", set()), ("problems", {"opt", "operators", "native"})],
)
def test_packages_import_only_what_they_may(package, allowed):
    assert _imported(package) <= allowed


@pytest.mark.parametrize("task", TASKS)
def test_a_task_folder_imports_no_other_task(task):
    for folder, imported in folders(GRAPH, MODULES).items():
        if folder == f"problems/{task}" or folder.startswith(f"problems/{task}/"):
            others = [other for other in imported if other.startswith(tuple(f"problems/{name}" for name in TASKS))]
            assert [other for other in others if not other.startswith(f"problems/{task}")] == [], folder
            assert "problems" not in imported, f"{folder} imports a task's file"


def test_shared_folders_import_no_task():
    for folder, imported in folders(GRAPH, MODULES).items():
        if any(folder == name or folder.startswith(f"{name}/") for name in SHARED):
            own = [other for other in imported if other.startswith("problems")]
            assert [o for o in own if not any(o == n or o.startswith(f"{n}/") for n in SHARED)] == [], folder


@pytest.mark.parametrize("heavy", ["torch", "problems", "native", "operators"])
def test_opt_knows_no_networks(heavy):
    for module, file in MODULES.items():
        if module.split(".")[0] == "opt":
            lines = (ROOT / file).read_text().splitlines()
            assert [line for line in lines if line.strip().startswith((f"import {heavy}", f"from {heavy}"))] == [], file


def test_folders_hold_few_files():
    kept = [name for name in tracked() if name.split("/")[0] != "runs"]
    data = (".png", ".csv", ".npz", ".safetensors", ".jsonl")
    counts = Counter(str(PurePosixPath(name).parent) for name in kept if not name.endswith(data))
    assert {folder: n for folder, n in counts.items() if n > MOST_FILES} == {}


def test_files_are_short():
    lengths = {file: len((ROOT / file).read_text().splitlines()) for file in MODULES.values()}
    assert {file: n for file, n in lengths.items() if n > LONGEST_FILE} == {}


def _functions_over(measure, most: int) -> dict[str, int]:
    """Every function of which a measure is larger, with what it is."""
    measured = ((f"{file} {name}", measure(f)) for file in MODULES.values() for name, f in functions(file))
    return dict(sorted(((name, n) for name, n in measured if n > most), key=lambda row: row[1]))


def test_functions_are_short():
    assert _functions_over(length, LONGEST_FUNCTION) == {}


def test_few_functions_are_branched():
    branched = _functions_over(complexity, MOST_BRANCHED)
    assert len(branched) <= N_BRANCHED, branched

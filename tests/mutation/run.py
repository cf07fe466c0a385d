"""How many small changes of the code the tests notice: mutmut over the modules that pyproject.toml names.

    python tests/mutation/run.py                    every module
    python tests/mutation/run.py archive journal    those whose path ends so

A module is mutated and tested by itself, in a folder of its own under mutants/, against the test files that
`[tool.mutation.modules]` gives it. A mutant that a former run killed there is not tried again, unless its function has
changed; remove mutants/ to begin anew. Survivors are written with their differences into
mutants/<module>/survivors.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / "mutants"
LEFT_OUT = {"mutants", "runs", "pyproject.toml"}
NOT_KILLED = ("survived", "no tests", "suspicious", "not checked")
_FAILED = (1, 3)
"""What pytest ends with when a test fails."""


def main() -> int:
    """Run the modules that are asked for; 1 where one is killed less than the settings want."""
    # a shell's background job ignores Ctrl-C, and so would the tests of how it is heeded
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutation"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="ends of paths, as archive or lowrank/ladder; by default all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants tested side by side")
    given = parser.parse_args()
    modules = [m for m in settings["modules"] if _is_asked_for(m, given.modules)]
    if not modules:
        parser.error(f"modules must be ends of {', '.join(settings['modules'])}, got {' '.join(given.modules)}")
    shares = [_run(module, settings, n_jobs=given.jobs) for module in modules]
    return int(min(shares) < settings["least_killed"])


def _is_asked_for(module: str, ends: list[str]) -> bool:
    stem = "/" + module.removesuffix(".py")
    return not ends or any(stem.endswith("/" + end.removesuffix(".py")) for end in ends)


def _run(module: str, settings: dict, *, n_jobs: int) -> float:
    """Mutate one module, print its line; returns the share of mutants killed."""
    folder = WORK / module.removesuffix(".py").replace("/", ".")
    _prepare(folder, module, settings)
    _forget_survivors(folder / "mutants", module)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    mutmut = [str(Path(sys.executable).parent / "mutmut")]
    with open(folder / "log.txt", "w") as log:
        code = subprocess.run(
            [*mutmut, "run", "--max-children", str(n_jobs)], cwd=folder, env=env, stdout=log, stderr=log
        ).returncode
    if code:
        raise SystemExit(f"{module}: mutmut ended with {code}; see {folder / 'log.txt'}")
    subprocess.run([*mutmut, "export-cicd-stats"], cwd=folder, env=env, stdout=subprocess.DEVNULL, check=True)
    n = json.loads((folder / "mutants/mutmut-cicd-stats.json").read_text())
    results = subprocess.run([*mutmut, "results"], cwd=folder, env=env, capture_output=True, text=True, check=True)
    survivors = [line.strip().partition(": ")[0] for line in results.stdout.splitlines() if line.endswith(NOT_KILLED)]
    with open(folder / "survivors.txt", "w") as file:
        for name in survivors:
            shown = subprocess.run([*mutmut, "show", name], cwd=folder, env=env, capture_output=True, text=True)
            file.write(shown.stdout + "\n")
    n_killed = n["total"] - len(survivors)
    share = n_killed / n["total"] if n["total"] else 1.0
    print(
        f"{module:44} {n['total']:5} mutants, {n_killed:5} killed ({n['timeout']} by time) "
        f"{share:7.1%}   survivors: {(folder / 'survivors.txt').relative_to(ROOT)}",
        flush=True,
    )
    return share


def _prepare(folder: Path, module: str, settings: dict) -> None:
    """Links to everything in the checkout, and a pyproject.toml with mutmut's options for this module."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [path.name for path in ROOT.iterdir() if path.name not in LEFT_OUT and not path.name.startswith(".")]
    for name in names:
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    packages = settings["packages"]
    options = settings["mutmut"] | {
        "source_paths": packages,
        "only_mutate": [module],
        "pytest_add_cli_args_test_selection": settings["modules"][module],
        "also_copy": sorted(set(names) - {*packages, "tests"}),
    }
    # JSON's strings, numbers, lists and booleans are TOML's
    table = "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items())
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + f"\n[tool.mutmut]\n{table}")


def _forget_survivors(folder: Path, module: str) -> None:
    """Have mutmut try again what no test killed before: it sees changes of the code, but not of the tests."""
    (folder / "mutmut-stats.json").unlink(missing_ok=True)
    results = folder / f"{module}.meta"
    if results.exists():
        kept = json.loads(results.read_text())
        codes = kept["exit_code_by_key"]
        kept["exit_code_by_key"] = {name: code if code in _FAILED else None for name, code in codes.items()}
        results.write_text(json.dumps(kept))


if __name__ == "__main__":
    raise SystemExit(main())

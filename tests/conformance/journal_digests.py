"""Short runs of one seed, and digests of everything that they compute: the same before and after a change, or not.

    python tests/conformance/journal_digests.py                    # records, in journal_digests.json beside this file
    python tests/conformance/journal_digests.py --out other.json   # elsewhere; a diff of two files tells what changed
    python tests/conformance/journal_digests.py --only masks       # cases whose names begin so, the others as they were

Every algorithm on small problems of every kind that it fits, and every task with several algorithms. Digests hold on
the machine and with the versions that `numeric_probe` tells apart; where these are others, record the code of before
and that of after, and compare the two files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [path for path in map(str, (ROOT, ROOT / "tests", Path(__file__).parent)) if path not in sys.path]

import sample_problems as samples  # noqa: E402
from doors import algorithms, command, without_pictures  # noqa: E402
from numeric_probe import VERSIONS, probe  # noqa: E402
from pymoo.problems import get_problem  # noqa: E402

import opt  # noqa: E402

RECORDED = Path(__file__).with_suffix(".json")
SEED = 3
N_EVAL = 40
TOTALS = (
    *("status", "stop_reason", "n_gen", "n_eval", "n_inner_eval", "n_failed", "failures", "hypervolume"),
    *("ref_point", "igd_plus", "n_solutions", "stationary"),
)

KINDS = (
    *(samples.Bowl, samples.Slope, samples.Steps, samples.Switches, samples.Tour, samples.Parts, samples.Words),
    *(samples.Drifting, samples.Flaky),
)
SAMPLES: dict[str, Callable[[], Any]] = {
    "zdt1": lambda: get_problem("zdt1", n_var=4),
    "dtlz2": lambda: get_problem("dtlz2", n_var=5, n_obj=3),
    "bnh": lambda: get_problem("bnh"),
    **{kind.__name__.lower(): kind for kind in KINDS},
}
"""Problems of every representation; with constraints, with values that change their meaning, with failures."""

_POPULATION = {"pop_size": 8}
_CHAINS = {"n_chains": 4}
SMALL: dict[str, dict[str, Any]] = {
    "deap-mu+lambda": {"mu": 4, "lambda_": 8},
    "deap-mu,lambda": {"mu": 4, "lambda_": 8},
    "es": {"mu": 4, "n_offsprings": 8},
    "moead": {"pop_size": 8, "n_neighbors": 3},
    "parallel-tempering": _CHAINS,
    "sa": {"n_chains": 2, "n_proposals": 2},
    "sa-lagging": {},
}
"""Parameters with which an algorithm has several generations in so few evaluations; a population of 8 for the rest."""

SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "ga-asf": ("ga", _POPULATION | {"scalarise": "asf", "ref": [0.5, 0.5]}),
    "ga-weights": ("ga", _POPULATION | {"weights": [1.0, 0.25], "n_offsprings": 4}),
    "es-comma": ("es", {"mu": 2, "n_offsprings": 6, "plus": False}),
    "sga-elites": ("sga", _POPULATION | {"elites": 2}),
    "cma-es-restarts": ("cma-es", {"pop_size": 5, "restarts": 2}),
    "de-best": ("de", _POPULATION | {"variant": "DE/best/1/bin"}),
    "sa-alone": ("sa", {}),
    "sa-lam": ("sa", {"schedule": "lam", "reheats": 1, "mixture": "quality", "step": "varied"}),
    "sa-threshold": ("sa", {"schedule": "linear", "rule": "threshold", "restarts": 1, "step": "decay"}),
    "sa-average": ("sa", {"schedule": "9,3,1", "rule": "average", "n_chains": 2}),
}
"""Algorithms in other settings, each on `SETTLED`."""
SETTLED = ("zdt1", "slope")

TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "ecomp": (
        "ecomp",
        {"network": "mlp-16-16", "epochs": 2, "n_search": 200, "similarity_points": 60, "perplexity": 10},
    ),
    "threshold": ("threshold", {"epochs": 4}),
    "masks": ("masks", {"width": 0.1, "final_epochs": 2, "n_images": 150}),
    "cgp": ("cgp", {"epochs": 2}),
    "cgp_layers": ("cgp_layers", {"epochs": 2, "generations": 100, "rows": 8, "cols": 8, "thresholds": "0,20"}),
    "alds": ("alds", {"n_search": 200, "rival_budgets": 2}),
}
"""Each task's file, and parameters that make it small."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ecomp-published": (
        "ecomp",
        {"refit": False, "crossover": "block", "mutation": "noise", "initial": "l1", "size": "width", "batch_size": 60},
    ),
    "threshold-layers": ("threshold", {"layers": "*", "score": "std", "size": "both"}),
    "threshold-channels": ("threshold", {"layers": "conv*", "scope": "channel", "score": "rms", "size": "macs"}),
    "threshold-published": ("threshold", {"scale": "threshold", "initial": "log", "crossover": "mean"}),
    "masks-free": ("masks", {"sparsity": "null", "size": "macs", "start": "magsign", "references": "magsign,snip"}),
    "masks-filters": (
        "masks",
        {
            **{"network": "strided-cnn", "level": "filters", "sparsity": 0.5, "loss": "error"},
            **{"references": "magnitude,synflow"},
        },
    ),
    "masks-layers": (
        "masks",
        {"network": "lenet-5-same", "references": "snip", "per_layer": True, "resample": 2, "momentum": 0.5},
    ),
    "cgp-bypass": (
        "cgp",
        {
            **{"task": "layer_bypass", "objectives": "error,energy,delay,gates", "error": "mae", "mutation": "active"},
            **{"crossover": "uniform", "rows": 8, "cols": 6},
        },
    ),
    "cgp-several": (
        "cgp",
        {
            **{"task": "all_layers", "rows": 10, "cols": 10, "crossover": "one_point", "collapse": False},
            **{"functions": "add,sub,mux"},
        },
    ),
    "cgp-no-input": ("cgp", {"task": "no_input", "rows": 20, "cols": 6, "costs": "published", "error": "mse"}),
    "alds-budget": ("alds", {"budget": 0.3, "schemes": "all", "measure": "frobenius", "size": "macs"}),
    "alds-accuracy": (
        "alds",
        {"goal": "both", "measure": "data", "size": "both", "compensation": "refit", "n_calibration": 64},
    ),
}
"""Tasks in other settings, where they take other ways through their code."""

SEARCHES: dict[str, tuple[str, ...]] = {
    "ecomp": ("random", "nsga2", "sa", "ga"),
    "threshold": ("random", "nsga2", "sa", "truncation"),
    "masks": ("random", "sa", "sa-lagging", "ga"),
    "cgp": ("random", "nsga2", "sa", "cgp-es"),
    "cgp_layers": ("random", "nsga2", "sa"),
    "alds": ("random", "nsga2", "sa", "alds", "alds-exact", "alds-rival"),
    "ecomp-published": ("nsga2",),
    "threshold-layers": ("nsga2",),
    "threshold-channels": ("nsga2", "ga"),
    "threshold-published": ("truncation",),
    "masks-free": ("nsga2",),
    "masks-filters": ("sa",),
    "masks-layers": ("sa",),
    "cgp-bypass": ("nsga2",),
    "cgp-several": ("ga", "cgp-es"),
    "cgp-no-input": ("sa", "cgp-es"),
    "alds-budget": ("nsga2", "alds"),
    "alds-accuracy": ("alds",),
}


@dataclass(frozen=True)
class Case:
    """One run.

    Args:
        problem: Name among the samples, the tasks or their variants.
        algo: Name of the algorithm, or of a setting of one.
    """

    problem: str
    algo: str

    @property
    def name(self) -> str:
        """Problem and algorithm."""
        return f"{self.problem} {self.algo}"

    @property
    def task(self) -> str | None:
        """The task's file, without its ending; None for a sample."""
        return {**TASKS, **VARIANTS}.get(self.problem, (None,))[0]

    @property
    def probe(self) -> str:
        """Which of the probes the run's values depend on."""
        return "numpy" if self.task is None else "torch"


def task_cases() -> list[Case]:
    """Every task and variant with its algorithms."""
    return [Case(problem, algo) for problem, algos in SEARCHES.items() for algo in algos]


def sample_cases(algo: str) -> list[Case]:
    """An algorithm, or a setting of one, on the samples that are its."""
    return [Case(problem, algo) for problem in (SETTLED if algo in SETTINGS else SAMPLES)]


def run_digests(case: Case, out: Path) -> dict[str, str] | None:
    """Carry out a case's run; its digests, or None where the algorithm does not fit the problem.

    Args:
        case: The case.
        out: An empty folder, in which the run is made.
    """
    with without_pictures():
        run = _searched_sample(case, out) if case.task is None else _searched_task(case, out)
    return None if run is None else digests_of(run)


def _searched_sample(case: Case, out: Path) -> opt.Run | None:
    algo, parameters = SETTINGS.get(case.algo, (case.algo, SMALL.get(case.algo, _POPULATION)))
    try:
        return opt.minimize(SAMPLES[case.problem](), algo, seed=SEED, n_eval=N_EVAL, out=out, **parameters)
    except opt.UsageError as error:
        if "does not fit" in str(error):
            return None
        raise


def _searched_task(case: Case, out: Path) -> opt.Run:
    more: dict[str, Any] = {} if case.problem in TASKS else VARIANTS[case.problem][1]
    file, parameters = TASKS[str(case.task)]
    options = [f"--problem.{name}={value}" for name, value in (parameters | more).items()]
    options += [f"--algo={case.algo}", f"--seed={SEED}", f"--n-eval={N_EVAL}", "--quiet", f"--out={out}"]
    small = SMALL.get(case.algo, {} if case.algo.startswith(("alds", "cgp")) else _POPULATION)
    options += [f"--algo.{name}={value}" for name, value in small.items()]
    answer = command("solve", ROOT / "problems" / f"{file}.py", *options)
    assert answer.code == 0, answer.err
    (path,) = out.iterdir()
    return opt.load_run(path)


def digests_of(run: opt.Run) -> dict[str, str]:
    """Digests of what a run computed; nothing of it is a time or a path.

    Returns:
        By part: `journal`, each generation's candidates (their digest) and objective values; `front` and `references`,
        with held-out metrics and parameters; `solutions`, every array of the front; `history` and `trace`, where there
        is one; `totals` of the manifest.
    """
    parts: dict[str, bytes] = {"journal": _json(run.journal())}
    for name in ("front", "references", "trace"):
        if (run.path / f"{name}.csv").exists():
            parts[name] = (run.path / f"{name}.csv").read_bytes()
    parts["history"] = run.history.drop(columns="seconds").to_csv().encode()
    solutions = hashlib.sha256()
    for file in sorted((run.path / "solutions").iterdir()):
        for name, array in sorted(run.solution(file.stem).items()):
            solutions.update(f"{file.stem} {name} {array.dtype} {array.shape}".encode() + array.tobytes())
    parts["solutions"] = solutions.digest()
    parts["totals"] = _json({name: run.manifest.get(name) for name in TOTALS})
    return {name: hashlib.sha256(data).hexdigest()[:16] for name, data in parts.items()}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def recorded() -> dict[str, Any]:
    """What the file beside this one holds: `probes`, and `runs`, digests by case."""
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def main(argv: Sequence[str]) -> int:
    """Record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RECORDED, help="the file: %(default)s")
    parser.add_argument("--only", default="", help="how the names of the cases begin that are run")
    asked = parser.parse_args(argv)
    runs: dict[str, dict[str, str]] = {}
    if asked.only and asked.out.exists():
        before = json.loads(asked.out.read_text(encoding="utf-8"))["runs"]
        runs = {name: digests for name, digests in before.items() if not name.startswith(asked.only)}
    cases = [case for algo in (*algorithms(), *SETTINGS) for case in sample_cases(algo)] + task_cases()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("OPT_CACHE_DIR", f"{folder}/cache")
        for number, case in enumerate(case for case in cases if case.name.startswith(asked.only)):
            digests = run_digests(case, Path(folder) / str(number))
            if digests is not None:
                runs[case.name] = digests
                print(case.name, digests["journal"], flush=True)
    lines = [f"    {json.dumps(name)}: {json.dumps(digests)}" for name, digests in sorted(runs.items())]
    probes = json.dumps({name: probe(name) for name in VERSIONS}, indent=2).replace("\n", "\n  ")
    text = f'{{\n  "probes": {probes},\n  "runs": {{\n' + ",\n".join(lines) + "\n  }\n}\n"
    asked.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

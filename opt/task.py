"""One run as plain data that any process on any machine can carry out, go on with, or find finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from opt.adapt import as_compression_problem
from opt.arguments import plain, reread
from opt.errors import UsageError
from opt.loading import load_problem_class
from opt.mending import check_unaltered, damage, draw_again, is_only_plots
from opt.new_folder import check_folder
from opt.run import Run, load_run
from opt.runner import Request, run_search
from opt.seeding import resolved


@dataclass(frozen=True)
class Task:
    """One run as plain data.

    Args:
        target: The problem file, as `load_problem_class` takes it.
        problem_parameters: Parameters of the problem's class by name; a seed may be `same-as-run`.
        request: Algorithm, seed, budget and the rest.
        out: Folder under which the run directory is made.
        name: Name of the run directory; None names it after the run and the second it began.
        folder: Folder in which the command was given; a relative `target` that is not found from
            the present one is found from there.
        command: The command line, for the manifest.
        silent: Show no progress.
    """

    target: str
    problem_parameters: dict[str, Any] = field(default_factory=dict)
    request: Request = field(default_factory=Request)
    out: str = "runs"
    name: str | None = None
    folder: str = field(default_factory=lambda: str(Path.cwd()))
    command: str | None = None
    silent: bool = False

    @property
    def problem_name(self) -> str:
        """The problem as names of files and tables call it."""
        path, _, chosen = self.target.partition(".py:")
        return chosen.lower() if chosen else Path(path).stem

    @property
    def label(self) -> str:
        """Problem, algorithm and seed in short."""
        return f"{self.problem_name} {self.request.algo} seed {self.request.seed}"

    @property
    def path(self) -> Path:
        """The run directory of a task that has a name."""
        if self.name is None:
            raise ValueError("a task without a name has no directory before it runs")
        return Path(self.out) / self.name

    @property
    def located(self) -> str:
        """The target as it is found from the present folder, or else from the one of the command."""
        path, dot, chosen = self.target.partition(".py:")
        file = Path(path + ".py" if dot else self.target)
        began_in = Path(self.folder) / file
        found = file if file.exists() or not began_in.exists() else began_in
        return f"{found}:{chosen}" if dot else str(found)

    @property
    def digest(self) -> str:
        """Hex digest of what is searched and how: tasks of equal digests give equal runs."""
        return _digest({k: v for k, v in self.as_dict().items() if k in ("target", "problem_parameters", "request")})

    @property
    def setting_digest(self) -> str:
        """Hex digest of what is searched and how, whatever the seed."""
        asked = self.as_dict()
        return _digest([asked["target"], asked["problem_parameters"], asked["request"] | {"seed": None}])

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self) | {
            "problem_parameters": plain(self.problem_parameters),
            "request": asdict(self.request) | {"parameters": plain(self.request.parameters)},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Task:
        """A task from `as_dict`'s data, parameters of the problem in the types its class takes."""
        return cls.from_dicts([data])[0]

    @classmethod
    def from_dicts(cls, many: Sequence[dict[str, Any]]) -> list[Task]:
        """Tasks from `as_dict`'s data; the types of a setting are looked up once."""
        typed: dict[str, dict[str, Any]] = {}
        tasks = []
        for data in many:
            task = cls(**(data | {"request": Request.from_manifest({"request": data["request"]})}))
            key = json.dumps([task.located, data["problem_parameters"]])
            if key not in typed:
                typed[key] = reread(load_problem_class(task.located), data["problem_parameters"])
            tasks.append(cls(**(vars(task) | {"problem_parameters": dict(typed[key])})))
        return tasks

    @classmethod
    def from_run(cls, run: Run, *, silent: bool = False) -> Task:
        """The task that a run directory was made from.

        Raises:
            UsageError: The run was started from Python, or its manifest was altered.
        """
        check_unaltered(run)
        asked = run.manifest["problem"]
        if asked["parameters"] is None:
            call = f"opt.minimize(problem, resume={str(run.path)!r})"
            raise UsageError(f"{run.path} was started from Python; go on with {call}")
        if not asked.get("file") or not asked.get("class"):
            raise UsageError(
                f"{run.path / 'manifest.json'} does not name the problem's file and class; start a new run"
            )
        return cls.from_dict(
            {
                "target": f"{asked['file']}:{asked['class']}",
                "problem_parameters": asked["parameters"],
                "request": run.manifest["request"],
                "out": str(run.path.parent),
                "name": run.path.name,
                "folder": asked.get("folder", "."),
                "silent": silent,
            }
        )


def build_problem(task: Task) -> Any:
    """The problem that a task searches; seeds that are `same-as-run` become its seed.

    Raises:
        UsageError: The file cannot be loaded, or the constructor refuses the parameters.
    """
    cls = load_problem_class(task.located)
    try:
        return cls(**resolved(task.problem_parameters, seed=task.request.seed))
    except UsageError:
        raise
    except (ValueError, TypeError) as error:
        raise UsageError(f"{cls.__name__} cannot be built: {error}") from None


def run_task(task: Task, *, stop_file: Path | None = None) -> Run:
    """Carry out one task in this process: anew, or from where its named run directory stands.

    Args:
        task: What to run.
        stop_file: A file whose appearance asks the run to end after the batch under way.

    Raises:
        UsageError: As `opt.runner.run_search`, or another process works on the run directory.
    """
    check_folder(Path(task.out))
    unfinished = None
    if task.name is not None and (task.path / "manifest.json").exists():
        unfinished = load_run(task.path)
        if unfinished.status == "finished":
            check_unaltered(unfinished)
            reasons = damage(unfinished)
            if not reasons or is_only_plots(reasons):
                return draw_again(unfinished, lambda note: None) if reasons else unfinished
        if unfinished.status == "running":
            raise UsageError(f"{unfinished.path} is in use by another process; wait for it or stop it first")
    with threadpool_limits(limits=task.request.threads):
        problem = build_problem(task)
    path, dot, _ = task.target.partition(".py:")
    origin = {
        "name": task.problem_name,
        "file": path + ".py" if dot else task.target,
        "folder": task.folder,
        "class": type(problem).__qualname__,
        "parameters": plain(task.problem_parameters),
    }
    return run_search(
        as_compression_problem(problem),
        task.request,
        origin=origin,
        out=Path(task.out),
        name=task.name,
        resume=unfinished,
        command=task.command,
        silent=task.silent,
        stop_file=stop_file,
    )


def _digest(data: Any) -> str:
    return hashlib.blake2b(json.dumps(data, sort_keys=True).encode(), digest_size=8).hexdigest()

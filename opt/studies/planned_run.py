"""A planned run: plain data that any process on any machine can carry out, go on with, or find finished."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from opt.console.errors import UsageError
from opt.console.names import check_name
from opt.console.terminal import printable
from opt.execution.mending import check_unaltered, damage, draw_again, is_only_plots
from opt.execution.named_code import Code
from opt.execution.request import SearchRequest
from opt.execution.runner import run_search
from opt.execution.saved_start import start_from
from opt.execution.trust import check_code, recorded_by
from opt.files.digest import short_digest
from opt.files.locking import wait_until_free
from opt.files.new_folder import check_folder
from opt.flags.config import plain
from opt.flags.parser import reread
from opt.flags.seeding import resolved
from opt.problem.adapt import as_compression_problem
from opt.problem.hooks import reason_of as reason_and_place
from opt.problem.installed import problem_file
from opt.problem.loading import load_problem_class, split_target
from opt.problem.user_code import guarded
from opt.runs.run import Run, load_run


@dataclass(frozen=True)
class PlannedRun:
    """One run that is to be, as plain data; `opt.runs.run.Run` is one that is on disk.

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
    request: SearchRequest = field(default_factory=SearchRequest)
    out: str = "runs"
    name: str | None = None
    folder: str = field(default_factory=lambda: str(Path.cwd()))
    command: str | None = None
    silent: bool = False

    @property
    def problem_name(self) -> str:
        """The problem as names of files and tables call it."""
        file, class_name = split_target(self.target)
        return printable(class_name.lower() if class_name else Path(file).stem)

    @property
    def label(self) -> str:
        """Problem, algorithm and seed in short."""
        return f"{self.problem_name} {self.request.algo} seed {self.request.seed}"

    @property
    def path(self) -> Path:
        """The run directory of one that has a name."""
        if self.name is None:
            raise ValueError("a planned run without a name has no directory before it runs")
        return Path(self.out) / self.name

    @property
    def located(self) -> str:
        """The target as it is found from the present folder, or else from the one of the command."""
        place, class_name = split_target(self.target)
        if problem_file(place) is not None:
            return self.target
        target = f"{self.file}:{class_name}" if class_name else str(self.file)
        if split_target(target)[0] != str(self.file):  # another file would be loaded than the one that `code` tells of
            raise UsageError(f"{self.file} has .py: in a folder's name, behind which a class is expected; rename it")
        return target

    @property
    def file(self) -> Path:
        """The problem file as it is found from the present folder, or else from the one of the command.

        Of an installed problem it is where that is installed here.
        """
        place = split_target(self.target)[0]
        if (installed := problem_file(place)) is not None:
            return installed
        file = Path(place)
        began_in = Path(self.folder) / file
        return file if _exists(file) or not _exists(began_in) else began_in

    @property
    def code(self) -> Code:
        """What carrying it out imports."""
        return Code(split_target(self.target)[0], self.file, (self.problem_parameters, self.request.parameters))

    @property
    def digest(self) -> str:
        """Hex digest of what is searched and how: planned runs of equal digests give equal runs."""
        return _digest({k: v for k, v in self.as_dict().items() if k in ("target", "problem_parameters", "request")})

    @property
    def setting_digest(self) -> str:
        """Hex digest of what is searched and how, whatever the seed."""
        data = self.as_dict()
        return _digest([data["target"], data["problem_parameters"], data["request"] | {"seed": None}])

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self) | {
            "problem_parameters": plain(self.problem_parameters),
            # what was not there before stays out where it is not asked: digests of old studies hold
            "request": {k: v for k, v in asdict(self.request).items() if k != "start" or v is not None}
            | {"parameters": plain(self.request.parameters)},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PlannedRun:
        """A planned run from `as_dict`'s data, parameters of the problem in the types its class takes."""
        return cls.from_dicts([data])[0]

    @classmethod
    def from_dicts(cls, many: Sequence[dict[str, Any]]) -> list[PlannedRun]:
        """Planned runs from `as_dict`'s data; the types of a setting are looked up once."""
        return cls.typed([cls.untyped(data) for data in many])

    @classmethod
    def untyped(cls, data: dict[str, Any], *, source: Path | str = "a task on record") -> PlannedRun:
        """A planned run from `as_dict`'s data, parameters of the problem as they are there; nothing is imported.

        Args:
            data: The data.
            source: Where they are from, for messages.

        Raises:
            UsageError: The data hold what no planned run does.
        """
        try:
            planned = cls(**(data | {"request": SearchRequest.from_manifest({"request": data["request"]})}))
            texts = (planned.target, planned.folder, planned.out)
            if not all(isinstance(text, str) and "\0" not in text for text in texts):
                raise TypeError("a path is no text")
            if not isinstance(planned.problem_parameters, dict) or not isinstance(planned.request.parameters, dict):
                raise TypeError("parameters are no mapping")
        except UsageError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"{source} lacks {error} or is altered; restore it from a copy, or ask anew") from None
        if planned.name is not None:
            check_name(planned.name, f"{source}: task")
        return planned

    @classmethod
    def typed(cls, planned_runs: Sequence[PlannedRun]) -> list[PlannedRun]:
        """The planned runs with their problems' parameters in the types that the classes take, which are imported."""
        parameters: dict[str, dict[str, Any]] = {}
        typed_runs = []
        for planned in planned_runs:
            key = json.dumps([planned.located, planned.problem_parameters])
            if key not in parameters:
                parameters[key] = reread(load_problem_class(planned.located), planned.problem_parameters)
            typed_runs.append(cls(**(vars(planned) | {"problem_parameters": dict(parameters[key])})))
        return typed_runs

    @classmethod
    def from_run(cls, run: Run, *, silent: bool = False, trust: bool = False, is_forced: bool = False) -> PlannedRun:
        """The plan that a run directory was made from.

        Args:
            run: The run.
            silent: Show no progress.
            trust: Import what the run names, whatever it is.
            is_forced: Import what lies where it may though it has changed.

        Raises:
            UsageError: The run was started from Python, its manifest is altered, or it names code that is not
                trusted (`opt.execution.trust`).
        """
        check_unaltered(run)
        problem = run.manifest["problem"]
        if not isinstance(problem, dict) or any(name not in problem for name in ("file", "class", "parameters")):
            raise UsageError(f"{run.path / 'manifest.json'} does not say what was searched; restore it from a copy")
        if problem["parameters"] is None:
            call = f"opt.minimize(problem, resume={str(run.path)!r})"
            raise UsageError(f"{run.path} was started from Python; go on with {call}")
        planned = cls.untyped(
            {
                "target": f"{problem['file']}:{problem['class']}",
                "problem_parameters": problem["parameters"],
                "request": run.manifest["request"],
                "out": str(run.path.parent),
                "folder": problem.get("folder", "."),
                "silent": silent,
            },
            source=run.path / "manifest.json",
        )
        # the folder is there: whatever its name, it is no name that leads elsewhere
        planned = cls(**(vars(planned) | {"name": run.path.name}))
        check_code(run.path, [planned.code], recorded_by(run, planned.code.named), trust=trust, is_forced=is_forced)
        return cls.typed([planned])[0]


def build_problem(planned: PlannedRun) -> Any:
    """The problem that is searched; seeds that are `same-as-run` become its seed.

    Raises:
        UsageError: The file cannot be loaded, or the constructor refuses the parameters.
    """
    cls = load_problem_class(planned.located)
    try:
        with guarded():
            return cls(**resolved(planned.problem_parameters, seed=planned.request.seed))
    except UsageError:
        raise
    except (ValueError, TypeError) as error:
        raise UsageError(f"{cls.__name__} cannot be built: {error}") from None
    except Exception as error:
        raise UsageError(f"{cls.__name__} cannot be built: {reason_and_place(error)}") from error


def run_planned(
    planned: PlannedRun, *, stop_file: Path | None = None, is_forced: bool = False, trust: bool = False
) -> Run:
    """Carry out one planned run in this process: anew, or from where its named run directory stands.

    Args:
        planned: What to run.
        stop_file: A file whose appearance asks the run to end after the batch under way.
        is_forced: Go on with a run though its code, data or versions have changed.
        trust: Import functions that the run which it begins with names, whatever they are.

    Raises:
        InUseError: Another process works on the run directory.
        UsageError: As `opt.execution.runner.run_search`.
    """
    check_folder(Path(planned.out))
    unfinished = None
    if planned.name is not None and (planned.path / "manifest.json").exists():
        unfinished = load_run(planned.path)
        if unfinished.status == "running":
            # a command that was killed a moment ago, perhaps; what it ended with counts
            wait_until_free(unfinished.path / "journal.jsonl", noted=unfinished.manifest.get("process"))
            unfinished = load_run(planned.path)
        if unfinished.status == "finished":
            check_unaltered(unfinished)
            reasons = damage(unfinished)
            if not reasons or is_only_plots(reasons):
                return draw_again(unfinished, lambda note: None) if reasons else unfinished
    with threadpool_limits(limits=planned.request.threads):
        problem = build_problem(planned)
    origin = {
        "name": planned.problem_name,
        "file": split_target(planned.target)[0],
        "folder": planned.folder,
        "class": type(problem).__qualname__,
        "parameters": plain(planned.problem_parameters),
    }
    problem = as_compression_problem(problem)
    start = None
    if planned.request.start is not None and unfinished is None:
        with threadpool_limits(limits=planned.request.threads):
            start = start_from(_found_from(planned.request.start, planned.folder), problem, trust=trust)
    return run_search(
        problem,
        planned.request,
        origin=origin,
        out=Path(planned.out),
        name=planned.name,
        resume=unfinished,
        command=planned.command,
        silent=planned.silent,
        stop_file=stop_file,
        is_forced=is_forced,
        trust=trust,
        start=start,
    )


def _found_from(path: str, folder: str) -> Path:
    """A path as it is found from the present folder, or else from the one of the command."""
    began_in = Path(folder) / path
    return Path(path) if Path(path).exists() or not began_in.exists() else began_in


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long: loading it says so
        return False


def _digest(data: Any) -> str:
    return short_digest(json.dumps(data, sort_keys=True).encode())

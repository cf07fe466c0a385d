"""What opt.solve was asked, carried out: one run, a study of many, or going on with either."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.console.tables import make_console
from opt.console.terminal import tell
from opt.execution.mending import mend
from opt.execution.request import SearchRequest
from opt.flags.algorithm_names import algorithm_names
from opt.flags.command_line import USAGE, CommandLine, check_one_problem
from opt.flags.config import numbers
from opt.flags.job_options import JobOptions
from opt.flags.parser import as_yaml, build_parser, group, parse
from opt.flags.search_options import WHOLE_NAMES, check_option
from opt.processes.memory_limit import parse_bytes
from opt.runs.front_table import print_front
from opt.runs.run import Run, load_run
from opt.search.budget import Budget, parse_seconds
from opt.search.progress import duration
from opt.studies.cluster import job_script
from opt.studies.planned_run import PlannedRun, run_planned
from opt.studies.study import Study, is_study
from opt.studies.study_run import EXIT_STOPPED, Workers, run_study, study_folder
from opt.studies.sweep import SweepSetting, parsed, settings_of_command, settings_of_study

# options of a sweep that --resume STUDY takes
_STUDY_OPTIONS = tuple(name for name in WHOLE_NAMES if name not in ("out", "name"))


def solve(line: CommandLine) -> int:
    """Carry out a command line that asks for runs; the exit code.

    Raises:
        UsageError: It cannot be carried out as it is asked.
    """
    if line.resume is not None:
        for flag, is_given in (("--study", line.study is not None), ("--print-config", line.is_print_config)):
            if is_given:
                raise UsageError(f"--resume goes on as it was asked; leave out {flag}")
        return _resume_study(line) if is_study(Path(line.resume)) else _resume(line)
    check_one_problem(line)
    if line.problem is None and line.study is None:
        raise UsageError(f"expected a problem file; usage: {USAGE}")
    settings = _settings(line)
    options = parsed(settings)
    if line.is_print_config:
        if len(settings) > 1:
            raise UsageError(f"--print-config prints one run's options, and {len(settings)} settings are asked")
        tell(as_yaml(options[0], settings[0].algo), end="")
        return 0
    workers = _workers(options[0], is_forced=line.is_forced)
    if line.is_print_job:
        return _print_job(workers)
    return _carry_out(line, settings, options, workers)


def _carry_out(
    line: CommandLine, settings: Sequence[SweepSetting], options: Sequence[Namespace], workers: Workers
) -> int:
    """One run by itself, or several as a study."""
    values = options[0]
    command = spelled("solve") + " " + shlex.join(sys.argv[1:]).encode("utf-8", "backslashreplace").decode()
    planned_runs: list[PlannedRun] = []
    varying: list[dict[str, str]] = []
    for setting, own in zip(settings, options, strict=True):
        of_setting = _planned_runs(setting, own, command=command)
        planned_runs += of_setting
        varying += [dict(setting.varying)] * len(of_setting)
    wants_study = line.study or any(
        (values.name, values.scheduler, values.cluster, values.task_time, values.task_memory)
    )
    if len(planned_runs) == 1 and not wants_study:
        run = run_planned(planned_runs[0], is_forced=line.is_forced, trust=line.is_trust)
        if not values.quiet:
            _report(run)
        return EXIT_STOPPED.get(run.manifest.get("stop_reason", ""), 0)
    # seed by seed, so that a study that is stopped has runs of every setting
    order = sorted(range(len(planned_runs)), key=lambda i: planned_runs[i].request.seed)
    # what is asked twice, such as seed 2 of `seed: [1, 2]` with two runs each, is done once
    order = list({planned_runs[i].digest: i for i in reversed(order)}.values())[::-1]
    folder = study_folder(values.out, values.name, planned_runs)
    distinct, differing = [planned_runs[i] for i in order], [varying[i] for i in order]
    study = Study.holding(folder, distinct, differing, trust=line.is_trust, is_forced=line.is_forced)
    return run_study(study, study.planned_runs[: len(order)], workers, command=command, quiet=values.quiet)


def _settings(line: CommandLine) -> list[SweepSetting]:
    if line.study is not None:
        algorithms = [token for token in line.tokens if token.startswith("--algo=")]
        if algorithms:
            raise UsageError(f"a study file names its algorithms; leave out {algorithms[0]}")
        return settings_of_study(Path(line.study), line.tokens)
    assert line.problem is not None
    return settings_of_command(line.problem, algorithm_names(line.algo), line.tokens)


def _planned_runs(setting: SweepSetting, options: Namespace, *, command: str) -> list[PlannedRun]:
    """The runs of one setting, a seed each."""
    values = vars(options)
    check_option("seed", values["seed"] + values["runs"] - 1)
    limits = {name: values[name] for name in ("n_gen", "n_eval", "time", "patience", "tolerance")}
    budget = Budget.of(**limits)
    eval_time = values["eval_time"]
    return [
        PlannedRun(
            target=setting.problem,
            problem_parameters=group(options, "problem"),
            request=SearchRequest(
                algo=setting.algo,
                parameters=group(options, "algo"),
                seed=values["seed"] + i,
                budget=budget,
                scalarise=values["scalarise"],
                weights=numbers(values["weights"], "--weights"),
                ref=numbers(values["ref"], "--ref"),
                start=values["start"],
                threads=values["threads"],
                keep=values["keep"],
                cache_size=values["cache_size"],
                fail_fast=values["fail_fast"],
                no_verify=values["no_verify"],
                eval_seconds=None if eval_time is None else parse_seconds(eval_time, "--eval-time"),
            ),
            out=values["out"],
            command=command,
            silent=values["quiet"],
        )
        for i in range(values["runs"])
    ]


def _workers(values: Namespace, *, is_forced: bool) -> Workers:
    if values.backend == "dask" and not values.scheduler:
        raise UsageError("--backend dask needs the address of its scheduler: --scheduler tcp://HOST:8786")
    return Workers(
        n_jobs=values.jobs,
        scheduler=values.scheduler,
        cluster=values.cluster,
        job=JobOptions(**group(values, "cluster")),
        run_seconds=None if values.task_time is None else parse_seconds(values.task_time, "--task-time"),
        run_bytes=None if values.task_memory is None else parse_bytes(values.task_memory, "--task-memory"),
        is_forced=is_forced,
    )


def _print_job(workers: Workers) -> int:
    if workers.cluster is None:
        raise UsageError("--print-job shows what would be submitted to a batch system; give --cluster slurm or pbs")
    tell(job_script(workers.cluster, workers.job))
    return 0


def _resume(line: CommandLine) -> int:
    assert line.resume is not None
    extra = [t for t in line.tokens if not t.startswith("--quiet")]
    if line.problem or extra:
        raise UsageError(f"--resume goes on exactly as the run was asked; leave out {line.problem or extra[0]}")
    run = load_run(line.resume)
    if run.status == "finished":

        def go_on() -> Run:
            is_quiet = "--quiet" in line.tokens
            planned = PlannedRun.from_run(run, silent=is_quiet, trust=line.is_trust, is_forced=line.is_forced)
            return run_planned(planned, is_forced=line.is_forced, trust=line.is_trust)

        lines = mend(run, go_on)
        for note in lines:
            tell(f"{run.path}: {note}")
        outcome = "mended" if lines else "nothing was changed"
        tell(f"{run.path} is finished ({run.manifest.get('stop_reason', '')}); {outcome}")
        return 0
    planned = PlannedRun.from_run(run, silent="--quiet" in line.tokens, trust=line.is_trust, is_forced=line.is_forced)
    finished = run_planned(planned, is_forced=line.is_forced, trust=line.is_trust)
    if "--quiet" not in line.tokens:
        _report(finished)
    return EXIT_STOPPED.get(finished.manifest.get("stop_reason", ""), 0)


def _resume_study(line: CommandLine) -> int:
    assert line.resume is not None
    for token in line.tokens:
        name = token.partition("=")[0].removeprefix("--")
        if name not in _STUDY_OPTIONS and not name.startswith("cluster."):
            raise UsageError(f"--resume goes on as the study was asked; leave out --{name}")
    if line.problem:
        raise UsageError(f"--resume goes on as the study was asked; leave out {line.problem}")
    values = parse(build_parser(None, None), line.tokens)
    workers = _workers(values, is_forced=line.is_forced)
    if line.is_print_job:
        return _print_job(workers)
    study = Study.open(Path(line.resume), trust=line.is_trust, is_forced=line.is_forced)
    return run_study(study, study.planned_runs, workers, command=study.command, quiet=values.quiet, mends=True)


def _report(run: Run) -> None:
    """The end of a run as a person wants it: the front, the failures, the path, the next command."""
    print_front(run, make_console())
    m = run.manifest
    n = m["n_solutions"]
    if m["n_failed"]:
        tell(f"{m['n_failed']} evaluations failed:")
        for reason, count in sorted(m["failures"].items(), key=lambda item: -item[1])[:5]:
            tell(f"  {count} x {reason}")
    tell(
        f"{m['stop_reason']}: {m['n_eval']} evaluations in {duration(m['seconds'])}, "
        f"hypervolume {m['hypervolume']:.5g}, {n} solution{'s' if n != 1 else ''}"
    )
    tell(f"run: {run.path}")
    if m["status"] == "interrupted":
        tell(f"next: {spelled('solve')} --resume {shlex.quote(str(run.path))}")
    else:
        tell(f"next: {spelled('plot')} {shlex.quote(str(run.path))}")

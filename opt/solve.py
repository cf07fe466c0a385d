"""python -m opt.solve: search a problem with any algorithm, and save the run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from opt.algorithms import AlgorithmSpec, algorithms, find_algorithm
from opt.arguments import (
    USAGE,
    Scanned,
    as_yaml,
    build_parser,
    group,
    help_text,
    numbers,
    parse,
    reread,
    scan,
)
from opt.budget import Budget
from opt.command import complain, execute
from opt.errors import UsageError
from opt.front_table import make_console, print_front
from opt.loading import load_problem_class
from opt.parallel import Job, run_job, run_jobs
from opt.progress import duration
from opt.run import Run, load_run
from opt.runner import Request

EXIT_CODES = {"stopped by SIGINT": 130, "stopped by SIGTERM": 143}


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    scanned = scan(argv)
    if scanned.is_list:
        return _list_algorithms(scanned.problem)
    if scanned.resume is not None:
        return _resume(scanned)
    if scanned.problem is None:
        if scanned.is_help:
            print(help_text(build_parser(None, None)))
            print("With a PROBLEM.py, --help also lists the parameters of the problem and of the algorithm.")
            return 0
        raise UsageError(f"expected a problem file; usage: {USAGE}")
    problem_class = load_problem_class(scanned.problem)
    spec = find_algorithm(scanned.algo, problem_class)
    parser = build_parser(problem_class, spec)
    if scanned.is_help:
        print(help_text(parser))
        return 0
    values = parse(parser, scanned.tokens)
    if scanned.is_print_config:
        print(as_yaml(values, spec.name), end="")
        return 0
    jobs = _jobs(scanned, spec, values)
    if len(jobs) > 1:
        return _run_several(jobs, n_jobs=values.jobs, quiet=values.quiet)
    run = run_job(jobs[0])
    if not values.quiet:
        _report(run)
    return EXIT_CODES.get(run.manifest.get("stop_reason", ""), 0)


def _jobs(scanned: Scanned, spec: AlgorithmSpec, values: object) -> list[Job]:
    v = vars(values)
    for flag in ("runs", "jobs"):
        if v[flag] < 1:
            raise UsageError(f"--{flag} must be at least 1, got {v[flag]}")
    assert scanned.problem is not None
    budget = Budget.of(
        n_gen=v["n_gen"], n_eval=v["n_eval"], time=v["time"], patience=v["patience"], tolerance=v["tolerance"]
    )
    return [
        Job(
            target=scanned.problem,
            problem_parameters=group(values, "problem"),  # type: ignore[arg-type]
            request=Request(
                algo=spec.name,
                parameters=group(values, "algo"),  # type: ignore[arg-type]
                seed=v["seed"] + i,
                budget=budget,
                scalarise=v["scalarise"],
                weights=numbers(v["weights"], "--weights"),
                ref=numbers(v["ref"], "--ref"),
                threads=v["threads"],
                keep=v["keep"],
                cache_size=v["cache_size"],
                fail_fast=v["fail_fast"],
            ),
            out=v["out"],
            command="python -m opt.solve " + shlex.join(sys.argv[1:]),
            silent=v["quiet"] or v["runs"] > 1,
        )
        for i in range(v["runs"])
    ]


def _run_several(jobs: list[Job], *, n_jobs: int, quiet: bool) -> int:
    # what is wrong with all of them is said once, before anything starts
    from opt.adapt import as_compression_problem
    from opt.parallel import build_problem
    from opt.runner import check_request

    first = build_problem(jobs[0].target, jobs[0].problem_parameters, seed=jobs[0].request.seed)
    check_request(as_compression_problem(first), jobs[0].request)
    done: list[Run] = []
    errors: list[str] = []
    codes: list[int] = []

    def on_done(job: Job, run: Run | None, error: str) -> None:
        if run is None:
            errors.append(f"seed {job.request.seed}: {error}")
            complain(errors[-1])
            return
        done.append(run)
        m = run.manifest
        codes.append(EXIT_CODES.get(m["stop_reason"], 0))
        if quiet:
            return
        print(
            f"[{len(done) + len(errors)}/{len(jobs)}] seed {m['seed']}: {m['stop_reason']}, {m['n_eval']} evaluations, "
            f"hypervolume {m['hypervolume']:.5g}, {m['n_solutions']} solutions, {duration(m['seconds'])}, {run.path}",
            flush=True,
        )

    run_jobs(jobs, n_jobs=n_jobs, on_done=on_done)
    if done and not quiet:
        print(f"plot them: python -m opt.plot {' '.join(str(r.path) for r in done)}")
    if len(done) + len(errors) < len(jobs):
        print(f"stopped: {len(jobs) - len(done) - len(errors)} of {len(jobs)} runs were not started")
    return 2 if errors else max(codes, default=0)


def _resume(scanned: Scanned) -> int:
    assert scanned.resume is not None
    extra = [t for t in scanned.tokens if not t.startswith("--quiet")]
    if scanned.problem or extra:
        raise UsageError(f"--resume goes on exactly as the run was asked; leave out {scanned.problem or extra[0]}")
    run = load_run(scanned.resume)
    if run.status == "finished":
        print(f"{run.path} is finished ({run.manifest['stop_reason']}); nothing was changed")
        return 0
    if run.status == "running":
        raise UsageError(f"{run.path} is in use by another process; wait for it or stop it first")
    asked = run.manifest["problem"]
    if asked["parameters"] is None:
        call = f"opt.minimize(problem, resume={str(run.path)!r})"
        raise UsageError(f"{run.path} was started from Python; go on with {call}")
    # a file named relative to the folder in which the run was started is found from any other
    file = Path(asked["file"])
    began_in = Path(asked.get("folder", "."))
    target = f"{file if file.exists() else began_in / file}:{asked['class']}"
    job = Job(
        target=target,
        problem_parameters=reread(load_problem_class(target), asked["parameters"]),
        request=Request.from_manifest(run.manifest),
        out=str(run.path.parent),
        silent="--quiet" in scanned.tokens,
    )
    finished = run_job(job, resume=run)
    if "--quiet" not in scanned.tokens:
        _report(finished)
    return EXIT_CODES.get(finished.manifest.get("stop_reason", ""), 0)


def _report(run: Run) -> None:
    """The end of a run as a person wants it: the front, the failures, the path, the next command."""
    print_front(run, make_console())
    m = run.manifest
    n = m["n_solutions"]
    if m["n_failed"]:
        print(f"{m['n_failed']} evaluations failed:")
        for reason, count in sorted(m["failures"].items(), key=lambda item: -item[1])[:5]:
            print(f"  {count} x {reason}")
    print(
        f"{m['stop_reason']}: {m['n_eval']} evaluations in {duration(m['seconds'])}, "
        f"hypervolume {m['hypervolume']:.5g}, {n} solution{'s' if n != 1 else ''}"
    )
    print(f"run: {run.path}")
    if m["status"] == "interrupted":
        print(f"next: python -m opt.solve --resume {run.path}")
    else:
        print(f"next: python -m opt.plot {run.path}")


def _list_algorithms(target: str | None) -> int:
    problem_class = None if target is None else load_problem_class(target)
    table = Table(title="algorithms", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    table.add_column("what it needs", overflow="fold")
    for spec in algorithms(problem_class).values():
        table.add_row(spec.name, spec.summary, spec.requirement)
    make_console().print(table)
    if problem_class is None:
        print("A problem may bring algorithms of its own: python -m opt.solve PROBLEM.py --list shows them too.")
    return 0


if __name__ == "__main__":
    execute(main)

"""The options of one search and of a command's runs: each stands here once, with its default, its limits, its help.

The command line, config and study files, `opt.minimize` and what a run is asked for (`opt.execution`) are built from
these. `n_gen` here is `--n-gen` on the command line; a flag, such as `fail_fast`, takes no value there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from opt.console.option_groups import option_group
from opt.console.parameters import Parameter, parameters_of
from opt.console.ranges import Count, Range, Seed

ClusterKind = Literal["slurm", "pbs"]


@option_group
class SearchOptions:
    """What one search is asked, besides its problem, its algorithm and its seed.

    Args:
        n_gen: Budget in generations; 50 when no budget is given.
        n_eval: Budget in evaluations of distinct candidates.
        time: Budget in wall-clock time, in seconds or as text: 90s, 10m, 1h30m.
        patience: Stop after so many generations without a gain in hypervolume.
        tolerance: Smallest relative gain in hypervolume that the patience counts.
        weights: Weights of the objectives for single-objective algorithms, 0,2,1; by default the problem's own.
        scalarise: One objective from several: sum, asf, or problem for its own way.
        ref: Reference point of asf, one value per objective in its own sense: 0.1,5,0.3.
        out: Folder under which run directories are made.
        threads: Threads of linear algebra in each run.
        keep: Most solutions of the front saved as safetensors.
        cache_size: Distinct candidates whose values are remembered.
        eval_time: Longest time of one candidate's evaluation, such as 20s; it fails beyond. Evaluations are then done
            in a process of their own, forked for each batch and killed if it is late: what evaluate keeps in memory is
            lost.
        fail_fast: Stop on the first candidate that cannot be evaluated.
        no_verify: Leave out the proof before a search that what evaluate says of some candidates is what they become.
    """

    n_gen: Count | None = None
    n_eval: Count | None = None
    time: str | float | None = None
    patience: Count | None = None
    tolerance: Annotated[float, Range(0.0)] = 1e-4
    weights: str | Sequence[float] | None = None
    scalarise: str = "sum"
    ref: str | Sequence[float] | None = None
    out: str | Path = "runs"
    threads: Annotated[int, Range(1, 1024)] = 1
    keep: Annotated[int, Range(0, 1_000_000)] = 200
    cache_size: Annotated[int, Range(1, 10**9)] = 100_000
    eval_time: str | float | None = None
    fail_fast: bool = False
    no_verify: bool = False


@option_group
class CommandOptions:
    """What a command asks besides: which algorithms, how many runs of each.

    Args:
        algo: Algorithm, or several with commas between them; --list shows all of them.
        seed: Seed of the run; everything random descends from it.
        runs: Number of runs of each algorithm, with seeds SEED, SEED + 1, ...
        start: Warm start: a saved run, whose front is the first candidates of the search.
        quiet: Show no progress and no table.
    """

    algo: str = "nsga2"
    seed: Seed = 1
    runs: Annotated[int, Range(1, 10_000)] = 1
    start: str | None = None
    quiet: bool = False


@option_group
class StudyOptions:
    """How several runs are carried out.

    Args:
        jobs: Number of runs side by side; with --cluster, number of jobs.
        name: Several runs: name of their study's folder.
        task_time: Several runs: longest time of one, such as 30m; it fails beyond, and is kept.
        task_memory: Several runs: most memory of one's process, such as 2GB.
        backend: Several runs: processes here, or the workers of --scheduler.
        scheduler: Address of a Dask scheduler, such as tcp://host:8786.
        cluster: Batch system whose jobs carry out the runs.
    """

    jobs: Annotated[int, Range(1, 1024)] = 1
    name: str | None = None
    task_time: str | None = None
    task_memory: str | None = None
    backend: Literal["loky", "dask"] = "loky"
    scheduler: str | None = None
    cluster: ClusterKind | None = None


def as_flag(name: str) -> str:
    """An option of these groups as the command line calls it, without dashes before it: `n-gen` of `n_gen`."""
    return name.replace("_", "-")


OPTIONS: dict[str, Parameter] = {
    as_flag(name): parameter
    for group in (CommandOptions, SearchOptions, StudyOptions)
    for name, parameter in parameters_of(group).items()
}
"""Every option of the command `opt.solve` that is no parameter of a problem or an algorithm, by its flag."""
SWITCHES = tuple(name for name, parameter in OPTIONS.items() if parameter.kind is bool)
"""Those that take no value."""
WHOLE_NAMES = (*map(as_flag, parameters_of(StudyOptions)), "out", "quiet")
"""Those of a study as a whole, not of one run."""


def check_option(name: str, value: float | None) -> None:
    """Refuse a number that the option `--name` does not take.

    Raises:
        UsageError: As `Range.check`.
    """
    OPTIONS[name].check(value, name=f"--{name}")

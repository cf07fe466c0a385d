"""The options of a batch system's job: `--cluster.X`."""

from __future__ import annotations

from typing import Annotated

from opt.console.errors import UsageError
from opt.console.option_groups import option_group
from opt.console.ranges import Range


@option_group
class JobOptions:
    """What one job of a batch system is given.

    Args:
        walltime: Longest time of a job, as hours:minutes:seconds; a run that is cut short goes on in the next study.
        memory: Memory of a job, such as 4GB.
        cores: Cores of a job; each carries out one run at a time.
        queue: Queue (PBS) or partition (Slurm); none takes the system's own.
        account: Account or project that is charged.
        scratch: Folder on the job's machine for temporary files.
        environment: Shell lines before the worker starts, such as "source /home/me/opt/.venv/bin/activate".
        directives: Further lines of the job's header, without #SBATCH or #PBS, such as "--constraint=avx2".
        python: Python that runs the workers; none takes the present one.
        interface: Network interface on which workers and scheduler talk, such as ib0.
        logs: Folder for what the jobs print.
    """

    walltime: str = "04:00:00"
    memory: str = "4GB"
    cores: Annotated[int, Range(1)] = 1
    queue: str | None = None
    account: str | None = None
    scratch: str | None = None
    environment: list[str] | str | None = None
    directives: list[str] | str | None = None
    python: str | None = None
    interface: str | None = None
    logs: str | None = None

    def __post_init__(self) -> None:
        if ":" not in self.walltime:
            # Slurm takes a plain number for minutes and PBS for seconds; YAML reads 10:00:00 without quotes as one
            form = "hours:minutes:seconds, in quotes in a file, such as '10:00:00'"
            raise UsageError(f"--cluster.walltime must be {form}, got {self.walltime}")

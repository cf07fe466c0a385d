"""Workers on other machines: a Dask scheduler's, or jobs of Slurm and PBS through dask-jobqueue."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from opt.console.errors import UsageError
from opt.flags.job_options import JobOptions
from opt.flags.search_options import ClusterKind
from opt.studies.outcome import Outcome

EXTRA = "pip install 'opt-compress[dask]'"
CONNECT_SECONDS = 10.0
_SAME_NAME = ("cores", "memory", "walltime", "queue", "account", "interface")
"""Options of a job that dask-jobqueue has by the same names."""


@dataclass(frozen=True)
class _GivenUp:
    """In place of a batch's results."""

    results: list[Outcome]


def job_script(kind: ClusterKind, settings: JobOptions) -> str:
    """The script that a job would be submitted with.

    Raises:
        UsageError: dask-jobqueue is not installed, or refuses the settings.
    """
    with _cluster(kind, settings) as cluster:
        return str(cluster.job_script())


@contextlib.contextmanager
def cluster_client(kind: ClusterKind, settings: JobOptions, *, n_jobs: int) -> Iterator[Any]:
    """A client of workers in `n_jobs` jobs of a batch system; the jobs are ended with it.

    Raises:
        UsageError: As `job_script`, or the batch system refuses the jobs.
    """
    _check_installed("dask_jobqueue")
    from distributed import Client

    with _cluster(kind, settings) as cluster:
        for _ in range(n_jobs):
            cluster.worker_spec.update(cluster.new_worker_spec())
        try:
            # cluster.scale() would submit in the background, and only log what the batch system says against it
            cluster.sync(cluster._correct_state)
        except (RuntimeError, ValueError, OSError) as error:
            # what was never submitted cannot be closed
            for job in [job for job in cluster._created if job.status.name == "created"]:
                cluster._created.discard(job)
            cluster.workers.clear()
            raise UsageError(f"{kind} did not take the jobs: {_one_line(error)}") from None
        # a job that ends before the study does, as at its walltime, is replaced
        cluster.adapt(minimum_jobs=n_jobs, maximum_jobs=n_jobs)
        with Client(cluster, set_as_default=False) as client:
            yield client


@contextlib.contextmanager
def scheduler_client(address: str) -> Iterator[Any]:
    """A client of the Dask scheduler at an address such as tcp://host:8786.

    Raises:
        UsageError: dask is not installed, or no scheduler answers there.
    """
    _check_installed("distributed")
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        start = "start one with `dask scheduler`"
        raise UsageError(f"no Dask scheduler answers at {address} ({_one_line(error)}); {start}") from None
    with client:
        yield client


def workers_backend(client: Any, *, patience: float) -> Any:
    """Joblib's Dask backend on a client's workers, for planned runs that tell their name first.

    It differs in two ways. For one worker joblib would do the work in this very process: it stays with
    the worker. And a run that the scheduler gives up, as after too many lost workers, would be
    waited for without end: its result is its name and the reason.

    Args:
        client: A `distributed.Client`.
        patience: Seconds to wait for the first worker.
    """
    from joblib._dask import DaskDistributedBackend

    class Workers(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, int(super().effective_n_jobs(n_jobs)))

        def submit(self, func: Any, callback: Any = None) -> Any:
            future = super().submit(func, callback)
            names = [str(args[0]["name"]) for _, args, _ in func.items]

            def given_up(done: Any) -> None:
                reason = "the scheduler gave it up"
                if (error := done.exception()) is not None:
                    callback(_GivenUp([Outcome(name, f"{reason}: {_one_line(error)}") for name in names]))

            future.add_done_callback(given_up)
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            return out.results if isinstance(out, _GivenUp) else super().retrieve_result_callback(out)

    return Workers(client=client, wait_for_workers_timeout=patience)


@contextlib.contextmanager
def _cluster(kind: ClusterKind, settings: JobOptions) -> Iterator[Any]:
    _check_installed("dask_jobqueue")
    import dask_jobqueue

    make: Any = {"slurm": dask_jobqueue.SLURMCluster, "pbs": dask_jobqueue.PBSCluster}[kind]
    try:
        cluster = make(
            **{name: getattr(settings, name) for name in _SAME_NAME},
            processes=settings.cores,
            local_directory=settings.scratch,
            job_script_prologue=_lines(settings.environment),
            job_extra_directives=_lines(settings.directives),
            log_directory=settings.logs,
            # a worker that has no work yet, or whose scheduler is gone, gives its node back
            death_timeout=120,
            nanny=False,
            scheduler_options={"dashboard_address": ":0"},
            **({} if settings.python is None else {"python": settings.python}),
        )
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        raise UsageError(f"{kind} cannot be used with these settings: {_one_line(error)}") from None
    with cluster:
        yield cluster


def _check_installed(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError:  # what it needs itself may be missing too
        raise UsageError(f"more than one machine needs {module.replace('_', '-')}: {EXTRA}") from None


def _lines(value: list[str] | str | None) -> list[str]:
    return [] if value is None else value.splitlines() if isinstance(value, str) else list(value)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

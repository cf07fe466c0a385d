"""Clusters to test against, on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from daemons import ClusterUnavailable
from dask_cluster import DaskCluster, local_dask
from slurm_cluster import local_slurm


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of a Slurm with one idle node, set in this process as well."""
    with ExitStack() as stack:
        try:
            environment = stack.enter_context(local_slurm(tmp_path_factory.mktemp("slurm")))
        except ClusterUnavailable as error:
            pytest.skip(f"no Slurm: {error}")
        for name in os.environ.keys() - environment.keys():
            monkeypatch.delenv(name)
        monkeypatch.setenv("SLURM_CONF", environment["SLURM_CONF"])
        yield environment


@pytest.fixture
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., DaskCluster]]:
    """`dask(2)`: a scheduler and that many workers, until the test ends."""
    with ExitStack() as stack:

        def start(n_workers: int, **options: object) -> DaskCluster:
            try:
                return stack.enter_context(local_dask(n_workers, folder=tmp_path_factory.mktemp("dask"), **options))
            except ClusterUnavailable as error:
                pytest.skip(f"no Dask: {error}")

        yield start

"""A workload of an image data set and a network that is trained on it."""

from __future__ import annotations

from torch import nn

from problems.data.data import Dataset
from problems.data.examples import ImageExamples
from problems.workloads.workload import Workload


def workload_of(network: nn.Module, dataset: Dataset) -> Workload:
    """The network, judged by its accuracy on the data set's own splits.

    Raises:
        UsageError: The network does not take the images.
    """
    train, search, test = (ImageExamples(split) for split in (dataset.train, dataset.search, dataset.test))
    work = Workload(network, train=train, search=search, test=test, name=dataset.name, are_apart=True)
    work.dataset, work.data_fingerprint = dataset, dataset.fingerprint
    return work

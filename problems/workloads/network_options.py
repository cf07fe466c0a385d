"""Options of the network that every task with a network of the user's takes: where it is from, and its training."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from torch import nn

from opt.console.errors import UsageError
from opt.console.option_groups import option_group
from opt.console.parameters import ArgumentsOf
from opt.console.ranges import Epochs, Seed
from problems.data.data import Dataset
from problems.data.data_options import DataOptions
from problems.workloads.devices import device_named
from problems.workloads.of_dataset import workload_of
from problems.workloads.own_network import check_answers
from problems.workloads.own_workload import own_workload, workload_function
from problems.workloads.workload import Workload

_OF_BOTH = ("workload", "workload_arguments", "model_seed", "device")
"""Options of a network that a workload of the user's knows too."""


@option_group
class NetworkOptions:
    """The network that is compressed.

    Args:
        model: A network of your own, as package.module:function without arguments; by default the task's.
        checkpoint: Weights of the network, a safetensors file; by default it is trained.
        model_seed: Seed of the network's weights and training; same-as-run makes each run compress another network.
        workload: Network, data, loss and metrics of your own in place of all these: FILE.py:NAME or package.module:NAME
            of a `Workload` or a function that returns one. Arguments of the function are options of their own,
            --problem.workload.NAME; --help shows them beside it.
        workload_arguments: The same arguments together, as a mapping by name.
        device: Where network and examples lie while they are evaluated: cpu, cuda, cuda:1, mps.
    """

    model: str | None = None
    checkpoint: str | None = None
    model_seed: Seed = 0
    workload: Annotated[Any, ArgumentsOf(workload_function, "workload_arguments")] = None
    workload_arguments: dict[str, Any] | None = None
    device: str = "cpu"

    def load(self, dataset: Dataset) -> nn.Module:
        """The network for a data set, trained or read, in evaluation mode.

        Raises:
            UsageError: It cannot be had.
        """
        raise NotImplementedError

    def workload_on(self, data: DataOptions) -> Workload:
        """The user's own workload, or the network on the data set, on the device.

        Raises:
            UsageError: It cannot be had, or is asked in two ways, or there is no such device.
        """
        device_named(self.device)  # before anything is trained
        workload = self._workload_on(data)
        return workload if self.device == "cpu" else workload.to(self.device)

    def _workload_on(self, data: DataOptions) -> Workload:
        if self.workload is None:
            if self.workload_arguments:
                raise UsageError("workload_arguments are for a function that workload names; give that too")
            dataset = data.load()
            if self.model is not None and ":" in self.model:
                dataset = dataset.row_major()
            network = self.load(dataset)
            work = workload_of(network, dataset)
            check_answers(
                lambda images: work.answers(work.network, images),
                dataset.train.subset(slice(0, 2)).images,
                dataset.n_classes,
            )
            return work
        for group in (self, data):
            for field in dataclasses.fields(group):
                if field.name not in _OF_BOTH and getattr(group, field.name) != field.default:
                    raise UsageError(f"a workload brings its own network and data; leave out --problem.{field.name}")
        return own_workload(self.workload, seed=self.model_seed, arguments=self.workload_arguments)


@option_group
class TrainedNetworkOptions(NetworkOptions):
    """The same of a network that is trained for some epochs where it has no checkpoint.

    Args:
        epochs: Epochs of training, where the network is trained; by default the task's.
    """

    epochs: Epochs | None = None

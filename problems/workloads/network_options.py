"""Options of the network that every task takes: its name or a user's own, its weights, its training."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from torch import nn

from opt.console.errors import UsageError
from opt.console.option_groups import option_group
from opt.console.parameters import ArgumentsOf
from opt.console.ranges import Epochs, Seed
from problems.data.sets.data_options import DataOptions
from problems.data.sets.example_set import ExampleSet
from problems.networks.architectures.named_networks import is_named
from problems.workloads.devices import device_named
from problems.workloads.of_dataset import workload_of
from problems.workloads.own_workload import own_workload, workload_function
from problems.workloads.trained_networks import trained
from problems.workloads.workload import Workload

_OF_BOTH = ("workload", "workload_arguments", "network_seed", "device", "n_test")
"""Options of a network that a workload of the user's knows too."""


@option_group
class NetworkOptions:
    """The network that is compressed.

    Args:
        workload: Network, data, loss and metrics of your own in place of all these: FILE.py:NAME or package.module:NAME
            of a `Workload` or a function that returns one. Arguments of the function are options of their own,
            --problem.workload.NAME; --help shows them beside it.
        workload_arguments: The same arguments together, as a mapping by name.
        network: Its name: mlp-W-W of any widths, lenet-300-100, lenet-5-same, lenet-5-valid, lenet-5-padded, snowfall,
            conv-2, conv-4, conv-6, strided-cnn, resnet-20, resnet-32, resnet-56, vgg-small, mobilenet-v2, vit-tiny,
            text-transformer; timm:NAME or torchvision:NAME; or a function or class of your own without required
            arguments, FILE.py:NAME or package.module:NAME.
        checkpoint: File with its weights, of safetensors or of torch.save; by default it is trained.
        network_seed: Seed of its weights and training; same-as-run makes each run compress another network.
        device: Where network and examples lie while they are evaluated: cpu, cuda, cuda:1, mps.
    """

    FORMER: ClassVar[Mapping[str, str]] = {"model": "network", "model_seed": "network_seed"}
    FORMER_NETWORKS: ClassVar[Mapping[str, str]] = {}
    """Names that networks had in this task, with those of now."""

    workload: Annotated[Any, ArgumentsOf(workload_function, "workload_arguments")] = None
    workload_arguments: dict[str, Any] | None = None
    network: str = "snowfall"
    checkpoint: str | None = None
    network_seed: Seed = 0
    device: str = "cpu"

    def network_on(self, data: ExampleSet) -> nn.Module:
        """The network for a data set, trained or read, in evaluation mode.

        Raises:
            UsageError: It cannot be had, or does not fit the data.
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
            examples = self.examples_of(data)
            return workload_of(self.network_on(examples), examples, name=self.network)
        for group in (self, data):
            for field in dataclasses.fields(group):
                if field.name not in _OF_BOTH and getattr(group, field.name) != field.default:
                    raise UsageError(f"a workload brings its own network and data; leave out --problem.{field.name}")
        work = own_workload(self.workload, seed=self.network_seed, arguments=self.workload_arguments)
        if data.n_test is None:
            return work
        work = copy.copy(work)  # the user's own stays as it is
        work.test = work.test.subset(slice(0, data.n_test))
        return work

    def examples_of(self, data: DataOptions) -> ExampleSet:
        """The data, laid out as the network takes it.

        Raises:
            UsageError: It cannot be had; or the network goes by a name that it had in this task.
        """
        if (now := self.FORMER_NETWORKS.get(str(self.network))) is not None:
            raise UsageError(f"network {self.network} is now called {now}; give --problem.network {now}")
        examples = data.load()
        # a user's network may use `view`, which takes images in the order of their axes alone
        return examples if is_named(str(self.network)) else examples.row_major()

    @classmethod
    def of_former(cls, recorded: dict[str, Any]) -> dict[str, Any]:
        """Recorded options under the names and with the values of now."""
        present = dict(recorded)
        model, seed = present.pop("model", None), present.pop("model_seed", None)
        if model is not None:
            present["network"] = model
        elif recorded.get("network") is None and "model" in recorded:
            present.pop("network", None)
        if seed is not None:
            present["network_seed"] = seed
        if present.get("network") in cls.FORMER_NETWORKS:
            present["network"] = cls.FORMER_NETWORKS[present["network"]]
        return present


@option_group
class TrainedNetworkOptions(NetworkOptions):
    """The same of a network that is trained for some epochs where it has no checkpoint.

    Args:
        epochs: Epochs of its training; by default the network's own: 5 for most, more on few examples.
    """

    epochs: Epochs | None = None

    def network_on(self, data: ExampleSet) -> nn.Module:
        """The network for a data set, trained or read, in evaluation mode.

        Raises:
            UsageError: As `trained`.
        """
        return trained(
            self.network, data, seed=self.network_seed, epochs=self.epochs, checkpoint=self.checkpoint
        )  # fmt: skip

"""A workload of a data set and a network that is trained on it."""

from __future__ import annotations

from torch import nn

from problems.data.sets.example_set import ExampleSet
from problems.networks.architectures.named_networks import Adam, NamedNetwork, is_named, named_network
from problems.networks.training.schedule import Schedule
from problems.workloads.trained_networks import USUAL_LOSSES, epochs_of
from problems.workloads.workload import Recipe, Workload


def workload_of(network: nn.Module, data: ExampleSet, *, name: str | None = None) -> Workload:
    """The network, judged on the data's own splits by the usual loss and metrics of its targets.

    Args:
        network: Trained on the data.
        data: The data.
        name: The network's, whose recipe trains it further; None for one of no name, trained by Adam.

    Raises:
        UsageError: The network does not take the inputs.
    """
    known: NamedNetwork | None = named_network(name) if name is not None and is_named(name) else None
    training = Adam() if known is None else known.training
    work = Workload(
        network,
        train=data.train,
        search=data.search,
        test=data.test,
        loss=USUAL_LOSSES[data.kind],
        recipe=_recipe(training, data),
        name=data.name,
        are_apart=data.images is not None,
    )
    work.notes += data.notes
    if data.images is None:
        work.notes.append(f"inputs of {data.name}: {data.prepared}")
    work.dataset, work.data_fingerprint = data.images, data.fingerprint
    return work


def _recipe(training: Adam | Schedule, data: ExampleSet) -> Recipe:
    n = epochs_of(training, data)
    batch_size = min(training.batch_size, max(10, len(data.train) // 100))
    if isinstance(training, Adam):
        return Recipe(epochs=n, lr=training.lr, batch_size=batch_size)
    return Recipe(
        epochs=n,
        lr=training.lr,
        batch_size=batch_size,
        optimiser="sgd",
        momentum=training.momentum,
        weight_decay=training.weight_decay,
    )

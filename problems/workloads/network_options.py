"""Options of the network that every task with a network of the user's takes: where it is from, and its training."""

from __future__ import annotations

from opt.console.option_groups import option_group
from opt.console.ranges import Epochs, Seed


@option_group
class NetworkOptions:
    """The network that is compressed.

    Args:
        model: A network of your own, as package.module:function without arguments; by default the task's.
        checkpoint: Weights of the network, a safetensors file; by default it is trained.
        model_seed: Seed of the network's weights and training; same-as-run makes each run compress another network.
    """

    model: str | None = None
    checkpoint: str | None = None
    model_seed: Seed = 0


@option_group
class TrainedNetworkOptions(NetworkOptions):
    """The same of a network that is trained for some epochs where it has no checkpoint.

    Args:
        epochs: Epochs of training, where the network is trained; by default the task's.
    """

    epochs: Epochs | None = None

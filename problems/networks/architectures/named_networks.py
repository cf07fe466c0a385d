"""Every network that goes by a name, once: how it is built for a data set, and how it is trained here."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from opt.console.errors import UsageError, nearest
from opt.problem.loading import called, load_named
from problems.data.preparation import channel_statistics
from problems.data.sets.example_set import ExampleSet
from problems.networks.architectures.fully_connected import FullyConnected
from problems.networks.architectures.lottery_networks import build_architecture
from problems.networks.architectures.mobilenet import MobileNetV2
from problems.networks.architectures.package_networks import PACKAGES, build_of_package
from problems.networks.architectures.padded_lenet5 import PaddedLeNet5
from problems.networks.architectures.resnet import ResNet
from problems.networks.architectures.snowfall import Snowfall
from problems.networks.architectures.transformer import TextTransformer, VisionTransformer
from problems.networks.architectures.valid_lenet5 import ValidLeNet5
from problems.networks.architectures.vgg import SmallVGG
from problems.networks.training.schedule import Schedule

MLP = re.compile(r"mlp((?:-\d{1,5})+)")
"""Fully connected networks by the widths of their hidden layers: mlp-256-256."""
_MOST_LAYERS = 32
FEW_EXAMPLES = 5000
"""A smaller training split gets more epochs of smaller batches, or its epochs are too few steps."""


@dataclass(frozen=True)
class Adam:
    """Training by Adam.

    Args:
        epochs: Passes over the training examples.
        few_epochs: The same where there are few of them.
        lr: Step size.
        batch_size: Examples a step, where there are many.
        patience: Stop after so many epochs without a lower validation loss; 0 trains all epochs.
        validation: Share of the training examples to validate on.
    """

    epochs: int = 5
    few_epochs: int = 30
    lr: float = 0.001
    batch_size: int = 128
    patience: int = 0
    validation: float = 0.0


@dataclass(frozen=True)
class NamedNetwork:
    """A network that goes by a name.

    Args:
        about: What it is, in a few words.
        build: `(data, seed=..., **options)` gives it at its initial weights.
        training: How it is trained here where no checkpoint is given.
        options: The options that it takes, with their defaults.
        former: Names that it had.
        takes: What its inputs are: images, tokens, or any one tensor.
    """

    about: str
    build: Callable[..., nn.Module]
    training: Adam | Schedule
    options: Mapping[str, Any]
    former: tuple[str, ...] = ()
    takes: str = "images"


def _mlp(data: ExampleSet, *, widths: tuple[int, ...], seed: int) -> nn.Module:
    return FullyConnected((math.prod(data.input_shape), *widths, data.n_outputs), seed=seed)


def _lottery(data: ExampleSet, *, name: str, seed: int, width: float, bias: bool | None, init: Any) -> nn.Module:
    return build_architecture(
        name, data.input_shape, data.n_outputs, seed=seed, width=width, bias=bias, init=init
    )  # fmt: skip


def _plain(data: ExampleSet, *, kind: Callable[..., nn.Module], seed: int, **options: Any) -> nn.Module:
    return kind(data.input_shape, data.n_outputs, seed=seed, **options)


def _standardised(data: ExampleSet, *, kind: Callable[..., nn.Module], seed: int, **options: Any) -> nn.Module:
    mean, std = channel_statistics(data.images) if data.images is not None else data.statistics
    return kind(data.input_shape, data.n_outputs, mean=mean, std=std, seed=seed, **options)


def _text(data: ExampleSet, *, seed: int) -> nn.Module:
    return TextTransformer(data.n_words, data.input_shape[0], data.n_outputs, seed=seed)


_LOTTERY = {"width": 1.0, "bias": None, "init": "uniform"}


def _of_lottery(name: str, about: str, *, takes: str = "images", former: tuple[str, ...] = ()) -> NamedNetwork:
    return NamedNetwork(about, functools.partial(_lottery, name=name), Adam(), _LOTTERY, former, takes)


def _resnet(depth: int, former: tuple[str, ...] = ()) -> NamedNetwork:
    build = functools.partial(_standardised, kind=ResNet, blocks=(depth - 2) // 6)
    training = Schedule(epochs=5, lr=0.2, batch_size=128, weight_decay=5e-4, warm_up=1.0, decay="linear")
    return NamedNetwork(f"residual network of {depth} layers", build, training, {}, former)


NETWORKS: dict[str, NamedNetwork] = {
    "lenet-300-100": _of_lottery("lenet-300-100", "300 and 100 hidden units, without biases", takes="any"),
    "lenet-5-same": _of_lottery(
        "lenet-5", "LeNet-5 whose first 5 x 5 convolution keeps the image's size", former=("lenet-5",)
    ),
    "lenet-5-valid": NamedNetwork(
        "LeNet-5 of 5 x 5 convolutions without padding; small images are enlarged",
        functools.partial(_plain, kind=ValidLeNet5),
        Adam(epochs=10, validation=0.1, batch_size=100),
        {},
        ("lenet5",),
    ),
    "lenet-5-padded": NamedNetwork(
        "LeNet-5 of 3 x 3 convolutions on images padded to 32 pixels",
        functools.partial(_standardised, kind=PaddedLeNet5),
        Schedule(epochs=8, lr=0.05, batch_size=64, weight_decay=5e-4, warm_up=0.5, decay="linear"),
        {},
        ("lenet5",),
    ),
    "snowfall": NamedNetwork(
        "two convolutions and one dense layer, 1,708 parameters",
        functools.partial(_plain, kind=Snowfall),
        Adam(lr=0.005),
        {},
    ),
    "conv-2": _of_lottery("conv-2", "two 3 x 3 convolutions of 64, then 256, 256"),
    "conv-4": _of_lottery("conv-4", "four 3 x 3 convolutions of 64 to 128, then 256, 256"),
    "conv-6": _of_lottery("conv-6", "six 3 x 3 convolutions of 64 to 256, then 256, 256"),
    "strided-cnn": _of_lottery("strided-cnn", "four 3 x 3 convolutions without padding, two of stride 2"),
    "resnet-20": _resnet(20, ("resnet20",)),
    "resnet-32": _resnet(32),
    "resnet-56": _resnet(56),
    "vgg-small": NamedNetwork(
        "six 3 x 3 convolutions of 32 to 128 with batch norms",
        functools.partial(_standardised, kind=SmallVGG),
        Schedule(epochs=4, lr=0.1, batch_size=128, weight_decay=5e-4, warm_up=1.0, decay="linear"),
        {},
        ("vgg",),
    ),
    "mobilenet-v2": NamedNetwork(
        "MobileNetV2 for images of 32 x 32 pixels",
        functools.partial(_plain, kind=MobileNetV2),
        Adam(epochs=5, few_epochs=15, lr=0.002, validation=0.02, batch_size=100),
        {"width": 0.25},
        ("mobilenetv2",),
    ),
    "vit-tiny": NamedNetwork(
        "patches as tokens, two blocks of attention of width 48",
        functools.partial(_plain, kind=VisionTransformer),
        Adam(epochs=5, few_epochs=30, lr=0.002),
        {},
    ),
    "text-transformer": NamedNetwork(
        "embedding and two blocks of attention of width 32",
        _text,
        Adam(epochs=5, few_epochs=15, lr=0.003),
        {},
        takes="tokens",
    ),
}
"""Networks by name, and `mlp-W-W-...` of any widths."""

NAMES = ("mlp-256-256", *NETWORKS)
FORMS = "timm:NAME, torchvision:NAME, FILE.py:FUNCTION or package.module:FUNCTION"


def named_network(name: str) -> NamedNetwork:
    """The network of that name.

    Raises:
        UsageError: There is none, or it had that name before: with the name that it has now.
    """
    if (widths := MLP.fullmatch(name)) is not None:
        sizes = tuple(int(width) for width in widths[1].split("-")[1:])
        if not all(1 <= size <= 10_000 for size in sizes) or len(sizes) > _MOST_LAYERS:
            raise UsageError(f"widths of {name} must be from 1 to 10000, at most {_MOST_LAYERS} of them")
        training = Adam(epochs=20, few_epochs=20, patience=3, validation=0.1, batch_size=100)
        return NamedNetwork(
            "fully connected", functools.partial(_mlp, widths=sizes), training, {}, takes="any"
        )  # fmt: skip
    if name in NETWORKS:
        return NETWORKS[name]
    if now := [known for known, network in NETWORKS.items() if name in network.former]:
        raise UsageError(f"network {name} is now called {' or '.join(now)}; give --problem.network {now[0]}")
    known_names = f"{', '.join(NAMES)} (mlp of any widths), {FORMS}"
    raise UsageError(f"network must be one of {known_names}, got {name!r:.300}{nearest(name, NAMES)}")


def is_named(network: str) -> bool:
    """Whether a text is a name of ours, and neither a package's nor a user's network."""
    return ":" not in network


def build_network(network: str, data: ExampleSet, *, seed: int, **options: Any) -> nn.Module:
    """A network at its initial weights, for a data set.

    Args:
        network: A name of `NETWORKS`, `mlp-W-W`, `timm:NAME`, `torchvision:NAME`, or a function or class of the user's
            without required arguments, `FILE.py:NAME` or `package.module:NAME`.
        data: Gives the shape of inputs, their statistics, and the number of answers.
        seed: Of the initial weights; torch's global generator is put back behind it.
        options: Of named networks (width, bias, init); None takes the network's own.

    Raises:
        UsageError: No such network, it does not take such inputs, or it has no such option.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if not is_named(network):
        if given:
            raise UsageError(f"network {network} has no option {next(iter(given))}; it is for some named networks")
        return _of_others(network, data, seed)
    known = named_network(network)
    if unknown := [name for name in given if name not in known.options]:
        has = f"; it has {', '.join(known.options)}" if known.options else ""
        raise UsageError(f"network {network} has no option {unknown[0]}{has}")
    _check_inputs(network, known, data)
    try:
        with torch.random.fork_rng(devices=[]):  # layers draw when they are made, though they are drawn anew
            return known.build(data, seed=seed, **(dict(known.options) | given))
    except (ValueError, RuntimeError, IndexError) as error:
        if isinstance(error, UsageError):
            raise
        reason = " ".join(str(error).split()).removesuffix(".")
        raise UsageError(f"data {data.name} does not fit network {network}: {reason}; take another") from None


def _check_inputs(name: str, known: NamedNetwork, data: ExampleSet) -> None:
    shape = data.input_shape
    is_image = len(shape) == 3 and not data.is_tokens
    what = "tokens" if data.is_tokens else "images" if is_image else f"inputs of shape {shape}"
    fits = {"images": is_image, "tokens": data.is_tokens and len(shape) == 1, "any": not data.is_tokens}
    if not fits[known.takes]:
        wanted = {"images": "images (channels, height, width)", "tokens": "tokens (length,)", "any": "numbers"}
        raise UsageError(
            f"network {name} takes {wanted[known.takes]}, and {data.name} has {what}; take another of both"
        )


def _of_others(network: str, data: ExampleSet, seed: int) -> nn.Module:
    """A network of a package, or of the user's."""
    package, _, name = network.partition(":")
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(seed)
        if package in PACKAGES:
            return build_of_package(package, name, data.input_shape, data.n_outputs)
        found = load_named(network, "network", kinds=(nn.Module,))
        # a module is callable too, and one that stands ready is taken as it is
        built = found if isinstance(found, nn.Module) else called(found, network, "network")
    if not isinstance(built, nn.Module):
        raise UsageError(f"network {network} must return a torch.nn.Module, got {type(built).__name__}")
    return built

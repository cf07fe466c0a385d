"""Workload: what is compressed and how it is judged: network, three splits of examples, loss, metrics, recipe."""

from __future__ import annotations

import copy
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from opt.problem import Objective, maximise, minimise
from problems.data.data import Dataset
from problems.data.examples import Examples, Inputs, as_examples, call, mapped
from problems.data.splits import check_apart, split_off
from problems.networks.layers.plain_attention import plain_attention
from problems.workloads.devices import device_named
from problems.workloads.identity import code_of, update_with_network
from problems.workloads.losses import (
    LossFunction,
    Metric,
    loss_named,
    metrics_named,
    notes_on_senses,
    usual_loss,
    usual_pick,
    value_of,
)
from problems.workloads.plain_network import plain_network, preserved, state_copied, unwrapped
from problems.workloads.recipe import Recipe

BATCH = 500
_FEW = 32
_MANY = 256
_CPU = torch.device("cpu")


@dataclass(eq=False)
class Workload:
    """What is compressed, and how it is judged.

    Give all three splits, or `train` and `test`, or one `data` that is split by seed. Each may be what `as_examples`
    takes: a pair of tensors or arrays, a torch `Dataset`, a `DataLoader`. The user's network is copied and left as
    it is.

    Args:
        network: A trained network; any `forward` of tensors. DataParallel and compiled modules are unwrapped.
        data: Examples that all splits are taken from, in place of `train`.
        train: For training and calibration.
        search: What a search evaluates on; split off the training examples where it is not given.
        test: Held out, measured once at the end; likewise.
        loss: By name (cross-entropy, binary-cross-entropy, mse, mae), or a function `(outputs, targets)` that gives
            a mean or (n,) values; by default what the targets ask for.
        metrics: Names, `Metric` objects or functions; by default the usual ones of the loss.
        recipe: How the network is trained further; None for tasks that train to refuse.
        pick: From a structure that `forward` returns to what is judged; by default the tensor, or `logits` of one.
        split_seed: Of the splits that are made here.
        n_search: Examples of the search split, or their share; by default a fifth of those at hand, at most 10,000.
        n_test: Likewise of the test split.
        name: For tables and files; by default the network's class.
        are_apart: Whether the splits are known to share no example; else they are looked through.

    Attributes:
        device: Where network and examples lie; `to` moves them.
        metric: The first metric, whose values stand for the workload's quality; None where there is none.
        changes_inputs: Whether `forward` changes its inputs, and gets copies.
        changes_itself: Whether `forward` changes its own parameters or buffers, which are then put back.
        mixes_batch: Whether an example's answer depends on the batch that it stands in.
        gives_tensor: Whether `forward` returns one tensor.
        notes: What a user should know of it.
        dataset: The image data set that its splits are of; None for a user's own examples.

    Raises:
        UsageError: Something does not fit: with what was expected, what came, and what to do.
    """

    network: nn.Module
    data: Any = None
    train: Any = None
    search: Any = None
    test: Any = None
    loss: str | LossFunction | None = None
    metrics: Any = None
    recipe: Recipe | None = None
    pick: Callable[[Any], Tensor] | None = None
    split_seed: int = 0
    n_search: float | None = None
    n_test: float | None = None
    name: str = ""
    are_apart: bool = False
    notes: list[str] = field(default_factory=list, init=False)
    dataset: Dataset | None = field(default=None, init=False)
    device: torch.device = field(default=_CPU, init=False)

    def __post_init__(self) -> None:
        network = unwrapped(self.network, self.notes)
        self.name = self.name or type(network).__name__
        self.network = plain_network(network, self.notes)
        self._split()
        if self.loss is None:
            self.loss = usual_loss(self.train.targets)
        self.loss_name = self.loss if isinstance(self.loss, str) else getattr(self.loss, "__name__", "loss")
        self.loss_function = loss_named(self.loss)
        asked = self.metrics
        self.metrics = metrics_named(asked, loss=self.loss)
        self.metric: Metric | None = self.metrics[0] if self.metrics else None
        self._as_float32()
        self._check_network()
        self._unpack_attention()
        self._check_targets()
        self._judged_once()
        few = self.search.subset(slice(0, min(len(self.search), _MANY)))
        self.notes += notes_on_senses(asked, self.metrics, self.outputs(self.network, few), few.targets)

    # -- splits -------------------------------------------------------------------------------

    def _split(self) -> None:
        if (self.data is None) == (self.train is None):
            raise UsageError("a workload needs examples: give data, or train, and of these one")
        self.train = as_examples(self.data if self.train is None else self.train)
        self.data = None
        are_given = self.search is not None and self.test is not None
        for name in ("test", "search"):  # what is held out is taken away first
            if getattr(self, name) is None:
                size = self.n_test if name == "test" else self.n_search
                self.train, part = split_off(self.train, size, seed=self.split_seed, name=name)
                setattr(self, name, part)
            else:
                setattr(self, name, as_examples(getattr(self, name)))
        for name in ("search", "test"):
            ours, theirs = self._kinds(self.train), self._kinds(getattr(self, name))
            if ours != theirs:
                raise UsageError(f"{name} examples must be like those of train, {ours}, got {theirs}")
        if not self.are_apart:
            check_apart(self.train, self.search, self.test, are_given=are_given)

    @staticmethod
    def _kinds(examples: Examples) -> str:
        parts = [f"{name} {tensor.dtype}".replace("torch.", "") for name, tensor in examples.parts()]
        return ", ".join([*parts, f"targets {examples.targets.dtype}".replace("torch.", "")])

    def splits(self) -> Iterator[tuple[str, Examples]]:
        """The splits by name."""
        yield from (("train", self.train), ("search", self.search), ("test", self.test))

    def to(self, device: str) -> Workload:
        """The same workload with network and examples on a device; this one stays where it is.

        Raises:
            UsageError: This machine has no such device, or the network does not run there.
        """
        target = device_named(device)
        moved = copy.copy(self)
        moved.device = target
        moved.network = copy.deepcopy(self.network).to(target)
        for name, split in self.splits():
            setattr(moved, name, split.to(target))
        try:
            with torch.no_grad():
                moved.answers(moved.network, moved.example)
        except Exception as error:  # a user's forward may make tensors where they cannot be used
            reason = " ".join(str(error).split()).partition(". ")[0]
            raise UsageError(
                f"the network does not run on {device}: {reason}; let its forward make tensors on the device of its "
                "inputs, or take --problem.device cpu"
            ) from None
        return moved

    @property
    def example(self) -> Inputs:
        """Inputs of two search examples, for tracing."""
        return self.search.subset(slice(0, 2)).inputs

    # -- answers ------------------------------------------------------------------------------

    def answers(self, network: nn.Module, inputs: Inputs) -> Tensor:
        """What is judged of a network's outputs for a batch of inputs, which are left as they are."""
        if self.changes_inputs:
            inputs = mapped(inputs, Tensor.clone)
        with self.undisturbed(network):
            return self.picked(call(network, inputs)).detach()

    def undisturbed(self, network: nn.Module) -> AbstractContextManager[None]:
        """While open, a network may change its own state; behind it that is put back, where it does so."""
        return preserved(network) if self.changes_itself else nullcontext()

    def picked(self, outputs: Any) -> Tensor:
        """What is judged of outputs: by `pick`, or the tensor itself, or its `logits`.

        Raises:
            UsageError: There is no tensor to judge.
        """
        outputs = usual_pick(outputs) if self.pick is None else self.pick(outputs)
        if not isinstance(outputs, Tensor):
            raise UsageError(
                f"the network returns a {type(outputs).__name__}: give the workload a function `pick` that takes the "
                "tensor to judge from it"
            )
        return outputs

    @torch.no_grad()
    def outputs(self, network: nn.Module, examples: Examples, *, batch_size: int = BATCH) -> Tensor:
        """A network's answers for all examples, (n, ...), on the processor."""
        return torch.cat([self.answers(network, batch.inputs).cpu() for batch in examples.batches(batch_size)])

    def judge(self, network: nn.Module, examples: Examples, *, batch_size: int = BATCH) -> dict[str, float]:
        """The loss and every metric of a network on examples, by name, by a plain loop over batches.

        Raises:
            UsageError: The network, the loss or a metric fails.
        """
        return self.judge_outputs(self.outputs(network, examples, batch_size=batch_size), examples)

    def judge_outputs(self, outputs: Tensor, examples: Examples) -> dict[str, float]:
        """The loss and every metric of answers, (n, ...), by name, computed on the processor."""
        outputs, targets = outputs.cpu(), examples.targets.cpu()
        values = {"loss": self.loss_of(outputs, targets)}
        for metric in self.metrics:
            name = f"metric {metric.name!r}"
            values[metric.name] = float(value_of(metric.function, name, outputs, targets).mean())
        return values

    def loss_of(self, outputs: Tensor, targets: Tensor) -> float:
        """The mean loss of answers, (n, ...)."""
        return float(value_of(self.loss_function, f"loss {self.loss_name!r}", outputs, targets).mean())

    def quality(self, values: Mapping[str, float]) -> float:
        """What is minimised of `judge`'s values: the first metric's error, or the loss."""
        if self.metric is None:
            return values["loss"]
        value = values[self.metric.name]
        if self.metric.sense == minimise:
            return value
        return self.metric.best - value if self.metric.best is not None else -value

    @property
    def error_objective(self) -> Objective:
        """The objective that stands for the workload's quality: 1 - accuracy as "error", or a metric by its name."""
        if self.metric is None:
            return Objective("loss", minimise)
        if self.metric.sense == maximise and self.metric.best is not None:
            name = "error" if self.metric.name == "accuracy" else f"{self.metric.name}_loss"
            return Objective(
                name, minimise, unit=self.metric.unit, worst=1.0 if self.metric.unit == "fraction" else None
            )
        return Objective(self.metric.name, self.metric.sense, unit=self.metric.unit)

    # -- identity -----------------------------------------------------------------------------

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the network's code and tensors, its answers on a few examples, the splits, loss and metrics.

        Equal tensors under another `forward` are another workload.
        """
        digest = hashlib.sha256()
        update_with_network(digest, self.network)
        few = self.train.subset(slice(0, _FEW))
        with torch.no_grad():
            digest.update(self.answers(self.network, few.inputs).cpu().double().contiguous().numpy().tobytes())
        for _, split in self.splits():
            split.update(digest)
        for function in (self.loss_function, *(metric.function for metric in self.metrics), self.pick):
            digest.update(code_of(function).encode())
        return digest.hexdigest()

    @functools.cached_property
    def data_fingerprint(self) -> str:
        """SHA-256 that names network, examples and measures together; of a named data set that of its contents."""
        return self.fingerprint

    # -- checks -------------------------------------------------------------------------------

    def _as_float32(self) -> None:
        """Take other precisions to float32, that of the examples; a network that casts them itself stays as it is."""
        kinds = {p.dtype for p in self.network.parameters() if p.is_floating_point()} - {torch.float32}
        if not kinds or (kinds == {torch.float64} and self._takes_examples(self.network)):
            return
        converted = copy.deepcopy(self.network).float()
        if self._takes_examples(converted):
            self.network = converted
            names = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
            self.notes.append(f"weights of {names} were converted to float32")

    def _takes_examples(self, network: nn.Module) -> bool:
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]), preserved(network):
                call(network, mapped(self.example, Tensor.clone))
        except Exception:  # a user's forward may raise anything
            return False
        return True

    def _unpack_attention(self) -> None:
        few = self.search.subset(slice(0, _FEW)).inputs
        with torch.no_grad():
            names = plain_attention(self.network, lambda: self.answers(self.network, few))
        if names:
            told = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
            self.notes.append(f"attention of four linear layers: {told}")

    def _check_network(self) -> None:
        self.changes_inputs = self.changes_itself = self.mixes_batch = self.gives_tensor = False
        few = self.search.subset(slice(0, _FEW))
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                first = self._looked_at(few)
        except UsageError:
            raise
        except Exception as error:  # a user's forward may raise anything
            shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in few.parts())
            reason = " ".join(str(error).split())
            raise UsageError(
                f"the network does not take the examples ({shapes}): {type(error).__name__}: {reason}"
            ) from None
        if not bool(first.isfinite().all()):
            raise UsageError("the network's answers are not finite; give other weights, or scale the inputs")
        if self.changes_inputs:
            self.notes.append("forward changes its input: it is given copies")
        if self.changes_itself:
            self.notes.append("forward changes its own buffers: they are put back after each batch")
        if self.mixes_batch:
            self.notes.append(
                f"answers depend on the batch that an example stands in: it is judged in batches of {BATCH}, in the "
                "order of the examples"
            )

    def _looked_at(self, few: Examples) -> Tensor:
        """The network's answers for a few examples, while it is seen what else it does."""
        n = len(few)
        inputs, state = mapped(few.inputs, Tensor.clone), state_copied(self.network)
        outputs = call(self.network, inputs)
        self.gives_tensor = isinstance(outputs, Tensor)
        first = self.picked(outputs).detach().clone()
        self.changes_inputs = not _equal(few.inputs, inputs)
        self.changes_itself = False
        for tensor, values in state:
            if not _same(tensor, values):
                self.changes_itself = True
                tensor.copy_(values)
        if first.ndim == 0 or (len(first) != n and n > 1):
            raise UsageError(f"the network must give one answer an example, got {tuple(first.shape)} for {n}")
        if not _same(self.answers(self.network, few.inputs), first):
            raise UsageError(
                "the network answers the same examples differently each time, in evaluation mode: make its dropout, "
                "noise or memory follow `self.training`"
            )
        if n > 2:
            pair = self.answers(self.network, few.subset(slice(0, 2)).inputs).double()
            tolerance = 1e-3 * float(first.double().abs().nan_to_num().max())
            self.mixes_batch = pair.shape != first[:2].shape or not torch.allclose(
                pair, first[:2].double(), rtol=1e-2, atol=tolerance, equal_nan=True
            )
        return first

    def _check_targets(self) -> None:
        if self.loss_name != "cross-entropy" or not isinstance(self.loss, str):
            return
        with torch.no_grad():
            n_classes = self.answers(self.network, self.example).shape[1:2]
        for name, split in self.splits():
            targets = split.targets
            if targets.is_floating_point():
                raise UsageError("cross-entropy needs classes as whole numbers; for numbers give loss mse or mae")
            least, largest = int(targets.min()), int(targets.max())
            if not n_classes or least < 0 or largest >= n_classes[0]:
                answers = f"{n_classes[0]} answers" if n_classes else "one answer"
                raise UsageError(
                    f"targets of {name} must be classes from 0 to {max(0, (n_classes or [1])[0] - 1)}, as the network "
                    f"gives {answers}, got {least} to {largest}"
                )

    def _judged_once(self) -> None:
        few = self.search.subset(slice(0, min(len(self.search), 64)))
        for name, value in self.judge(self.network, few).items():
            if not math.isfinite(value):
                what = f"loss {self.loss_name!r}" if name == "loss" else f"metric {name!r}"
                raise UsageError(
                    f"{what} must be finite, and it is {value} for the network as it is; check the targets"
                )


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def _equal(a: Inputs, b: Inputs) -> bool:
    if isinstance(a, dict):
        assert isinstance(b, dict)
        return all(torch.equal(a[name], b[name]) for name in a)
    if isinstance(a, tuple):
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert isinstance(b, Tensor)
    return torch.equal(a, b)

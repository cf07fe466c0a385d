"""Workload: what is compressed and how it is judged: network, three splits of examples, loss, metrics, recipe."""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from opt.problem import Objective, maximise, minimise
from problems.data.examples import Examples, Inputs, as_examples, call, mapped
from problems.networks.layers.baking import bake
from problems.workloads.losses import LossFunction, Metric, loss_named, metrics_named, usual_loss, value_of
from problems.workloads.splits import check_apart, split_off

BATCH = 500
_FEW = 8


@dataclass(frozen=True)
class Recipe:
    """How a network is trained further.

    Args:
        epochs: Passes over the training examples.
        lr: Learning rate at the beginning.
        batch_size: Examples a step; a last batch of one joins the one before.
        optimiser: "adam" or "sgd".
        momentum: Of sgd.
        weight_decay: L2 decay of weights.
        train: A function of the user's, `(network, examples, epochs, seed) -> None`, in place of all this.
    """

    epochs: int = 5
    lr: float = 0.001
    batch_size: int = 100
    optimiser: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    train: Callable[[nn.Module, Examples, int, int], None] | None = None


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
        metric: The first metric, whose values stand for the workload's quality; None where there is none.
        changes_inputs: Whether `forward` changes its inputs, and gets copies.
        gives_tensor: Whether `forward` returns one tensor.
        notes: What a user should know of it.

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

    def __post_init__(self) -> None:
        self.network = _plain_network(self.network, self.notes)
        self._split()
        self.name = self.name or type(self.network).__name__
        if self.loss is None:
            self.loss = usual_loss(self.train.targets)
        self.loss_name = self.loss if isinstance(self.loss, str) else getattr(self.loss, "__name__", "loss")
        self.loss_function = loss_named(self.loss)
        self.metrics = metrics_named(self.metrics, loss=self.loss)
        self.metric: Metric | None = self.metrics[0] if self.metrics else None
        self._as_float32()
        self._check_network()
        self._check_targets()
        self._judged_once()

    # -- splits -------------------------------------------------------------------------------

    def _split(self) -> None:
        if (self.data is None) == (self.train is None):
            raise UsageError("a workload needs examples: give data, or train, and of these one")
        self.train = as_examples(self.data if self.train is None else self.train)
        self.data = None
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
            check_apart(self.train, self.search, self.test)

    @staticmethod
    def _kinds(examples: Examples) -> str:
        parts = [f"{name} {tensor.dtype}".replace("torch.", "") for name, tensor in examples.parts()]
        return ", ".join([*parts, f"targets {examples.targets.dtype}".replace("torch.", "")])

    def splits(self) -> Iterator[tuple[str, Examples]]:
        """The splits by name."""
        yield from (("train", self.train), ("search", self.search), ("test", self.test))

    @property
    def example(self) -> Inputs:
        """Inputs of two search examples, for tracing."""
        return self.search.subset(slice(0, 2)).inputs

    # -- answers ------------------------------------------------------------------------------

    def answers(self, network: nn.Module, inputs: Inputs) -> Tensor:
        """What is judged of a network's outputs for a batch of inputs, which are left as they are."""
        if self.changes_inputs:
            inputs = mapped(inputs, Tensor.clone)
        return self.picked(call(network, inputs))

    def picked(self, outputs: Any) -> Tensor:
        """What is judged of outputs: by `pick`, or the tensor itself, or its `logits`.

        Raises:
            UsageError: There is no tensor to judge.
        """
        if self.pick is not None:
            outputs = self.pick(outputs)
        elif isinstance(outputs, Mapping) and "logits" in outputs:
            outputs = outputs["logits"]
        elif not isinstance(outputs, Tensor) and isinstance(getattr(outputs, "logits", None), Tensor):
            outputs = outputs.logits
        if not isinstance(outputs, Tensor):
            raise UsageError(
                f"the network returns a {type(outputs).__name__}: give the workload a function `pick` that takes the "
                "tensor to judge from it"
            )
        return outputs

    @torch.no_grad()
    def outputs(self, network: nn.Module, examples: Examples, *, batch_size: int = BATCH) -> Tensor:
        """A network's answers for all examples, (n, ...)."""
        return torch.cat([self.answers(network, batch.inputs) for batch in examples.batches(batch_size)])

    def judge(self, network: nn.Module, examples: Examples, *, batch_size: int = BATCH) -> dict[str, float]:
        """The loss and every metric of a network on examples, by name, by a plain loop over batches.

        Raises:
            UsageError: The network, the loss or a metric fails.
        """
        return self.judge_outputs(self.outputs(network, examples, batch_size=batch_size), examples)

    def judge_outputs(self, outputs: Tensor, examples: Examples) -> dict[str, float]:
        """The loss and every metric of answers, (n, ...), by name."""
        values = {"loss": self.loss_of(outputs, examples.targets)}
        for metric in self.metrics:
            name = f"metric {metric.name!r}"
            values[metric.name] = float(value_of(metric.function, name, outputs, examples.targets).mean())
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
            digest.update(self.answers(self.network, few.inputs).double().cpu().contiguous().numpy().tobytes())
        for _, split in self.splits():
            split.update(digest)
        for function in (self.loss_function, *(metric.function for metric in self.metrics), self.pick):
            digest.update(_code_of(function).encode())
        return digest.hexdigest()

    @functools.cached_property
    def data_fingerprint(self) -> str:
        """SHA-256 that names network, examples and measures together; of a named data set that of its contents."""
        return self.fingerprint

    # -- checks -------------------------------------------------------------------------------

    def _as_float32(self) -> None:
        """Take half precision up to float32 where the examples are float32, as the processor computes anyway."""
        kinds = {p.dtype for p in self.network.parameters() if p.is_floating_point()}
        halves = {torch.float16, torch.bfloat16}
        if not kinds & halves or any(tensor.dtype in halves for _, tensor in self.search.parts()):
            return
        try:
            with torch.no_grad():
                call(self.network, mapped(self.example, Tensor.clone))
        except RuntimeError:  # it does not take float32 as it is
            self.network = self.network.float()
            self.notes.append("half-precision weights were converted to float32")

    def _check_network(self) -> None:
        self.changes_inputs = False
        self.gives_tensor = False
        inputs = self.example
        before = mapped(inputs, Tensor.clone)
        state = torch.random.get_rng_state()
        with torch.no_grad():
            try:
                first = self.answers(self.network, before)
                self.changes_inputs = not _equal(inputs, before)
                second = self.answers(self.network, mapped(inputs, Tensor.clone))
                self.gives_tensor = isinstance(call(self.network, mapped(inputs, Tensor.clone)), Tensor)
            except UsageError:
                raise
            except Exception as error:  # a user's forward may raise anything
                shapes = ", ".join(f"{name} {tuple(t.shape)}" for name, t in self.search.subset(slice(0, 2)).parts())
                reason = " ".join(str(error).split())
                raise UsageError(
                    f"the network does not take the examples ({shapes}): {type(error).__name__}: {reason}"
                ) from None
            finally:
                torch.random.set_rng_state(state)
        if not torch.equal(first, second) and not (first.isnan() & second.isnan()).any():
            raise UsageError(
                "the network answers the same examples differently each time, in evaluation mode: make its dropout "
                "or noise follow `self.training`"
            )
        if not bool(first.isfinite().all()):
            raise UsageError("the network's answers are not finite; give other weights, or scale the inputs")
        if len(first) != len(next(iter(self.search.subset(slice(0, 2)).parts()))[1]):
            raise UsageError(f"the network must give one answer an example, got {tuple(first.shape)} for 2")
        if self.changes_inputs:
            self.notes.append("forward changes its input: it is given copies")

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


def update_with_network(digest: Any, network: nn.Module) -> None:
    """Add a network to a hash: the code of its classes, its options, its tensors."""
    for kind in sorted({type(module) for module in network.modules()}, key=lambda k: (k.__module__, k.__qualname__)):
        digest.update(f"{kind.__module__}.{kind.__qualname__}\n".encode())
        if not kind.__module__.startswith("torch."):
            digest.update(_code_of(kind).encode())
    digest.update(repr(network).encode())
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())


def _code_of(function: Any) -> str:
    if function is None:
        return ""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # typed at a prompt, or compiled
        code = getattr(function, "__code__", None)
        return getattr(function, "__qualname__", type(function).__name__) + (code.co_code.hex() if code else "")


def _plain_network(network: Any, notes: list[str]) -> nn.Module:
    """A copy of the network itself in evaluation mode, out of its wrappers.

    Raises:
        UsageError: It is no module, or one that cannot be taken apart.
    """
    if not isinstance(network, nn.Module):
        raise UsageError(f"a workload's network must be a torch nn.Module, got {type(network).__name__}")
    while True:
        if isinstance(network, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            notes.append("DataParallel was unwrapped")
            network = network.module
        elif isinstance(getattr(network, "_orig_mod", None), nn.Module):
            notes.append("a compiled network was unwrapped")
            network = network._orig_mod
        else:
            break
    if isinstance(network, torch.jit.ScriptModule):
        raise UsageError("a scripted network cannot be made smaller; give the module that it was made from")
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in network.parameters()):
        raise UsageError("the network has lazy layers that have not run yet; run it once on an example first")
    plain = _copied(network).eval()
    if baked := bake(plain):
        notes.append(f"computed weights became parameters: {', '.join(baked)}")
    return plain.requires_grad_(False)


def _copied(network: nn.Module) -> nn.Module:
    """A copy of a network, also of one that holds the results of a computation, as torch's pruning leaves them."""
    computed = [
        (module, name, value)
        for module in network.modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
    try:
        for module, name, value in computed:
            vars(module)[name] = value.detach()
        return copy.deepcopy(network)
    finally:
        for module, name, value in computed:
            vars(module)[name] = value


def _equal(a: Inputs, b: Inputs) -> bool:
    if isinstance(a, dict):
        assert isinstance(b, dict)
        return all(torch.equal(a[name], b[name]) for name in a)
    if isinstance(a, tuple):
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert isinstance(b, Tensor)
    return torch.equal(a, b)

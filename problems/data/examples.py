"""Examples: inputs and targets of one split, as tensors with one first axis."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import Dataset as TorchDataset

from opt.console.errors import UsageError
from problems.data.data import Split
from problems.data.memory import check_memory, say_memory

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
"""What a network's `forward` takes: one tensor, several in order, or several by name; (n, ...) each."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs and targets of n examples.

    Args:
        inputs: (n, ...) tensor, or a tuple or dict of such, handed to `forward` as arguments or keyword arguments.
        targets: (n, ...): classes as int64 (n,), several labels as (n, n_labels) of 0 and 1, numbers as floats.

    Raises:
        UsageError: There is none, the lengths differ, or an input or target is not finite.
    """

    inputs: Inputs
    targets: Tensor

    def __post_init__(self) -> None:
        parts = dict(self.parts())
        if not parts:
            raise UsageError("examples need at least one input tensor, got none")
        for name, tensor in [*parts.items(), ("targets", self.targets)]:
            if not isinstance(tensor, Tensor):
                raise UsageError(f"examples: {name} must be a tensor, got {type(tensor).__name__}")
            if tensor.ndim == 0:
                raise UsageError(f"examples: {name} must have a first axis of examples, got a single number")
        lengths = {name: len(tensor) for name, tensor in parts.items()} | {"targets": len(self.targets)}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{n} {name}" for name, n in lengths.items())
            raise UsageError(f"examples need as many inputs as targets, got {told}")
        if not len(self.targets):
            raise UsageError("a split holds no examples; give at least one")
        for name, tensor in [*parts.items(), ("targets", self.targets)]:
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                rows = ~torch.isfinite(tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]).all(dim=1)
                raise UsageError(
                    f"{name} must be finite, and {int(rows.sum())} of {len(tensor)} examples hold NaN or infinity, "
                    f"the first is number {int(rows.nonzero()[0])}; fill or leave them out"
                )

    def __len__(self) -> int:
        return len(self.targets)

    def parts(self) -> Iterator[tuple[str, Tensor]]:
        """The input tensors by name."""
        if isinstance(self.inputs, dict):
            yield from self.inputs.items()
        elif isinstance(self.inputs, tuple):
            yield from ((f"input {k + 1}", tensor) for k, tensor in enumerate(self.inputs))
        else:
            yield "inputs", self.inputs

    def map(self, change: Callable[[Tensor], Tensor]) -> Examples:
        """The same examples with every tensor changed, targets too."""
        return Examples(mapped(self.inputs, change), change(self.targets))

    def subset(self, ids: Tensor | slice) -> Examples:
        """The examples at the given positions, in their order.

        Raises:
            UsageError: There is none.
        """
        inputs, targets = mapped(self.inputs, lambda tensor: tensor[ids]), self.targets[ids]
        if not len(targets):
            raise UsageError("a split holds no examples; give at least one")
        part = object.__new__(Examples)  # what was checked once is not looked through for each batch
        object.__setattr__(part, "inputs", inputs)
        object.__setattr__(part, "targets", targets)
        return part

    def batch(self, ids: Tensor) -> tuple[Inputs, Tensor]:
        """Inputs and targets at (b,) positions."""
        return mapped(self.inputs, lambda tensor: tensor[ids]), self.targets[ids]

    def to(self, device: torch.device | str) -> Examples:
        """The examples on a device."""
        return self.map(lambda tensor: tensor.to(device))

    def batches(self, size: int) -> Iterator[Examples]:
        """The examples in their order by `spans`."""
        for part in spans(len(self), size):
            yield self.subset(part)

    def update(self, digest: Any) -> None:
        """Add the contents to a hash."""
        for name, tensor in [*self.parts(), ("targets", self.targets)]:
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data if tensor.numel() else b"")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the contents."""
        digest = hashlib.sha256()
        self.update(digest)
        return digest.hexdigest()


def mapped(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """Inputs with every tensor changed."""
    if isinstance(inputs, dict):
        return {name: change(tensor) for name, tensor in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(change(tensor) for tensor in inputs)
    return change(inputs)


def spans(n: int, size: int) -> list[slice]:
    """Batches of n examples in their order: at most `size` each; a last one of a single example joins the one before.

    Networks that drop axes of one, or normalise by the batch, answer a single example otherwise or not at all.
    """
    starts = list(range(0, n, size))
    if size > 1 and n > size and n % size == 1:
        starts.pop()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], n], strict=True)]


def len_of(inputs: Inputs) -> int:
    """How many examples inputs hold."""
    parts = inputs.values() if isinstance(inputs, dict) else inputs if isinstance(inputs, tuple) else (inputs,)
    return len(next(iter(parts)))


def call(network: Callable[..., Any], inputs: Inputs) -> Any:
    """The network's outputs for inputs; a tuple becomes arguments, a dict keyword arguments."""
    if isinstance(inputs, dict):
        return network(**inputs)
    return network(*inputs) if isinstance(inputs, tuple) else network(inputs)


def as_examples(data: Any, *, most: int | None = None) -> Examples:
    """Examples from what people have.

    Args:
        data: `Examples`; a pair (inputs, targets) of tensors or arrays, where inputs may be a tuple or a mapping of
            them, as scikit-learn's (X, y); a torch `Dataset` of such pairs; or a `DataLoader` of batches of them.
        most: Most examples that are read of a `Dataset` or a `DataLoader`; None for all.

    Raises:
        UsageError: It is none of these, has no end, does not fit the memory, or the parts do not fit each other.
    """
    if isinstance(data, Examples):
        return data if most is None else data.subset(slice(0, most))
    if isinstance(data, DataLoader):
        return _joined(_pairs(data), most, size_of=None)
    if isinstance(data, IterableDataset):
        return _joined((_batch_of_one(pair) for pair in _pairs(data)), most, size_of=None)
    if isinstance(data, TorchDataset):
        return _from_dataset(data, most)
    if isinstance(data, (tuple, list)) and len(data) == 2:
        examples = Examples(as_inputs(data[0]), as_targets(data[1]))
        return examples if most is None else examples.subset(slice(0, most))
    raise UsageError(
        f"expected examples as (inputs, targets), a torch Dataset or a DataLoader, got {type(data).__name__}"
    )


def as_inputs(value: Any) -> Inputs:
    """Inputs from tensors or arrays, alone, in a tuple or in a mapping; numbers of other precision become float32."""
    if isinstance(value, Mapping):
        return {str(name): _as_tensor(part, f"input {name!r}") for name, part in value.items()}
    if isinstance(value, (tuple, list)) and value and all(isinstance(part, (Tensor, np.ndarray)) for part in value):
        return tuple(_as_tensor(part, f"input {k + 1}") for k, part in enumerate(value))
    return _as_tensor(value, "inputs")


def as_targets(value: Any) -> Tensor:
    """Targets from a tensor or an array: whole numbers become int64, other numbers float32."""
    tensor = _as_tensor(value, "targets")
    return tensor if tensor.is_floating_point() else tensor.long()


def _as_tensor(value: Any, name: str) -> Tensor:
    if not isinstance(value, Tensor):
        if hasattr(value, "to_numpy"):  # a pandas table or column
            value = value.to_numpy()
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise UsageError(f"{name} must be numbers, got {array.dtype}; encode words as numbers first")
        if array.dtype.kind == "u" and array.dtype.itemsize > 1:
            array = array.astype(np.int64)
        value = torch.from_numpy(np.ascontiguousarray(array))
    value = value.detach().cpu()
    return value.float() if value.dtype in (torch.float64, torch.float16, torch.bfloat16) else value


def _pairs(data: Any) -> Iterator[tuple[Any, Any]]:
    for item in data:
        if not isinstance(item, (tuple, list)) or len(item) < 2:
            raise UsageError(
                f"a data set must give pairs (inputs, targets), got {type(item).__name__}"
                + (f" of {len(item)}" if isinstance(item, (tuple, list)) else "")
            )
        # several inputs stand before the targets
        inputs = item[0] if len(item) == 2 else tuple(item[:-1])
        yield inputs, item[-1]


def _batch_of_one(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    inputs, target = pair
    return _mapped_any(inputs, lambda part: torch.as_tensor(part)[None]), torch.as_tensor(target)[None]


def _mapped_any(value: Any, change: Callable[[Any], Tensor]) -> Any:
    if isinstance(value, Mapping):
        return {name: change(part) for name, part in value.items()}
    return tuple(change(part) for part in value) if isinstance(value, (tuple, list)) else change(value)


def _from_dataset(data: Any, most: int | None) -> Examples:
    try:
        n = len(data)
    except TypeError:
        raise UsageError("a data set without a length is not read; give a DataLoader, or say how many") from None
    n = n if most is None else min(n, most)
    if not n:
        raise UsageError("a data set holds no examples; give at least one")
    first = _batch_of_one(next(_pairs([data[0]])))
    size = sum(t.numel() * t.element_size() for _, t in Examples(as_inputs(first[0]), as_targets(first[1])).parts())
    pairs = (_batch_of_one(pair) for pair in _pairs(data[k] for k in range(n)))
    return _joined(pairs, n, size_of=size * n)


def _joined(pairs: Iterator[tuple[Any, Any]], most: int | None, *, size_of: int | None) -> Examples:
    if size_of is not None:
        say_memory("the data set", size_of)
    batches: list[Examples] = []
    n = n_bytes = 0
    for inputs, targets in pairs:
        batch = Examples(as_inputs(inputs), as_targets(targets))
        n_bytes += sum(tensor.numel() * tensor.element_size() for _, tensor in batch.parts())
        check_memory(n_bytes)
        batches.append(batch)
        n += len(batch)
        if most is not None and n >= most:
            break
    if not batches:
        raise UsageError("a data set holds no examples; give at least one")
    examples = concatenated(batches)
    return examples if most is None else examples.subset(slice(0, most))


def concatenated(parts: Sequence[Examples]) -> Examples:
    """Examples of several splits, one behind the other.

    Raises:
        UsageError: Their inputs are not of one kind or shape.
    """
    names = [[name for name, _ in part.parts()] for part in parts]
    if any(other != names[0] for other in names):
        raise UsageError("examples of one data set must have the same inputs, some have others")
    try:
        targets = torch.cat([part.targets for part in parts])
        tensors = {name: torch.cat([dict(part.parts())[name] for part in parts]) for name in names[0]}
    except RuntimeError as error:
        raise UsageError(f"examples of one data set must have one shape: {error}; pad or resize them") from None
    if isinstance(parts[0].inputs, dict):
        return Examples(tensors, targets)
    if isinstance(parts[0].inputs, tuple):
        return Examples(tuple(tensors.values()), targets)
    return Examples(next(iter(tensors.values())), targets)


class ImageExamples(Examples):
    """A split of an image data set; the images become numbers when they are first asked for.

    Args:
        split: The images and labels.
    """

    def __init__(self, split: Split) -> None:
        object.__setattr__(self, "split", split)
        object.__setattr__(self, "targets", split.labels)

    split: Split

    @functools.cached_property
    def inputs(self) -> Tensor:
        """(n, c, h, w) float32 in [0, 1]."""
        return self.split.images

    def to(self, device: torch.device | str) -> Examples:
        """The images on a device."""
        split = self.split
        return ImageExamples(Split(split.pixels.to(device), split.labels.to(device), split.white))

    def subset(self, ids: Tensor | slice) -> Examples:
        """The images at the given positions, in their order."""
        return ImageExamples(self.split.subset(ids))

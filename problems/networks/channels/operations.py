"""What each of torch's operations does with labels of channels."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from problems.networks.channels.labels import Labels, Layers, combined, compressed, spanned
from problems.networks.channels.products import Products

Splitting = Literal["last", "middle", "first"]
"""Which axis keeps its channels where a view splits one axis of channels into several: the others go together."""


class Operations(Products):
    """Labels of results from labels of arguments, operation by operation.

    Labels are moved by the operation itself wherever it only moves entries, so that no index arithmetic is copied here.

    Args:
        labels: Told what goes together and what must stay.
        layers_of: Labels of a tensor.
        splitting: At views that split an axis of channels.

    Attributes:
        n_splits: Such views so far.
    """

    def __init__(self, labels: Labels, layers_of: Callable[[Any], Layers], splitting: Splitting) -> None:
        super().__init__(labels, layers_of)
        self.splitting = splitting
        self.n_splits = 0
        self._rules: dict[str, Callable[..., Layers | list[Layers]]] = {
            "convolution": self.convolution,
            "mm": self.product,
            "bmm": self.product,
            "mv": self.product_with_vector,
            "dot": self.product_of_vectors,
            "addmm": self.sum_and_product,
            "baddbmm": self.sum_and_product,
            "addmv": self.sum_and_product,
            "embedding": self.embedding,
            "_embedding_bag": self.embedding,
            "_embedding_bag_forward_only": self.embedding,
            "native_group_norm": self._group_norm,
            "glu": self._gate,
            "stack": self._stack,
            "cat": self._concatenation,
            "im2col": self.patches,
            "_pack_padded_sequence": self.last_axis,
            "_pad_packed_sequence": self.last_axis,
            "pad": self._padding,
        }

    def result(
        self, name: str, function: Any, arguments: tuple[Any, ...], named: dict[str, Any], out: Any
    ) -> list[Layers]:
        """Labels of an operation's result, one list for each tensor of it.

        Args:
            name: Of the operation in torch's dispatcher, without overload.
            function: The operation.
            arguments: By position.
            named: By name.
            out: Its result.
        """
        self.out = out
        base = name.rstrip("_") if not name.startswith("__") else name
        if base.startswith("new_"):
            return [[]]
        found: Any
        if base in self._rules:
            found = self._rules[base](*arguments, **named)
        elif base in _NORMS:
            found = self._norm(*arguments)
        elif base in _PARTS:
            found = self._parts(base, function, arguments, named)
        elif base.endswith("channel_shuffle"):
            found = self._shuffled(function, arguments, named)
        elif base in _MOVES:
            found = self._moved(function, arguments, named)
        elif base in _REDUCTIONS:
            found = self._reduced(function, arguments, named)
        else:
            found = self._entrywise(base, arguments, named)
        return found if found and isinstance(found[0], list) else [found]

    # -- moving entries -----------------------------------------------------------------------

    def _moved(self, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        source, rest = arguments[0], arguments[1:]
        outputs = list(self.out) if isinstance(self.out, (list, tuple)) else [self.out]
        results: list[Layers] = [[] for _ in outputs]
        for layer in self.layers_of(source):
            # what changed the shape in place can be repeated on the labels alone
            whole = layer.expand(source.shape) if layer.ndim == source.ndim else layer
            if function._schema.name in _VIEWS:
                moved = [whole.reshape(outputs[0].shape)]
            else:
                result = function(whole.clone() if function._schema.is_mutable else whole, *rest, **named)
                moved = list(result) if isinstance(result, (list, tuple)) else [result]
            for layers, part in zip(results, moved, strict=True):
                part = compressed(part)
                if len(spanned(part)) > max(1, len(spanned(layer))):
                    part = self._at_split(part)
                if spanned(part):
                    layers.append(part)
        return results

    def _shuffled(self, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """A number of groups that stays: a channel of each can go."""
        x, groups = arguments[0], arguments[1]
        for layer in self.layers_of(x):
            if layer.shape[1] > 1:
                self.labels.unite_along(layer.unflatten(1, (groups, -1)), [1])
        return self._moved(function, arguments, named)

    def _at_split(self, layer: Tensor) -> Tensor:
        """Channels on several axes, of which a view fixes all sizes but one: they go together along the others."""
        self.n_splits += 1
        axes = spanned(layer)
        kept = {"last": axes[-1], "middle": axes[-2], "first": axes[0]}[self.splitting]
        return self.labels.unite_along(layer, [axis for axis in axes if axis != kept])

    def _parts(self, name: str, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Parts along an axis: of equal size, or nothing of the axis can go."""
        source = arguments[0]
        values = _by_name(function, arguments, named)
        dim = values.get("dim", 0) % max(source.ndim, 1)
        size = self._size_of_parts(dim, source.ndim)
        start, step = values.get("start") or 0, values.get("step") or 1
        for layer in self.layers_of(source):
            n = layer.shape[dim]
            if n == 1 or (name == "slice" and size == n and step == 1):
                continue
            if size < 2 or n % size or step != 1 or start % size or name in ("select", "unbind"):
                self.labels.stay(layer, "fixed places of it are picked")
                continue
            for first in range(size, n, size):
                self.labels.unite(layer.narrow(dim, 0, size), layer.narrow(dim, first, size))
        return self._moved(function, arguments, named)

    def _size_of_parts(self, dim: int, n_axes: int) -> int:
        """The size that all parts have along an axis; 0 where they differ."""
        parts = list(self.out) if isinstance(self.out, (list, tuple)) else [self.out]
        sizes = {part.shape[dim] if part.ndim == n_axes else 1 for part in parts}
        return sizes.pop() if len(sizes) == 1 else 0

    def _concatenation(self, tensors: Sequence[Tensor], dim: int = 0) -> Layers:
        tensors = [t for t in tensors if t.ndim == self.out.ndim]
        by_axis = [{spanned(layer)[-1]: layer for layer in self.layers_of(t)} for t in tensors]
        none = torch.zeros([1] * self.out.ndim, dtype=torch.int64)
        result = []
        for axis in sorted(set().union(*by_axis)):
            layers = [own.get(axis, none) for own in by_axis]
            if any(layer.shape[dim] > 1 for layer in layers):
                parts = [layer.expand(t.shape) for layer, t in zip(layers, tensors, strict=True)]
                result.append(compressed(torch.cat(parts, dim)))
            else:  # side by side along another axis than that of channels, they will meet the same weights
                result.append(functools.reduce(self.labels.unite, layers))
        return result

    def _stack(self, tensors: Sequence[Tensor], dim: int = 0) -> Layers:
        dim %= self.out.ndim
        operands = [
            (torch.Size((*t.shape[:dim], 1, *t.shape[dim:])), [layer.unsqueeze(dim) for layer in self.layers_of(t)])
            for t in tensors
        ]
        return combined(self.labels, operands, self.out.shape)

    # -- entry by entry -----------------------------------------------------------------------

    def _entrywise(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Layers:
        """Whatever keeps axes in their places: arithmetic, activations, pooling, padding, interpolation."""
        out = self.out[0] if isinstance(self.out, (list, tuple)) and self.out else self.out
        tensors = list(_tensors((arguments, named)))
        if not isinstance(out, Tensor):
            for t in tensors:
                for layer in self.layers_of(t):
                    self.labels.stay(layer, f"{name} makes no tensor of it")
            return []
        operands = []
        for t in tensors:
            layers = self.layers_of(t)
            if _fits(t.shape, out.shape):
                operands.append((extent(t), layers))
                continue
            carried = []
            for layer in layers:
                is_kept = t.ndim == out.ndim and all(layer.shape[a] == out.shape[a] for a in spanned(layer))
                if is_kept:
                    carried.append(layer)
                else:
                    self.labels.stay(layer, f"{name} does not keep its channels in their places")
            if t.ndim == out.ndim:
                shape = torch.Size(a if a == b else 1 for a, b in zip(extent(t), out.shape, strict=True))
                operands.append((shape, carried))
        return combined(self.labels, operands, out.shape)

    def _padding(self, x: Tensor, *_: Any, **__: Any) -> Layers:
        return self._entrywise("pad", (x,), {})

    def _norm(self, x: Tensor, *others: Any) -> Layers:
        """Statistics and parameters of one entry a channel, the second axis."""
        operands = [(x.shape, self.layers_of(x))]
        for vector in others:
            if isinstance(vector, Tensor) and vector.ndim == 1:
                shape = torch.Size((1, len(vector), *[1] * (x.ndim - 2)))
                operands.append((shape, [layer.reshape(shape) for layer in self.layers_of(vector)]))
        return combined(self.labels, operands, x.shape)

    def _group_norm(self, x: Tensor, *others: Any) -> Layers:
        n_groups, result = others[5], self._norm(x, *others[:2])
        size = x.shape[1] // n_groups
        for layer in result:
            if 1 < size < x.shape[1] and layer.shape[1] > 1:
                grouped = layer.narrow(0, 0, 1).flatten(2)[..., :1].reshape(n_groups, size)
                self.labels.unite_along(grouped, [0])
        return result

    def _gate(self, x: Tensor, dim: int = -1) -> Layers:
        dim %= x.ndim
        result = []
        for layer in self.layers_of(x):
            if layer.shape[dim] > 1:
                layer = self.labels.unite(*layer.chunk(2, dim))
            result.append(layer)
        return result

    def _reduced(self, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Layers:
        source = arguments[0]
        values = _by_name(function, arguments, named)
        dims = values.get("dim")
        dims = range(source.ndim) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
        gone = sorted({d % max(source.ndim, 1) for d in dims}, reverse=True)
        result = []
        for layer in self.layers_of(source):
            if any(layer.shape[axis] > 1 for axis in gone):
                continue  # a number made of all channels; whether the others still make it is tried on the network
            if not values.get("keepdim"):
                for axis in gone:
                    layer = layer.select(axis, 0)
            result.append(layer)
        return result


def extent(t: Tensor) -> torch.Size:
    """Sizes of a tensor's axes, 1 for those along which it is expanded."""
    return torch.Size(1 if step == 0 else n for n, step in zip(t.shape, t.stride(), strict=True))


def _fits(shape: torch.Size, out: torch.Size) -> bool:
    """Whether a tensor can be broadcast to the result."""
    if len(shape) > len(out):
        return False
    return all(a in (1, b) for a, b in zip(reversed(shape), reversed(out), strict=False)) and math.prod(shape) > 0


def _by_name(function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Arguments by their names in the operation's schema."""
    return {a.name: v for a, v in zip(function._schema.arguments, arguments, strict=False)} | named


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for part in value for t in _tensors(part)] if isinstance(value, (list, tuple)) else []


_VIEWS = {"aten::view", "aten::_unsafe_view", "aten::reshape", "aten::_reshape_alias"}
_PARTS = {"split", "split_with_sizes", "unsafe_split", "chunk", "slice", "select", "unbind", "narrow"}
_NORMS = {
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
}
_MOVES = {
    "view",
    "_unsafe_view",
    "reshape",
    "_reshape_alias",
    "permute",
    "transpose",
    "t",
    "expand",
    "unsqueeze",
    "squeeze",
    "flip",
    "roll",
    "repeat",
    "index_select",
    "index",
    "pixel_shuffle",
    "pixel_unshuffle",
    "unfold",
    "diagonal",
    "movedim",
}
_REDUCTIONS = {
    "sum",
    "mean",
    "amax",
    "amin",
    "max",
    "min",
    "prod",
    "logsumexp",
    "std",
    "var",
    "var_mean",
    "std_mean",
    "norm",
    "linalg_vector_norm",
    "any",
    "all",
    "argmax",
    "argmin",
    "median",
    "count_nonzero",
}

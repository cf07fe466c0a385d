"""Embeddings of a network at named layers, collected by hooks while it runs on examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from opt.console.errors import UsageError, nearest
from problems.data.examples import Inputs, call, len_of, mapped, spans

Side = Literal["outputs", "inputs"]


@torch.no_grad()
def collect_embeddings(
    network: nn.Module, names: Sequence[str], inputs: Inputs, *, side: Side = "outputs", batch_size: int = 500
) -> list[Tensor]:
    """What named layers of a network give, or get, for each example.

    Args:
        network: Any module, in evaluation mode; left as it is, hooks included.
        names: Of its modules, as in `named_modules`.
        inputs: Of n examples, `Examples.inputs`; `forward` gets copies.
        side: What a layer gives (outputs), or the first tensor that it gets (inputs): the inputs of a linear layer are
            the activations of the layer before it.
        batch_size: Examples at once, in their order.

    Returns:
        One (n, d) tensor a name, in the order of the names; further axes of a layer's values are flattened into d.

    Raises:
        UsageError: There is no such layer, or it does not run once for each batch, or not on the examples one by one.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> [tuple(e.shape) for e in collect_embeddings(network, ["1", "2"], torch.rand(7, 4))]
        [(7, 3), (7, 2)]
    """
    modules = dict(network.named_modules(remove_duplicate=False))
    for name in names:
        if name not in modules:
            raise UsageError(f"the network has no layer {name!r}{nearest(name, modules)}")
    parts: list[list[Tensor]] = [[] for _ in names]
    with _recorded({name: modules[name] for name in names}, side) as seen:
        for rows in spans(len_of(inputs), batch_size):
            seen.clear()
            part = mapped(inputs, lambda tensor, rows=rows: tensor[rows].clone())  # type: ignore[misc]
            call(network, part)
            for name, collected in zip(names, parts, strict=True):
                collected.append(_of_each_example(name, seen.get(name, []), len_of(part)))
    try:
        return [torch.cat(collected) for collected in parts]
    except RuntimeError:
        raise UsageError("a layer's embeddings must have one width for all examples; choose another layer") from None


@contextmanager
def _recorded(modules: Mapping[str, nn.Module], side: Side) -> Iterator[dict[str, list[Tensor]]]:
    """While open, the first tensor that each module gives or gets in each of its runs is added to the dictionary."""
    seen: dict[str, list[Tensor]] = {}

    def record(name: str, values: Any) -> None:
        flat = [part for value in values for part in (value if isinstance(value, (tuple, list)) else [value])]
        # a copy, as a later layer may change it in place
        first = next((part.detach().clone() for part in flat if isinstance(part, Tensor)), torch.empty(0))
        seen.setdefault(name, []).append(first)

    def hooked(name: str, module: nn.Module) -> RemovableHandle:
        if side == "outputs":
            return module.register_forward_hook(lambda module, arguments, output: record(name, [output]))

        # what a layer gets is taken before it runs: it may change its input in place
        def before(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            record(name, [*arguments, *named.values()])

        return module.register_forward_pre_hook(before, with_kwargs=True)

    handles = [hooked(name, module) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _of_each_example(name: str, values: list[Tensor], n: int) -> Tensor:
    """(n, d) of the values that a layer gave for one batch."""
    if len(values) != 1:
        raise UsageError(f"embeddings need a layer that runs once for a batch, and {name!r} runs {len(values)} times")
    (value,) = values
    if value.ndim < 2 or len(value) != n:
        raise UsageError(
            f"embeddings need a row for each of {n} examples, and layer {name!r} has values of shape "
            f"{tuple(value.shape)}; choose another layer"
        )
    return value.flatten(1)

"""Parameters and multiply-adds of a network, counted on it and worked out for its cut forms."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from problems.networks.channels.layout import Kept
from problems.networks.channels.loading import CutAttention
from problems.networks.channels.tracing import OF_ATTENTION


@dataclass(frozen=True)
class Uses:
    """How often the weights of a network are used for one example.

    Attributes:
        shapes: Of every parameter, each once.
        positions: By the name of a weight: multiplications with each of its entries, for one example.
    """

    shapes: Mapping[str, tuple[int, ...]]
    positions: Mapping[str, float]

    def cost(self, kept: Kept) -> tuple[int, int]:
        """Parameters, and multiply-adds for one example, of what is left.

        Args:
            kept: Entries by tensor and axis, where some are gone.
        """
        parameters = 0
        macs = 0.0
        for name, shape in self.shapes.items():
            axes = kept.get(name, {})
            n = math.prod(len(axes[axis]) if axis in axes else size for axis, size in enumerate(shape))
            parameters += n
            macs += n * self.positions.get(name, 0.0)
        return parameters, round(macs)


def uses_of(network: nn.Module, run: Callable[[nn.Module], Any], n_examples: int) -> Uses:
    """See how often each weight is used.

    Args:
        network: In evaluation mode.
        run: Runs it on examples.
        n_examples: How many these are.
    """
    totals: dict[str, float] = {}
    names = {id(p): name for name, p in network.named_parameters()}

    def count(weight: Tensor | None, positions: float) -> None:
        if weight is not None and (name := names.get(id(weight))) is not None:
            totals[name] = totals.get(name, 0.0) + positions / n_examples

    with contextlib.ExitStack() as stack:
        for module in network.modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
                hook = module.register_forward_hook(_layer(count), with_kwargs=True)
                stack.callback(hook.remove)
            elif isinstance(module, CutAttention):
                stack.enter_context(_projections_seen(module, count))
        stack.enter_context(_Attention(network, count))
        with torch.no_grad():
            run(network)
    return Uses({name: tuple(p.shape) for name, p in network.named_parameters()}, totals)


def counted(network: nn.Module, run: Callable[[nn.Module], Any], n_examples: int) -> tuple[int, int]:
    """Parameters, and multiply-adds of convolutions, linear layers and attention's projections for one example."""
    return uses_of(network, run, n_examples).cost({})


def _layer(count: Callable[[Tensor | None, float], None]) -> Any:
    def see(module: Any, arguments: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        x = next((t for t in (*arguments, *named.values()) if isinstance(t, Tensor)), None)
        if x is None or not x.numel() or not isinstance(output, Tensor):
            return
        if isinstance(module, nn.Linear):
            positions = x.numel() // x.shape[-1]
        elif module.transposed:
            positions = x.numel() // module.in_channels
        else:
            positions = output.numel() // module.out_channels
        count(getattr(module, "weight", None), positions)

    return see


class _Attention(TorchFunctionMode):
    """Counts the projections of torch's attention, whatever module calls it."""

    def __init__(self, network: nn.Module, count: Callable[[Tensor | None, float], None]) -> None:
        super().__init__()
        modules = [module for module in network.modules() if isinstance(module, nn.MultiheadAttention)]
        self._owners, self._count = {id(module.out_proj.weight): module for module in modules}, count

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.multi_head_attention_forward:
            given = dict(zip(OF_ATTENTION, args, strict=False)) | (kwargs or {})
            if (module := self._owners.get(id(given["out_proj_weight"]))) is not None:
                _count_projections(module, [given[part] for part in OF_ATTENTION[:3]], self._count)
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _projections_seen(module: CutAttention, count: Callable[[Tensor | None, float], None]) -> Iterator[None]:
    projected = module._projected

    def see(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _count_projections(module, [query, key, value], count)
        return projected(query, key, value)

    vars(module)["_projected"] = see
    try:
        yield
    finally:
        del vars(module)["_projected"]


def _count_projections(
    module: nn.MultiheadAttention, parts: Sequence[Tensor], count: Callable[[Tensor | None, float], None]
) -> None:
    tokens = [x.numel() // x.shape[-1] for x in parts]
    if module.in_proj_weight is not None:
        count(module.in_proj_weight, sum(tokens) / 3)
    else:
        for kind, n in zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), tokens, strict=True):
            count(getattr(module, kind), n)
    count(module.out_proj.weight, tokens[0])

"""What the network comes in: wrappers, number formats, memory layouts, names, states; and networks of nothing."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from odd_networks.case import N_CLASSES, chain, classes, convolution, odd, rows, small_cnn, small_mlp, wired


@odd(noted="DataParallel was unwrapped", fresh=small_cnn)
def data_parallel() -> nn.Module:
    """Wrapped for several GPUs."""
    return nn.DataParallel(small_cnn())


@odd(fresh=lambda: _parallel_part())
def data_parallel_part() -> nn.Module:
    """A part of it wrapped, as in older image networks."""
    return _parallel_part()


def _parallel_part() -> nn.Module:
    return wired(
        lambda self, x: self.out(self.features(x).flatten(1)),
        features=nn.DataParallel(chain(convolution(3, 6), nn.ReLU(), convolution(6, 4), nn.ReLU())),
        out=nn.Linear(256, N_CLASSES),
    )


@odd(rows, noted="compiled", fresh=small_mlp)
def compiled() -> nn.Module:
    """Compiled, and that wrapped again."""
    return nn.DataParallel(torch.compile(small_mlp()))


@odd(rows, noted="compiled", fresh=lambda: wired(_inner, inner=small_mlp()))
def compiled_part() -> nn.Module:
    """A part of it compiled."""
    return wired(_inner, inner=torch.compile(small_mlp()))


def _inner(self: nn.Module, x: Tensor) -> Tensor:
    return self.inner(x)


@odd(rows)
def compiled_in_place() -> nn.Module:
    """`network.compile()`."""
    network = small_mlp()
    network.compile()
    return network


@odd(rows, refused="scripted")
def scripted() -> nn.Module:
    """Compiled to TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(small_mlp())


@odd(rows, refused="scripted")
def traced() -> nn.Module:
    """Recorded by TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(small_mlp(), torch.randn(2, 12))


@odd(rows, noted="scripted")
def scripted_part() -> nn.Module:
    """A part of it in TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part = torch.jit.script(chain(nn.Linear(12, 16), nn.ReLU()))
    return wired(lambda self, x: self.out(self.part(x)), part=part, out=nn.Linear(16, N_CLASSES))


@odd(rows)
def graph_module() -> nn.Module:
    """What torch.fx makes of a network."""
    return fx.symbolic_trace(small_mlp())


@odd(rows)
def averaged() -> nn.Module:
    """A moving average of weights, with a counter."""
    return AveragedModel(small_mlp())


@odd(refused="lazy")
def lazy() -> nn.Module:
    """Layers that have not seen an input."""
    return chain(nn.LazyConv2d(6, 3), nn.Flatten(), nn.LazyLinear(N_CLASSES))


@odd()
def lazy_that_ran() -> nn.Module:
    """Lazy layers that have seen one."""
    network = chain(nn.LazyConv2d(6, 3), nn.ReLU(), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(N_CLASSES))
    network(torch.randn(2, 3, 8, 8))
    return network


@odd(noted="converted to float32", fresh=small_cnn)
def half_precision() -> nn.Module:
    """16 bits a number."""
    return small_cnn().half()


@odd(rows, noted="converted to float32", fresh=small_mlp)
def double_precision() -> nn.Module:
    """64 bits a number."""
    return small_mlp().double()


@odd(
    lambda n, g: (torch.randn(n, 12, generator=g).bfloat16(), classes(n, g)),
    noted="converted to float32",
    fresh=small_mlp,
)
def bfloat_examples() -> nn.Module:
    """16 bits a number, of the examples too."""
    return small_mlp().bfloat16()


def _casting(dtype: torch.dtype) -> nn.Module:
    return wired(lambda self, x: self.inner(x.to(dtype)).float(), inner=small_mlp().to(dtype))


@odd(rows)
def double_that_casts() -> nn.Module:
    """Takes its inputs up to 64 bits itself."""
    return _casting(torch.float64)


@odd(rows)
def bfloat_that_casts() -> nn.Module:
    """Takes its inputs down to bfloat16 itself."""
    return _casting(torch.bfloat16)


@odd(rows)
def bfloat_to_the_end() -> nn.Module:
    """Answers in bfloat16, too."""
    return wired(lambda self, x: self.inner(x.bfloat16()), inner=small_mlp().bfloat16())


@odd(rows)
def one_bfloat_layer() -> nn.Module:
    """A single layer of bfloat16: its masks are counted by cumulative updates."""
    return wired(lambda self, x: self.inner(x.bfloat16()), inner=nn.Linear(12, N_CLASSES).bfloat16())


@odd(rows)
def half_that_casts() -> nn.Module:
    """Takes its inputs down to float16 itself."""
    return _casting(torch.float16)


@odd()
def channels_last() -> nn.Module:
    """Channels last in memory."""
    return small_cnn().to(memory_format=torch.channels_last)


@odd(rows, fresh=small_mlp)
def made_without_gradients() -> nn.Module:
    """Parameters that were made in inference mode."""
    with torch.inference_mode():
        return small_mlp()


@odd(rows)
def frozen() -> nn.Module:
    """No parameter asks for gradients."""
    return small_mlp().requires_grad_(False)


@odd()
def partly_frozen() -> nn.Module:
    """The first layer is frozen, and the network in training."""
    network = small_cnn()
    network[0].requires_grad_(False)
    return network.train()


@odd(rows)
def nested() -> nn.Module:
    """Containers in containers in containers."""
    inner = chain(chain(chain(nn.Identity(), chain(nn.Linear(12, 16), nn.ReLU())), nn.Identity()))
    return chain(chain(inner), chain(chain(nn.Sequential(OrderedDict(last=nn.Linear(16, N_CLASSES))))))


@odd(rows, noted="Sequential", fresh=lambda: chain(nn.Linear(12, N_CLASSES)))
def layer_alone() -> nn.Module:
    """The network is one layer."""
    return nn.Linear(12, N_CLASSES)


@odd(rows)
def layer_in_a_container() -> nn.Module:
    """The network has one layer: its masks are counted by cumulative updates."""
    return chain(nn.Linear(12, N_CLASSES))


@odd(rows, refused="no convolution and no linear layer")
def no_layer() -> nn.Module:
    """Nothing to make smaller."""
    return wired(lambda self, x: x[:, :N_CLASSES] * 2)


@odd(rows, refused="not finite")
def weights_of_nan() -> nn.Module:
    """A training that diverged."""
    network = small_mlp()
    network[2].weight.data[0, 0] = torch.nan
    return network


@odd(rows)
def weights_of_zero() -> nn.Module:
    """A layer of nothing but zeros, and one of equal weights."""
    network = small_mlp()
    nn.init.zeros_(network[2].weight)
    nn.init.constant_(network[4].weight, 0.25)
    return network


@odd(rows)
def extra_state() -> nn.Module:
    """A state with more than tensors."""

    class Versioned(nn.Linear):
        def get_extra_state(self) -> dict[str, Any]:
            return {"version": 3}

        def set_extra_state(self, state: Any) -> None:
            assert state == {"version": 3}

    return chain(Versioned(12, 16), nn.ReLU(), nn.Linear(16, N_CLASSES))


@odd(rows)
def buffers_outside_the_state() -> nn.Module:
    """Buffers that are computed and not saved."""
    network = wired(lambda self, x: self.inner(x * self.scale), inner=small_mlp())
    network.register_buffer("scale", torch.linspace(0.5, 2, 12), persistent=False)
    return network


@odd(rows)
def holds_a_generator() -> nn.Module:
    """Has a random generator, and functions, among its attributes."""
    return wired(
        lambda self, x: self.inner(self.change(x)),
        inner=small_mlp(),
        generator=torch.Generator(),
        change=lambda x: functional.leaky_relu(x, 0.1),
    )


@odd(rows, refused="cannot be copied")
def holds_a_lock() -> nn.Module:
    """Has something that cannot be copied."""
    return wired(lambda self, x: self.inner(x), inner=small_mlp(), lock=threading.Lock())


@odd(rows, refused="no convolution and no linear layer")
def quantised() -> nn.Module:
    """Already int8 by torch's own quantisation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(small_mlp(), {nn.Linear}, dtype=torch.qint8)


@odd(refused="differently each time")
def sparse_drop() -> nn.Module:
    """Whole channels dropped, always."""
    return wired(lambda self, x: self.inner(functional.dropout2d(x, 0.3, True)), inner=small_cnn())

"""What `forward` does: changes in place, branches, draws, remembers, hooks, gradients."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from odd_networks.case import N_CLASSES, chain, convolution, odd, rows, small_cnn, small_mlp, wired

relu = functional.relu


def _residual(step: Any) -> nn.Module:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return self.out(functional.relu(self.last(step(self, relu(self.stem(x)))), inplace=True).flatten(1))

    parts = {"stem": convolution(3, 4), "conv": convolution(4, 4), "last": convolution(4, 4)}
    return wired(forward, **parts, out=nn.Linear(256, N_CLASSES))


@odd()
def residual_by_augmented_assignment() -> nn.Module:
    """`x += y`."""

    def step(self: nn.Module, x: Tensor) -> Tensor:
        x += relu(self.conv(x))
        return x

    return _residual(step)


@odd()
def residual_in_place() -> nn.Module:
    """`x.add_(y)`."""
    return _residual(lambda self, x: x.add_(relu(self.conv(x))))


@odd()
def assigned_slices() -> nn.Module:
    """`x[:, 1:] = y`."""

    def step(self: nn.Module, x: Tensor) -> Tensor:
        x[:, 1:] = self.conv(x)[:, :-1]
        return x

    return _residual(step)


@odd()
def changed_through_a_view() -> nn.Module:
    """A view is taken before the tensor changes, and used behind it."""

    def step(self: nn.Module, x: Tensor) -> Tensor:
        left = x[:, :2]
        y = self.conv(x)
        x.mul_(0.5).add_(y)
        return torch.cat([left, y[:, :2]], dim=1)

    return _residual(step)


@odd()
def written_to_given_memory() -> nn.Module:
    """`out=` and functions that end in an underscore."""

    def step(self: nn.Module, x: Tensor) -> Tensor:
        y = self.conv(x)
        torch.add(x, y, out=x)
        return torch.relu_(x)

    return _residual(step)


@odd(rows, noted="changes its input")
def input_normalised_in_place() -> nn.Module:
    """Subtracts and divides in the caller's memory."""
    return wired(lambda self, x: self.inner(x.sub_(0.3).div_(0.4)), inner=small_mlp())


@odd(noted="changes its input")
def rectified_input() -> nn.Module:
    """Begins with a ReLU in place."""
    return chain(nn.ReLU(inplace=True), *small_cnn())


@odd(rows)
def branches_on_values() -> nn.Module:
    """One way or the other, by a sum over the batch."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        h = relu(self.first(x))
        return self.out(relu(self.second(h)) if h.sum() > 3 else h)

    return wired(forward, first=nn.Linear(12, 16), second=nn.Linear(16, 16), out=nn.Linear(16, N_CLASSES))


@odd(rows)
def asks_what_it_is_given() -> nn.Module:
    """`isinstance` and `hasattr`: a symbolic trace takes the wrong way."""

    def forward(self: nn.Module, x: Any) -> Tensor:
        if not isinstance(x, Tensor):
            x = x.tensor
        if hasattr(x, "mask"):
            x = x * x.mask
        return self.inner(x if torch.is_tensor(x) else -x)

    return wired(forward, inner=small_mlp())


@odd(rows)
def other_way_for_traces() -> nn.Module:
    """Takes anything, and answers otherwise for what is no tensor: a trace is quietly wrong."""

    def forward(self: nn.Module, x: Any) -> Tensor:
        y = self.first(x)
        return self.out(relu(y) if isinstance(x, Tensor) else torch.tanh(y))

    return wired(forward, first=nn.Linear(12, 16), out=nn.Linear(16, N_CLASSES))


@odd(rows)
def loops_until_small() -> nn.Module:
    """As many steps as the values need."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        h = relu(self.first(x))
        for _ in itertools.count():
            if h.abs().max() < 1 or _ > 4:
                return self.out(h)
            h = torch.tanh(self.again(h)) * 0.7

    return wired(forward, first=nn.Linear(12, 16), again=nn.Linear(16, 16), out=nn.Linear(16, N_CLASSES))


@odd(rows)
def mixture_of_experts() -> nn.Module:
    """Each example goes to one expert; the last expert gets none."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        expert = (x[:, 0] > 0).long()
        y = x.new_zeros(len(x), 8)
        for k, layer in enumerate(self.experts):
            y[expert == k] = layer(x[expert == k])
        return self.out(relu(y))

    return wired(forward, experts=nn.ModuleList(nn.Linear(12, 8) for _ in range(3)), out=nn.Linear(8, N_CLASSES))


@odd(rows)
def one_way_by_name() -> nn.Module:
    """A dictionary of ways, one of which is taken; names with blanks and brackets."""
    ways = nn.ModuleDict({"a way": nn.Linear(12, 8), "b[1]": nn.Linear(12, 8), "c*": nn.Linear(8, 8)})
    return wired(
        lambda self, x: self.out(relu(self.ways["c*"](relu(self.ways["b[1]"](x))))),
        ways=ways,
        out=nn.Linear(8, N_CLASSES),
    )


@odd(rows)
def drops_in_training() -> nn.Module:
    """Stochastic depth and dropout, left in training by its user."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        h = relu(self.first(x))
        if self.training and torch.rand(()) < 0.5:
            return self.out(h)
        return self.out(functional.dropout(h + relu(self.second(h)), 0.5, self.training))

    return wired(forward, first=nn.Linear(12, 16), second=nn.Linear(16, 16), out=nn.Linear(16, N_CLASSES)).train()


@odd(rows, refused="differently each time")
def always_drops() -> nn.Module:
    """Dropout that is on in evaluation."""
    return wired(lambda self, x: self.inner(functional.dropout(x, 0.5)), inner=small_mlp())


@odd(rows, refused="differently each time")
def seldom_drops() -> nn.Module:
    """Dropout that is on in evaluation and seldom seen."""
    return wired(lambda self, x: self.inner(functional.dropout(x, 0.01)), inner=small_mlp())


@odd(rows, refused="differently each time")
def noise_of_numpy() -> nn.Module:
    """Noise of a generator that torch does not know."""
    rng = np.random.default_rng(0)
    return wired(lambda self, x: self.inner(x + float(rng.normal())), inner=small_mlp())


@odd(rows)
def draws_for_nothing() -> nn.Module:
    """Draws random numbers that do not matter in evaluation."""
    return wired(lambda self, x: self.inner(x + torch.randn_like(x) * float(self.training)), inner=small_mlp())


@odd(rows)
def noise_of_its_own_seed() -> nn.Module:
    """The same noise in each pass."""
    return wired(
        lambda self, x: self.inner(x + 0.1 * torch.randn(12, generator=torch.Generator().manual_seed(7))),
        inner=small_mlp(),
    )


@odd(rows, refused="differently each time")
def remembers_the_last_call() -> nn.Module:
    """A state that goes on from batch to batch."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x) + self.state)
        self.state = h.mean(0)
        return self.out(h)

    return wired(forward, first=nn.Linear(12, 16), out=nn.Linear(16, N_CLASSES), state=torch.zeros(16))


@odd(rows)
def keeps_its_activations() -> nn.Module:
    """Leaves what it has computed in attributes, after a pass of training in a graph, alone and in containers."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        self.hidden = relu(self.first(x))
        self.maps = [self.hidden, {"last": (self.hidden * 2,)}]
        return self.out(self.hidden)

    network = wired(forward, first=nn.Linear(12, 16), out=nn.Linear(16, N_CLASSES), hidden=None, maps=[])
    network(torch.randn(3, 12))
    return network


@odd(rows, noted="own buffers")
def counts_its_calls() -> nn.Module:
    """A buffer that grows with each call."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x)

    network = wired(forward, inner=small_mlp())
    network.register_buffer("calls", torch.zeros((), dtype=torch.long))
    return network


@odd(rows)
def hooks_that_change_answers() -> nn.Module:
    """Hooks before and behind layers, and before the network."""
    network = wired(lambda self, x: self.inner(x), inner=small_mlp())
    network.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 0.5,))
    network.inner[0].register_forward_hook(lambda module, inputs, output: output + 0.3)
    network.inner[2].register_forward_pre_hook(lambda module, inputs: (inputs[0].abs(),))
    network.inner.register_forward_hook(lambda module, inputs, output: output * 2)
    return network


@odd(rows)
def gradients_inside() -> nn.Module:
    """The answer is a gradient, as in physics-informed networks."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = self.out(torch.tanh(self.first(x))).sum()
            return torch.autograd.grad(energy, x, create_graph=True)[0][:, :N_CLASSES]

    return wired(forward, first=nn.Linear(12, 16), out=nn.Linear(16, 1))


@odd(rows)
def answers_with_a_history() -> nn.Module:
    """Answers that carry a graph, though none is asked for."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        with torch.enable_grad():
            return self.inner(x.detach().requires_grad_() * 1.0)

    return wired(forward, inner=small_mlp())


@odd(rows)
def mixed_precision_inside() -> nn.Module:
    """Autocast to bfloat16 for a part."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.inner(x)
        return self.out(x.float())

    return wired(forward, inner=chain(nn.Linear(12, 16), nn.ReLU()), out=nn.Linear(16, N_CLASSES))


@odd(rows)
def checkpointed() -> nn.Module:
    """Activations that are computed again in training."""
    return wired(
        lambda self, x: self.out(checkpoint(self.inner, x, use_reentrant=False)),
        inner=chain(nn.Linear(12, 16), nn.ReLU()),
        out=nn.Linear(16, N_CLASSES),
    )


@odd(rows)
def mapped_over_examples() -> nn.Module:
    """`torch.vmap` over the batch."""
    return wired(
        lambda self, x: torch.vmap(lambda row: self.out(relu(self.first(row))))(x),
        first=nn.Linear(12, 16),
        out=nn.Linear(16, N_CLASSES),
    )


@odd(rows)
def head_for_nothing() -> nn.Module:
    """The layer that runs last is not the one that answers."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = relu(self.first(x))
        y = self.out(x)
        self.other(x)
        return y

    return wired(forward, first=nn.Linear(12, 16), out=nn.Linear(16, N_CLASSES), other=nn.Linear(16, N_CLASSES))


@odd(rows)
def divided_by_its_length() -> nn.Module:
    """NaN where nothing is left."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = relu(self.first(x))
        return self.out(x / x.norm(dim=1, keepdim=True))

    first = nn.Linear(12, 16)
    nn.init.ones_(first.bias)
    return wired(forward, first=first, out=nn.Linear(16, N_CLASSES))


@odd(
    lambda n, generator: (
        torch.randn(n, 12, generator=generator),
        torch.randint(0, 2, (n, 4), generator=generator),
    )
)
def labels_divided_by_nothing() -> nn.Module:
    """Several labels, NaN where nothing is left: a NaN is no right answer."""
    return wired(
        lambda self, x: (lambda h: h / h.sum(1, keepdim=True))(torch.square(self.first(x))) - 0.25,
        first=nn.Linear(12, 4, bias=False),
    )


@odd(rows)
def falls_back_on_errors() -> nn.Module:
    """`try` and `except`."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        try:
            return self.inner(x[:, :, None].flatten(1, 3))
        except (IndexError, RuntimeError):
            return self.inner(x)

    return wired(forward, inner=small_mlp())


@odd(rows)
def grows_where_it_stands() -> nn.Module:
    """An attribute of numbers that is made at the first call, from a weight."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return self.out(relu(self.first(x))) + self.first.bias.sum() * getattr(self, "factor", 1.0)

    return wired(forward, first=nn.Linear(12, 16), out=nn.Linear(16, N_CLASSES))

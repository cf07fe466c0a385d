"""Networks read as chains of linear layers: what is read, folded, proved and refused."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from opt import UsageError
from problems.data.examples import call
from problems.networks.layers.chain_graph import RELU
from problems.networks.layers.linear_chain import LinearChain, read_chain


def read(network: nn.Module, inputs=None, picked=lambda outputs: outputs) -> LinearChain:
    inputs = torch.randn(20, 12, generator=torch.Generator().manual_seed(0)) if inputs is None else inputs

    def answers(net, given):
        return picked(call(net, given))

    return read_chain(network.eval(), inputs, answers=answers, picked=picked)


def wired(forward, **parts):
    network = type("Wired", (nn.Module,), {"forward": forward})()
    for name, part in parts.items():
        setattr(network, name, part)
    return network


def two(**options):
    return {"first": nn.Linear(12, 8, **options), "last": nn.Linear(8, 3)}


def swish(self, x):
    h = self.first(x)
    return self.last(h * torch.sigmoid(h) + 1)


def asserting(self, x):
    assert x.ndim == 2 and x.shape[1] == 12, x.shape
    if x.dim() > 2:
        x = x.flatten(1)
    return self.last(functional.dropout(functional.relu(self.first(x)), 0.3, self.training))


def counts_axes(self, x):
    _, d = x.shape
    if len(x.shape) > 2 or len(x) < 1 or d != 12:
        x = x.flatten(1)
    return self.last(torch.relu(self.first(x)))


def asks_what_comes_out(self, x):
    h = torch.tanh(self.first(x))
    return self.last(h if h.shape[1] == 8 else h[:, :8])


def in_a_dictionary(self, x):
    return {"logits": functional.log_softmax(self.last(torch.relu(self.first(x))), dim=1), "n": 3}


CHAINS = {
    "tanh": nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 3)),
    "no biases": nn.Sequential(nn.Linear(12, 8, bias=False), nn.Sigmoid(), nn.Linear(8, 3, bias=False)),
    "dropout": nn.Sequential(nn.Linear(12, 8), nn.Dropout(), nn.LeakyReLU(0.2, True), nn.Identity(), nn.Linear(8, 3)),
    "softplus": nn.Sequential(OrderedDict(a=nn.Linear(12, 1), b=nn.Softplus(), c=nn.Linear(1, 3), d=nn.Softmax(1))),
    "one slope": nn.Sequential(nn.Linear(12, 8), nn.PReLU(), nn.Linear(8, 3)),
    "nothing between": nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 3)),
    "double": nn.Sequential(nn.Linear(12, 8), nn.ELU(), nn.Linear(8, 3)).double(),
    "swish": wired(swish, **two()),
    "counts axes": wired(counts_axes, **two()),
    "asserting": wired(asserting, **two()),
    "asks what comes out": wired(asks_what_comes_out, **two()),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains_give_what_the_network_gives_at_any_widths(name):
    network = CHAINS[name]
    inputs = torch.randn(20, 12, generator=torch.Generator().manual_seed(0)).to(next(network.parameters()).dtype)
    chain = read(network, inputs)
    assert chain.names == tuple(n for n, m in network.named_modules() if isinstance(m, nn.Linear))
    assert not chain.folded and not chain.why_not_longer and chain.network is network
    weights, biases = chain.to_arrays()
    kept = [np.arange(0, len(w), 2) for w in weights[:-1]]
    rows, columns = [*kept, np.arange(len(weights[-1]))], [np.arange(12), *kept]
    small = chain.module(
        [w[np.ix_(r, c)] for w, r, c in zip(weights, rows, columns, strict=True)],
        [b[r] for b, r in zip(biases, rows, strict=True)],
    )
    # the same by zeros behind the removed neurons
    masked = chain.module(
        [w.copy() if not k else w * np.isin(np.arange(w.shape[1]), kept[k - 1]) for k, w in enumerate(weights)], biases
    )
    torch.testing.assert_close(small(inputs), masked(inputs))
    assert all(not p.requires_grad for layer in small.modules() if type(layer) is nn.Linear for p in layer.parameters())


def test_tracing_leaves_no_trace():
    read(CHAINS["counts axes"])
    assert "len" not in globals()


def test_relu_is_known_by_any_spelling():
    for between in (nn.ReLU(), nn.ReLU(inplace=True), functional.relu, torch.relu_):
        chain = read(wired(lambda self, x: self.last(self.between(self.first(x))), between=between, **two()))
        assert chain.activations == (RELU,)


def trained_norm(width):
    norm = nn.BatchNorm1d(width)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.normal_(norm.bias)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 3)
    return norm


@pytest.mark.parametrize(
    ("network", "folded"),
    [
        (nn.Sequential(nn.Linear(12, 8, bias=False), trained_norm(8), nn.Sigmoid(), nn.Linear(8, 3)), ("1",)),
        (nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Dropout(), trained_norm(8), nn.Linear(8, 3)), ("3",)),
        (
            nn.Sequential(trained_norm(12), nn.Linear(12, 8), trained_norm(8), nn.Linear(8, 3), trained_norm(3)),
            ("2", "4"),
        ),
    ],
)
def test_batch_norms_beside_layers_are_folded_in(network, folded):
    inputs = torch.randn(20, 12, generator=torch.Generator().manual_seed(0))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    chain = read(network, inputs)
    assert chain.folded == folded
    torch.testing.assert_close(chain.network(inputs), network(inputs), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_what_stands_around_the_layers_is_left_alone():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 3))
    chain = read(network, torch.randn(20, 1, 6, 6))
    assert chain.names == ("3", "5") and chain.n_other == sum(p.numel() for p in network[0].parameters())
    assert chain.features(torch.randn(4, 1, 6, 6)).shape == (4, 32)
    logits = read(wired(in_a_dictionary, **two()), picked=lambda outputs: outputs["logits"])
    values = torch.randn(5, 3)
    torch.testing.assert_close(logits.answer(values)["logits"], functional.log_softmax(values, dim=1))
    residual = wired(
        lambda self, x: self.last(torch.relu(self.first(x + self.before(x)))), before=nn.Linear(12, 12), **two()
    )
    chain = read(residual)
    assert chain.names == ("first", "last") and "'before' alone (also from x)" in chain.why_not_longer


@pytest.mark.parametrize(
    ("forward", "parts", "message"),
    [
        (lambda self, x: self.last(self.first(x).softmax(1)), {}, "neurons are not changed each by itself"),
        (lambda self, x: self.last(self.norm(self.first(x))), {"norm": nn.LayerNorm(8)}, "'first' and 'last' neurons"),
        (lambda self, x: self.last(self.norm(self.first(x))), {"norm": nn.PReLU(8)}, "'first' and 'last' neurons"),
        (lambda self, x: self.last(self.first(x)) + x[:, :3], {}, "does not come from layer 'last' alone"),
        (lambda self, x: self.last(self.again(self.again(self.first(x)))), {"again": nn.Linear(8, 8)}, "runs 2 times"),
        (lambda self, x: self.last(self.first(x) * (1 if x.sum() > 3 else 2)), {}, "branches on values"),
        (lambda self, x: self.last(self.first(x[:, None])).mean(1), {}, r"gets \(20, 1, 8\)"),
        (lambda self, x: self.last(x[:, :8]), {}, "no linear layer before the last one"),
        (lambda self, x: x * 2, {}, "no linear layer gives its answers"),
        (lambda self, x: self.last(self.first(x)) * self.last.weight.norm(), {}, "weights that are used elsewhere"),
    ],
)
def test_other_networks_are_refused_with_the_layer(forward, parts, message):
    with pytest.raises(UsageError, match=message):
        read(wired(forward, **parts, **two()))


def test_shared_weights_and_hooks_are_refused_with_the_layer():
    shared = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))
    shared[2].weight = shared[0].weight
    with pytest.raises(UsageError, match="layer '2' has a weight that is shared"):
        read(shared)
    hooked = CHAINS["no biases"]
    handle = hooked[2].register_forward_pre_hook(lambda module, inputs: (inputs[0].abs(),))
    with pytest.raises(UsageError, match="layer '2' has hooks"):
        read(hooked)
    handle.remove()


class Secret(nn.Linear):
    """Does more than its base."""

    def forward(self, input):
        return super().forward(input).clamp(-0.1, 0.1)


def test_a_chain_that_is_not_what_the_network_computes_is_refused():
    network = nn.Sequential(Secret(12, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(UsageError, match="layer '2' does not get what the layer before it gives"):
        read(network)
    with pytest.raises(UsageError, match="the answers are not what layer '2' gives"):
        read(nn.Sequential(nn.Linear(12, 8), nn.ReLU(), Secret(8, 3)))

"""Attention of plain linear layers: torch's answers with every mask and option, and packed again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from problems.networks.layers.plain_attention import (
    PlainAttention,
    packed_state,
    packed_with_masks,
    plain_attention,
    unpack,
    with_packed_attention,
)

N, TOKENS, KEYS, WIDTH, HEADS = 3, 5, 7, 8, 2


def pair(**options) -> tuple[nn.MultiheadAttention, nn.MultiheadAttention]:
    torch.manual_seed(0)
    packed = nn.MultiheadAttention(WIDTH, HEADS, **options)
    for parameter in packed.parameters():
        nn.init.normal_(parameter)
    plain = nn.MultiheadAttention(WIDTH, HEADS, **options)
    plain.load_state_dict(packed.state_dict())
    unpack(plain)
    return packed, plain


def inputs(kdim=WIDTH, vdim=WIDTH, *, batch_first=False, batched=True) -> list[Tensor]:
    torch.manual_seed(1)
    tensors = [torch.randn(N, n, w) for n, w in ((TOKENS, WIDTH), (KEYS, kdim), (KEYS, vdim))]
    if not batched:
        return [x[0] for x in tensors]
    return tensors if batch_first else [x.transpose(0, 1) for x in tensors]


MASKS = {
    "none": None,
    "bool": torch.arange(KEYS)[None] > torch.arange(TOKENS)[:, None] + 1,
    "numbers": -torch.linspace(0, 2, TOKENS * KEYS).view(TOKENS, KEYS),
    "heads": -torch.linspace(0, 2, N * HEADS * TOKENS * KEYS).view(N * HEADS, TOKENS, KEYS),
}
PADDING = torch.arange(KEYS)[None] >= torch.tensor([[7], [4], [6]])
OPTIONS = [
    {},
    {"batch_first": True},
    {"bias": False, "kdim": 6, "vdim": 4},
    {"add_bias_kv": True, "batch_first": True},
    {"add_zero_attn": True, "add_bias_kv": True},
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_answers_and_weights_are_torchs(options, training):
    packed, plain = pair(**options)
    packed.train(training), plain.train(training)
    data = inputs(options.get("kdim", WIDTH), options.get("vdim", WIDTH), batch_first=options.get("batch_first", False))
    for (_, mask), padding, weights, averaged in itertools.product(
        MASKS.items(), (None, PADDING), (False, True), (False, True)
    ):
        asked = {
            "attn_mask": mask,
            "key_padding_mask": padding,
            "need_weights": weights,
            "average_attn_weights": averaged,
        }
        expected, theirs = packed(*data, **asked)
        got, ours = plain(*data, **asked)
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
        if weights:
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        else:
            assert ours is None and theirs is None


@pytest.mark.parametrize("weights", [False, True])
def test_causal_hint_and_examples_without_a_batch(weights):
    packed, plain = pair()
    packed.eval(), plain.eval()
    x = inputs(batched=False)[0]
    causal = nn.Transformer.generate_square_subsequent_mask(TOKENS)
    for asked in ({}, {"attn_mask": causal, "is_causal": True}, {"key_padding_mask": torch.arange(TOKENS) > 3}):
        expected, got = (layer(x, x, x, need_weights=weights, **asked) for layer in (packed, plain))
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(RuntimeError, match="attn_mask"):
        plain(x, x, x, is_causal=True)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.5)
    unpack(plain)
    x = torch.randn(TOKENS, N, WIDTH)
    assert torch.equal(plain.eval()(x, x, x)[0], plain(x, x, x)[0])
    assert not torch.equal(plain.train()(x, x, x)[0], plain(x, x, x)[0])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_packed_again_it_is_what_it_was(options):
    packed, plain = pair(**options)
    network = with_packed_attention(nn.Sequential(plain))
    assert type(network[0]) is nn.MultiheadAttention and isinstance(plain, PlainAttention)
    assert list(network[0].state_dict()) == list(packed.state_dict())
    for name, tensor in packed.state_dict().items():
        assert torch.equal(network[0].state_dict()[name], tensor)
    state = packed_state(plain, {name: tensor.numpy() for name, tensor in plain.state_dict().items()})
    assert state.keys() == packed.state_dict().keys()
    for name, array in state.items():
        assert np.array_equal(array, packed.state_dict()[name].numpy())


def test_masks_are_packed_and_projections_without_one_are_kept():
    _, plain = pair()
    state = {name: tensor.numpy() for name, tensor in plain.state_dict().items()}
    mask = np.zeros((WIDTH, WIDTH), dtype=bool)
    saved = packed_with_masks(plain, state, {"k.weight": mask})
    assert saved["in_proj_weight_mask"].reshape(3, WIDTH, WIDTH).all(axis=(1, 2)).tolist() == [True, False, True]
    assert not any(name.startswith("k.") for name in saved)
    assert not any(name.endswith("_mask") for name in packed_with_masks(plain, state, {}))


class _Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.MultiheadAttention(WIDTH, HEADS) for _ in range(2))

    def forward(self, x):
        return self.a(x, x, x)[0] + self.b(x, x, x)[0] * self.b.in_proj_weight.mean()


def test_what_is_read_elsewhere_stays_packed_beside_what_is_not():
    network, x = _Reads().eval(), torch.randn(TOKENS, N, WIDTH)
    before, state = network(x), list(network.state_dict())
    assert plain_attention(network, lambda: network(x).detach()) == ["a"]
    assert type(network.b) is nn.MultiheadAttention and [n for n in network.state_dict() if n[0] == "b"] == state[4:]
    torch.testing.assert_close(network(x), before)


def test_shared_packed_weights_stay_packed():
    network, x = _Reads().eval(), torch.randn(TOKENS, N, WIDTH)
    network.a.in_proj_weight = network.b.in_proj_weight
    assert plain_attention(network, lambda: network(x).detach()) == []
    assert plain_attention(nn.Linear(2, 2), lambda: pytest.fail("not run")) == []


def test_torchs_layers_take_their_slow_way():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True)
    network = nn.TransformerEncoder(layer, 2).eval()
    x, padding = torch.randn(N, KEYS, WIDTH), torch.zeros(N, KEYS, dtype=torch.bool)
    with torch.no_grad():
        before = network(x, src_key_padding_mask=padding)
        assert len(plain_attention(network, lambda: network(x, src_key_padding_mask=padding))) == 2
        network.layers[0].linear1 = nn.Sequential(network.layers[0].linear1)  # has no weight to be read
        torch.testing.assert_close(network(x, src_key_padding_mask=padding), before, rtol=1e-5, atol=1e-5)

"""Sequences: recurrent cells, attention, embeddings, causal convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from odd_networks.case import N_CLASSES, N_WORDS, chain, odd, series, tokens, wired

CELL, LINEAR, PACKED = "a recurrent cell", "attention of four linear layers", "packed attention"


@odd(series, noted=CELL)
def gru_last_state() -> nn.Module:
    """A sequence's last state, classified."""
    return wired(
        lambda self, x: self.out(functional.relu(self.middle(self.gru(x.transpose(1, 2))[1][-1]))),
        gru=nn.GRU(4, 8, num_layers=2, batch_first=True),
        middle=nn.Linear(8, 8),
        out=nn.Linear(8, N_CLASSES),
    )


def tagged(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(n, 10) words with a tag each."""
    shape = (n, 10)
    return torch.randint(0, N_WORDS, shape, generator=generator), torch.randint(0, 3, shape, generator=generator)


@odd(tagged, noted=CELL)
def bidirectional_lstm_tags() -> nn.Module:
    """Both directions with a projection; an answer a place."""
    return wired(
        lambda self, x: self.out(self.lstm(self.embed(x))[0]).transpose(1, 2),
        embed=nn.Embedding(N_WORDS, 6),
        lstm=nn.LSTM(6, 8, bidirectional=True, proj_size=4, batch_first=True),
        out=nn.Linear(8, 3),
    )


@odd(series)
def convolution_and_gru() -> nn.Module:
    """Conv1d over time, strided and grouped, then a recurrent cell."""
    convs = chain(
        nn.Conv1d(4, 8, 5, stride=2, padding=2, padding_mode="circular"), nn.ReLU(), nn.Conv1d(8, 8, 3, groups=2)
    )
    return wired(
        lambda self, x: self.out(self.gru(functional.relu(self.convs(x)).permute(2, 0, 1))[0][-1]),
        convs=convs,
        gru=nn.GRU(8, 8),
        out=nn.Linear(8, N_CLASSES),
    )


@odd(series)
def cell_in_a_loop() -> nn.Module:
    """A recurrent cell made of linear layers, stepped by hand."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 8)
        for step in x.unbind(2):
            h = torch.tanh(self.enter(step) + self.back(h))
        return self.out(h)

    return wired(forward, enter=nn.Linear(4, 8), back=nn.Linear(8, 8, bias=False), out=nn.Linear(8, N_CLASSES))


@odd(series, refused="a recurrent cell")
def recurrent_alone() -> nn.Module:
    """Nothing but a recurrent cell."""
    return wired(lambda self, x: self.gru(x.transpose(1, 2))[1][-1], gru=nn.GRU(4, N_CLASSES, batch_first=True))


@odd(tokens, noted="an embedding")
def mean_of_embeddings() -> nn.Module:
    """Words, their mean, a layer."""
    return wired(
        lambda self, x: self.out(torch.tanh(self.middle(self.embed(x).mean(1)))),
        embed=nn.Embedding(N_WORDS, 8, padding_idx=0),
        middle=nn.Linear(8, 8),
        out=nn.Linear(8, N_CLASSES),
    )


@odd(tokens, noted="an embedding")
def bag_of_embeddings() -> nn.Module:
    """An embedding bag with norms held down, which it does to its weights in each pass."""
    return chain(nn.EmbeddingBag(N_WORDS, 8, mode="sum"), nn.ReLU(), nn.Linear(8, N_CLASSES))


@odd(tokens, noted="an embedding")
def embedding_with_largest_norm() -> nn.Module:
    """An embedding that changes its own weights as it is used."""
    return wired(
        lambda self, x: self.out(self.embed(x).mean(1)),
        embed=nn.Embedding(N_WORDS, 8, max_norm=1.0),
        out=nn.Linear(8, N_CLASSES),
    )


@odd(series, noted=LINEAR)
def multihead_attention() -> nn.Module:
    """Packed projections between linear layers."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.embed(x.transpose(1, 2))
        return self.out(self.norm(x + self.attention(x, x, x, need_weights=False)[0]).mean(1))

    return wired(
        forward,
        embed=nn.Linear(4, 8),
        attention=nn.MultiheadAttention(8, 2, batch_first=True),
        norm=nn.LayerNorm(8),
        out=nn.Linear(8, N_CLASSES),
    )


@odd(series, noted=LINEAR)
def attention_of_other_widths() -> nn.Module:
    """Separate projections of keys and values."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        query = self.query.expand(len(x), -1, -1)
        x = x.transpose(1, 2)
        return self.out(self.attention(query, x, x)[0][:, 0])

    return wired(
        forward,
        query=nn.Parameter(torch.randn(1, 1, 8)),
        attention=nn.MultiheadAttention(8, 2, kdim=4, vdim=4, batch_first=True),
        out=nn.Linear(8, N_CLASSES),
    )


@odd(tokens, noted=LINEAR)
def attention_alone() -> nn.Module:
    """Nothing but packed attention."""
    return wired(
        lambda self, x: self.attention(*[self.embed(x)] * 3)[0].mean(1)[:, :N_CLASSES],
        embed=nn.Embedding(N_WORDS, 8),
        attention=nn.MultiheadAttention(8, 2, batch_first=True),
    )


@odd(series, noted=LINEAR)
def transformer_layer() -> nn.Module:
    """torch's own layer, which computes in another way when it may."""
    return wired(
        lambda self, x: self.out(self.layer(self.embed(x.transpose(1, 2))).mean(1)),
        embed=nn.Linear(4, 8),
        layer=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        out=nn.Linear(8, N_CLASSES),
    )


@odd(tokens, noted=LINEAR)
def transformer_with_padding() -> nn.Module:
    """An encoder of two layers whose mask comes from the words."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        mask = (x == 0) & (torch.arange(x.shape[1]) > 0)
        return self.out(self.encoder(self.embed(x) + self.places, src_key_padding_mask=mask)[:, 0])

    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, activation="gelu")
    return wired(
        forward,
        embed=nn.Embedding(N_WORDS, 8),
        places=nn.Parameter(torch.randn(10, 8) / 8),
        encoder=nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        out=nn.Linear(8, N_CLASSES),
    )


@odd(series, noted=LINEAR)
def transformer_nested() -> nn.Module:
    """An encoder that may compute in nested tensors."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return wired(
        lambda self, x: self.out(
            self.encoder(self.embed(x.transpose(1, 2)), src_key_padding_mask=x[:, 0] > 9.0).mean(1)
        ),
        embed=nn.Linear(4, 8),
        encoder=nn.TransformerEncoder(layer, 1),
        out=nn.Linear(8, N_CLASSES),
    )


@odd(tokens, noted=PACKED)
def transformer_that_sees_its_padding() -> nn.Module:
    """An encoder whose nested tensors put zeros where the words end, which the answers see."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return wired(
        lambda self, x: self.out(self.encoder(self.embed(x), src_key_padding_mask=_behind(x)).mean(1)),
        embed=nn.Embedding(N_WORDS, 8),
        encoder=nn.TransformerEncoder(layer, 1),
        out=nn.Linear(8, N_CLASSES),
    )


def _behind(words: Tensor) -> Tensor:
    """Where a text has ended: at most the last five words."""
    return torch.arange(words.shape[1]) >= 5 + words[:, :1] % 6


@odd(tokens, noted=LINEAR)
def decoder_over_an_encoding() -> nn.Module:
    """torch's decoder layer, causal, tokens first, with attention to another sequence."""

    def forward(self: nn.Module, words: Tensor) -> Tensor:
        x = self.embed(words).transpose(0, 1)
        causal = nn.Transformer.generate_square_subsequent_mask(len(x))
        return self.out(self.layer(x, x.flip(0), tgt_mask=causal, tgt_is_causal=True)[-1])

    return wired(
        forward,
        embed=nn.Embedding(N_WORDS, 8),
        layer=nn.TransformerDecoderLayer(8, 2, 16),
        out=nn.Linear(8, N_CLASSES),
    )


@odd(series, noted=LINEAR)
def attention_with_everything() -> nn.Module:
    """Biases of keys and values, a zero token, a mask of numbers, weights of each head."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        mask = -torch.linspace(0, 3, x.shape[1] * x.shape[1]).view(x.shape[1], -1)
        mixed, weights = self.attention(x, x, x, attn_mask=mask, average_attn_weights=False)
        return self.out(mixed.mean(1)) + weights.mean((1, 2))[:, :N_CLASSES]

    attention = nn.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True, batch_first=True)
    return wired(forward, attention=attention, out=nn.Linear(4, N_CLASSES))


class _SelfAttention(nn.MultiheadAttention):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x + super().forward(x, x, x, need_weights=False)[0]


@odd(series, noted=LINEAR)
def attention_derived() -> nn.Module:
    """A class of one's own from torch's attention, used for each example alone, without a batch."""
    return wired(
        lambda self, x: self.out(torch.stack([self.attention(part) for part in x.transpose(1, 2)]).mean(1)),
        attention=_SelfAttention(4, 1, bias=False),
        out=nn.Linear(4, N_CLASSES),
    )


@odd(series, noted=PACKED)
def attention_read_elsewhere() -> nn.Module:
    """The packed projection is read by other code as well."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        return self.out(self.attention(x, x, x)[0].mean(1) + self.attention.in_proj_weight.mean(0))

    return wired(forward, attention=nn.MultiheadAttention(4, 2, batch_first=True), out=nn.Linear(4, N_CLASSES))


@odd(tagged)
def causal_attention_by_hand() -> nn.Module:
    """Attention of plain linear layers, causal, an answer a place."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.embed(x)
        q, k, v = (part.unflatten(2, (2, 4)).transpose(1, 2) for part in self.mix(x).chunk(3, dim=2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(self.norm(x + self.join(y.transpose(1, 2).flatten(2)))).transpose(1, 2)

    return wired(
        forward,
        embed=nn.Embedding(N_WORDS, 8),
        mix=nn.Linear(8, 24, bias=False),
        join=nn.Linear(8, 8),
        norm=nn.LayerNorm(8),
        out=nn.Linear(8, 3),
    )


def of_several_lengths(n: int, generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """(n, 10) words and how many count of each."""
    words, labels = tokens(n, generator)
    return (words, torch.randint(1, 11, (n,), generator=generator)), labels


@odd(of_several_lengths)
def packed_sequences() -> nn.Module:
    """Sequences of several lengths, packed for the recurrent cell."""

    def forward(self: nn.Module, words: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(words), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return self.out(self.middle(self.lstm(packed)[1][0][-1]))

    return wired(
        forward,
        embed=nn.Embedding(N_WORDS, 6),
        lstm=nn.LSTM(6, 8, batch_first=True),
        middle=nn.Linear(8, 8),
        out=nn.Linear(8, N_CLASSES),
    )


@odd(series)
def causal_convolutions() -> nn.Module:
    """Dilated convolutions padded on one side, with gates."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        for layer, dilation in zip(self.layers, (1, 2, 4), strict=True):
            value, gate = layer(functional.pad(x, (2 * dilation, 0))).chunk(2, dim=1)
            x = x + torch.tanh(value) * torch.sigmoid(gate)
        return self.out(x[:, :, -1])

    layers = nn.ModuleList(nn.Conv1d(4, 8, 3, dilation=dilation) for dilation in (1, 2, 4))
    return wired(forward, layers=layers, out=nn.Linear(4, N_CLASSES))


@odd(series)
def steps_as_examples() -> nn.Module:
    """Time folded into the batch: a layer runs 24 times an example."""
    return wired(
        lambda self, x: self.out(functional.relu(self.step(x.transpose(1, 2).reshape(-1, 4))).view(-1, 24, 8).amax(1)),
        step=nn.Linear(4, 8),
        out=nn.Linear(8, N_CLASSES),
    )

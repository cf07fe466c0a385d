"""Weights that several parts use, weights that are no layer's, and weights that others make."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from odd_networks.case import N_CLASSES, N_WORDS, chain, convolution, odd, rows, small_mlp, tokens, wired

relu = functional.relu


@odd(rows)
def layer_called_twice() -> nn.Module:
    """One layer, one behind the other."""
    return wired(
        lambda self, x: self.out(relu(self.again(relu(self.again(relu(self.first(x))))))),
        first=nn.Linear(12, 16),
        again=nn.Linear(16, 16),
        out=nn.Linear(16, N_CLASSES),
    )


@odd(rows)
def one_module_under_two_names() -> nn.Module:
    """The state has its tensors twice."""
    again = nn.Linear(16, 16)
    return chain(nn.Linear(12, 16), nn.ReLU(), again, nn.ReLU(), again, nn.ReLU(), nn.Linear(16, N_CLASSES))


@odd(rows)
def one_block_three_times() -> nn.Module:
    """A residual block that is repeated, as in ALBERT."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(3):
            x = x + self.block(x)
        return self.out(x)

    block = chain(nn.LayerNorm(16), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 16))
    return wired(forward, first=nn.Linear(12, 16), block=block, out=nn.Linear(16, N_CLASSES))


@odd(rows, noted="its weight is shared")
def one_parameter_in_two_layers() -> nn.Module:
    """Two layers with one weight and biases of their own."""
    network = chain(
        nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, N_CLASSES)
    )
    network[4].weight = network[2].weight
    return network


@odd(rows, noted="its weight is shared")
def one_memory_in_two_parameters() -> nn.Module:
    """Two parameters, one the transpose of the other, in the same memory."""
    network = chain(
        nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, N_CLASSES)
    )
    network[4].weight = nn.Parameter(network[2].weight.detach().t())
    return network


@odd(rows)
def parameters_in_one_vector() -> nn.Module:
    """All parameters are pieces of one long vector."""
    network = small_mlp()
    flat = nn.utils.parameters_to_vector(network.parameters()).detach()
    nn.utils.vector_to_parameters(flat, network.parameters())
    return network


def pairs_of_rows(n: int, generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Two (n, 12) inputs, and a number each."""
    left, right = torch.randn(2, n, 12, generator=generator)
    return (left, right), (left - right).abs().mean(1)


@odd(pairs_of_rows)
def siamese() -> nn.Module:
    """One branch for both inputs; the answer is a distance."""
    return wired(
        lambda self, a, b: (self.branch(a) - self.branch(b)).square().sum(1),
        branch=chain(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4)),
    )


def rows_as_targets(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(n, 12), which are to be given back."""
    x = torch.randn(n, 12, generator=generator)
    return x, x


@odd(rows_as_targets)
def tied_autoencoder() -> nn.Module:
    """The decoder is the encoder's weight, transposed."""
    return wired(
        lambda self, x: functional.linear(torch.tanh(self.encoder(x)), self.encoder.weight.t(), self.shift),
        encoder=nn.Linear(12, 6),
        shift=nn.Parameter(torch.zeros(12)),
    )


@odd(rows_as_targets)
def tied_decoder_module() -> nn.Module:
    """The decoder is a module of its own that holds the encoder."""

    def decode(self: nn.Module, h: Tensor) -> Tensor:
        return functional.linear(h, self.source.weight.t())

    encoder = nn.Linear(12, 6)
    return wired(
        lambda self, x: self.decoder(relu(self.encoder(x))), encoder=encoder, decoder=wired(decode, source=encoder)
    )


@odd(rows)
def weight_used_as_a_number() -> nn.Module:
    """Answers are scaled by the norm of a weight."""
    return wired(
        lambda self, x: self.out(relu(self.first(x))) * self.first.weight.norm(),
        first=nn.Linear(12, 16),
        out=nn.Linear(16, N_CLASSES),
    )


@odd(rows, refused="does not run")
def weights_without_their_layers() -> nn.Module:
    """Layers as holders of weights, which a function uses."""
    return wired(
        lambda self, x: relu(x @ self.first.weight.t()) @ self.out.weight.t(),
        first=nn.Linear(12, 16),
        out=nn.Linear(16, N_CLASSES),
    )


def tokens_for_tokens(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(n, 10) words, and the word behind each."""
    words = torch.randint(0, N_WORDS, (n, 11), generator=generator)
    return words[:, :-1].contiguous(), words[:, 1:].contiguous()


@odd(tokens_for_tokens, noted="its weight is shared")
def tied_embedding() -> nn.Module:
    """A language model whose last layer is its embedding; an answer a place."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        return self.out(relu(self.middle(self.embed(x)))).transpose(1, 2)

    network = wired(
        forward, embed=nn.Embedding(N_WORDS, 8), middle=nn.Linear(8, 8), out=nn.Linear(8, N_WORDS, bias=False)
    )
    network.out.weight = network.embed.weight
    return network


@odd(rows, noted="bare parameters")
def parameter_list_and_dict() -> nn.Module:
    """Weights in containers, multiplied by hand."""
    return wired(
        lambda self, x: self.out(relu(x @ self.weights[0] + self.shifts["first"])),
        weights=nn.ParameterList([torch.randn(12, 16) / 4]),
        shifts=nn.ParameterDict({"first": torch.zeros(16)}),
        out=nn.Linear(16, N_CLASSES),
    )


@odd(noted="bare parameters")
def bare_kernel() -> nn.Module:
    """A kernel that no module owns, a scale and a position."""
    return wired(
        lambda self, x: self.head(relu(functional.conv2d(x + self.position, self.kernel, padding=1)) * self.scale),
        kernel=nn.Parameter(torch.randn(6, 3, 3, 3) / 5),
        position=nn.Parameter(torch.randn(3, 8, 8) / 5),
        scale=nn.Parameter(torch.rand(6, 1, 1)),
        head=chain(convolution(6, 4), nn.ReLU(), nn.Flatten(), nn.Linear(256, N_CLASSES)),
    )


@odd(rows)
def weights_made_by_a_layer() -> nn.Module:
    """A hypernetwork: a layer makes the weights of another."""
    return wired(
        lambda self, x: self.out(relu(functional.linear(x, self.maker(self.code).view(16, 12)))),
        maker=nn.Linear(3, 16 * 12),
        code=nn.Parameter(torch.randn(3)),
        out=nn.Linear(16, N_CLASSES),
    )


@odd(tokens)
def embedding_read_by_hand() -> nn.Module:
    """The embedding's table is normalised before it is used."""
    return wired(
        lambda self, x: self.out(functional.normalize(self.embed.weight, dim=1)[x].mean(1)),
        embed=nn.Embedding(N_WORDS, 8),
        out=nn.Linear(8, N_CLASSES),
    )

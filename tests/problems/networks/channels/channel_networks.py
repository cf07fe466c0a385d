"""Networks whose channels hang together in the ways that people build: name, network, inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from problems.networks.architectures.mobilenet import MobileNetV2
from problems.networks.architectures.resnet import ResNet
from problems.networks.architectures.transformer import TextTransformer, VisionTransformer

relu = functional.relu

CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {}
"""By name: what makes the network, and its inputs."""


def case(inputs: Callable[[], Any]) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Register a builder under its name."""

    def register(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        CASES[build.__name__] = (build, inputs)
        return build

    return register


def images(channels: int = 3, side: int = 8) -> Callable[[], Tensor]:
    """Two images."""
    return lambda: torch.randn(2, channels, side, side)


def rows(*sizes: int) -> Callable[[], Tensor]:
    """Two rows."""
    return lambda: torch.randn(2, *sizes)


def words(length: int = 10) -> Callable[[], Tensor]:
    """Two texts."""
    return lambda: torch.randint(0, 20, (2, length))


def wired(forward: Callable[..., Any], **parts: Any) -> nn.Module:
    """A network whose `forward` is the function, and whose attributes are the parts."""
    network: nn.Module = type("Wired", (nn.Module,), {"forward": forward})()
    for name, part in parts.items():
        setattr(network, name, part)
    return network


def conv(n_in: int, n_out: int, k: int = 3, **options: Any) -> nn.Conv2d:
    """Of the same size."""
    return nn.Conv2d(n_in, n_out, k, **{"padding": k // 2, **options})


def head(n: int) -> nn.Module:
    """Mean over the places, and four classes."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n, 4))


@case(images())
def dense_net() -> nn.Module:
    """Every layer takes in the outputs of all before it."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        maps = [self.stem(x)]
        for norm, layer in zip(self.norms, self.layers, strict=True):
            maps.append(layer(relu(norm(torch.cat(maps, 1)))))
        return self.head(torch.cat(maps, 1))

    return wired(
        forward,
        stem=conv(3, 6),
        norms=nn.ModuleList(nn.BatchNorm2d(6 + 4 * k) for k in range(3)),
        layers=nn.ModuleList(conv(6 + 4 * k, 4) for k in range(3)),
        head=head(18),
    )


class ShuffleUnit(nn.Module):
    """Half of the channels goes by, the other through a branch; then both are shuffled."""

    def __init__(self, n: int) -> None:
        super().__init__()
        half = n // 2
        self.branch = nn.Sequential(
            conv(half, half, 1), nn.BatchNorm2d(half), nn.ReLU(), conv(half, half, groups=half), conv(half, half, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """To the same shape."""
        left, right = x.chunk(2, 1)
        x = torch.cat([left, self.branch(right)], 1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


@case(images())
def shuffle_net() -> nn.Module:
    """Two shuffle units."""
    return nn.Sequential(conv(3, 12), ShuffleUnit(12), ShuffleUnit(12), head(12))


@case(images())
def channel_shuffle_module() -> nn.Module:
    """torch's own shuffle between grouped convolutions."""
    return nn.Sequential(conv(3, 12), nn.ChannelShuffle(3), nn.ReLU(), conv(12, 12, groups=3), head(12))


@case(images())
def inverted_residual() -> nn.Module:
    """Wide inside, depthwise, a shortcut between the narrow ends."""
    block = nn.Sequential(
        conv(6, 18, 1, bias=False),
        nn.BatchNorm2d(18),
        nn.ReLU6(),
        conv(18, 18, groups=18, bias=False),
        nn.BatchNorm2d(18),
        nn.ReLU6(),
        conv(18, 6, 1, bias=False),
        nn.BatchNorm2d(6),
    )
    return wired(
        lambda self, x: self.head((y := self.stem(x)) + self.block(y)), stem=conv(3, 6), block=block, head=head(6)
    )


@case(images(3, 16))
def mobile_net() -> nn.Module:
    """The named workload."""
    return MobileNetV2((3, 16, 16), 4, width=0.1)


@case(images(3, 16))
def res_net() -> nn.Module:
    """The named workload."""
    return ResNet((3, 16, 16), 4, mean=[0.5] * 3, std=[0.2] * 3, blocks=1)


@case(images())
def u_net() -> nn.Module:
    """Down, up by transposed convolutions, concatenation on each level."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        a = relu(self.down1(x))
        b = relu(self.down2(functional.max_pool2d(a, 2)))
        c = relu(self.down3(functional.max_pool2d(b, 2)))
        b = relu(self.join2(torch.cat([self.up2(c), b], 1)))
        return self.out(relu(self.join1(torch.cat([self.up1(b), a], 1))))

    return wired(
        forward,
        down1=conv(3, 4),
        down2=conv(4, 6),
        down3=conv(6, 8),
        up2=nn.ConvTranspose2d(8, 6, 2, stride=2),
        join2=conv(12, 6),
        up1=nn.ConvTranspose2d(6, 4, 2, stride=2),
        join1=conv(8, 4),
        out=nn.Conv2d(4, 3, 1),
    )


@case(images())
def gated_by_chunk() -> nn.Module:
    """Values and gates are halves of one layer's channels."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        value, gate = self.both(relu(self.stem(x))).chunk(2, 1)
        return self.head(torch.tanh(value) * torch.sigmoid(gate))

    return wired(forward, stem=conv(3, 5), both=conv(5, 12), head=head(6))


@case(rows(7, 5))
def swiglu_of_sequences() -> nn.Module:
    """torch's gate on the last axis of sequences, and a gate by chunks of it."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = functional.glu(self.first(x))
        value, gate = self.second(x).chunk(2, -1)
        return self.out((functional.silu(gate) * value).mean(1))

    return wired(forward, first=nn.Linear(5, 12), second=nn.Linear(6, 16), out=nn.Linear(8, 4))


class ConvNextBlock(nn.Module):
    """Depthwise, a norm and linear layers with channels last, a scale a channel, a shortcut."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.depthwise, self.norm = conv(n, n, 7, groups=n), nn.LayerNorm(n)
        self.up, self.down = nn.Linear(n, 3 * n), nn.Linear(3 * n, n)
        self.scale = nn.Parameter(torch.full((n,), 0.7))

    def forward(self, x: Tensor) -> Tensor:
        """To the same shape."""
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(functional.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


@case(images())
def conv_next() -> nn.Module:
    """Two blocks behind a stem."""
    return nn.Sequential(nn.Conv2d(3, 6, 2, stride=2), ConvNextBlock(6), ConvNextBlock(6), head(6))


@case(images())
def squeeze_and_excite() -> nn.Module:
    """Channels scaled by what a small network makes of their means."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.stem(x)
        scale = torch.sigmoid(self.excite(relu(self.squeeze(functional.adaptive_avg_pool2d(x, 1)))))
        return self.head(x * scale)

    return wired(forward, stem=conv(3, 8), squeeze=conv(8, 3, 1), excite=conv(3, 8, 1), head=head(8))


@case(images())
def res_next() -> nn.Module:
    """Grouped convolutions in a residual block."""
    block = nn.Sequential(
        conv(8, 12, 1), nn.BatchNorm2d(12), nn.ReLU(), conv(12, 12, groups=4), nn.ReLU(), conv(12, 8, 1)
    )
    return wired(
        lambda self, x: self.head(relu((y := self.stem(x)) + self.block(y))), stem=conv(3, 8), block=block, head=head(8)
    )


@case(images(1, 28))
def vision_transformer() -> nn.Module:
    """Attention of plain linear layers."""
    return VisionTransformer((1, 28, 28), 10, width=16, n_blocks=1)


@case(images(1, 28))
def packed_vision_transformer() -> nn.Module:
    """Attention of a class derived from torch's."""
    return VisionTransformer((1, 28, 28), 10, width=16, n_blocks=1, attention="packed")


@case(words())
def text_transformer() -> nn.Module:
    """Embedded words."""
    return TextTransformer(20, 10, 5, width=16, n_blocks=1)


@case(images())
def class_token() -> nn.Module:
    """Patches, a token of the class beside them, positions, fused projections by views."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.places
        n, t, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, t, 3, self.heads, self.width).permute(2, 0, 3, 1, 4)
        weights = ((q @ k.transpose(-2, -1)) * self.width**-0.5).softmax(-1)
        x = x + self.join((weights @ v).transpose(1, 2).reshape(n, t, -1))
        return self.out(self.last(x)[:, 0])

    return wired(
        forward,
        patches=nn.Conv2d(3, 12, 4, stride=4),
        token=nn.Parameter(torch.randn(1, 1, 12)),
        places=nn.Parameter(torch.randn(1, 5, 12)),
        norm=nn.LayerNorm(12),
        qkv=nn.Linear(12, 36),
        join=nn.Linear(12, 12),
        last=nn.LayerNorm(12),
        out=nn.Linear(12, 4),
        heads=3,
        width=4,
    )


@case(rows(7, 5))
def encoder_layers() -> nn.Module:
    """torch's encoder, time first, the norm behind."""
    layer = nn.TransformerEncoderLayer(8, 4, 16, activation="gelu")
    return wired(
        lambda self, x: self.out(self.encoder(self.embed(x).transpose(0, 1)).mean(0)),
        embed=nn.Linear(5, 8),
        encoder=nn.TransformerEncoder(layer, 2),
        out=nn.Linear(8, 4),
    )


@case(lambda: (torch.randn(2, 6, 5), torch.randn(2, 4, 3)))
def encoder_and_decoder() -> nn.Module:
    """torch's whole transformer, with a causal mask."""

    def forward(self: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(y.shape[1])
        return self.out(self.transformer(self.embed_x(x), self.embed_y(y), tgt_mask=mask))

    return wired(
        forward,
        embed_x=nn.Linear(5, 8),
        embed_y=nn.Linear(3, 8),
        transformer=nn.Transformer(8, 2, 1, 1, 12, batch_first=True),
        out=nn.Linear(8, 4),
    )


@case(lambda: (torch.randn(2, 6, 8), torch.randn(2, 4, 5)))
def attention_with_everything() -> nn.Module:
    """Keys and values of another width, biases of them, a zero token, a mask a head, weights that are used."""

    def forward(self: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        mask = torch.arange(len(x) * 4 * 6 * 4).reshape(-1, 6, 4) % 5 == 1
        hidden = torch.zeros(len(x), 4, dtype=torch.bool)
        hidden[:, 3] = True
        x, _ = self.attention(self.first(x), y, y, key_padding_mask=hidden, attn_mask=mask, need_weights=False)
        return self.out(x).mean(1)

    return wired(
        forward,
        first=nn.Linear(8, 12),
        attention=nn.MultiheadAttention(
            12, 4, kdim=5, vdim=5, batch_first=True, add_bias_kv=True, add_zero_attn=True, bias=False
        ),
        out=nn.Linear(12, 4),
    )


@case(rows(3, 24))
def convolutions_and_gru() -> nn.Module:
    """Convolutions over time, then a recurrent cell that takes their channels in."""
    return wired(
        lambda self, x: self.out(self.gru(self.convs(x).transpose(1, 2))[1][-1]),
        convs=nn.Sequential(nn.Conv1d(3, 8, 5), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 6, 3), nn.ReLU()),
        gru=nn.GRU(6, 5, batch_first=True),
        out=nn.Linear(5, 4),
    )


@case(rows(7, 5))
def long_short_term_memory() -> nn.Module:
    """Linear layers before and behind a cell."""
    return wired(
        lambda self, x: self.out(relu(self.middle(self.lstm(relu(self.first(x)))[0][:, -1]))),
        first=nn.Linear(5, 6),
        lstm=nn.LSTM(6, 5, batch_first=True, bidirectional=True),
        middle=nn.Linear(10, 6),
        out=nn.Linear(6, 4),
    )


@case(images(1, 8))
def autoencoder() -> nn.Module:
    """Sigmoids, a bottleneck, an unflattened picture, transposed convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 4, stride=4),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Linear(24, 5),
        nn.Tanh(),
        nn.Linear(5, 24),
        nn.Unflatten(1, (6, 2, 2)),
        nn.ConvTranspose2d(6, 4, 2, stride=2),
        nn.BatchNorm2d(4),
        nn.Sigmoid(),
        nn.ConvTranspose2d(4, 1, 2, stride=2),
    )


@case(rows(10))
def generator() -> nn.Module:
    """A picture by a view whose sizes are attributes."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = relu(self.first(x)).view(-1, self.channels, *self.shape)
        return torch.tanh(self.up(x))

    return wired(
        forward, first=nn.Linear(10, 80), up=nn.ConvTranspose2d(5, 1, 4, stride=2, padding=1), channels=5, shape=(4, 4)
    )


@case(images())
def mixer() -> nn.Module:
    """Linear layers over places, then over channels."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.places2(functional.gelu(self.places1(self.norm1(x).transpose(1, 2)))).transpose(1, 2)
        x = x + self.channels2(functional.gelu(self.channels1(self.norm2(x))))
        return self.out(x.mean(1))

    return wired(
        forward,
        patches=nn.Conv2d(3, 6, 2, stride=2),
        norm1=nn.LayerNorm(6),
        places1=nn.Linear(16, 10),
        places2=nn.Linear(10, 16),
        norm2=nn.LayerNorm(6, elementwise_affine=False),
        channels1=nn.Linear(6, 9),
        channels2=nn.Linear(9, 6),
        out=nn.Linear(6, 4),
    )


@case(images())
def norms_of_every_kind() -> nn.Module:
    """Group, instance and layer norms, with and without parameters and statistics, a slope a channel."""
    return nn.Sequential(
        conv(3, 12),
        nn.GroupNorm(3, 12),
        nn.PReLU(12),
        conv(12, 8),
        nn.GroupNorm(4, 8, affine=False),
        nn.ELU(),
        conv(8, 6),
        nn.InstanceNorm2d(6, affine=True, track_running_stats=True),
        nn.LeakyReLU(),
        conv(6, 7),
        nn.LayerNorm([7, 8, 8]),
        nn.Hardswish(),
        conv(7, 5),
        nn.GroupNorm(5, 5),
        nn.Softplus(),
        conv(5, 6),
        nn.BatchNorm2d(6, affine=False),
        conv(6, 6),
        nn.InstanceNorm2d(6),
        conv(6, 4),
        nn.GroupNorm(1, 4),
        nn.SyncBatchNorm(4),
        nn.Mish(),
        head(4),
    )


@case(images())
def transposed_of_every_kind() -> nn.Module:
    """Transposed convolutions in groups, depthwise, with a multiplier."""
    return nn.Sequential(
        conv(3, 8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 12, 2, groups=2),
        nn.ReLU(),
        nn.ConvTranspose2d(12, 12, 3, groups=12),
        nn.ReLU(),
        nn.ConvTranspose2d(12, 24, 1, groups=12),
        nn.ReLU(),
        conv(24, 5),
        head(5),
    )


@case(images())
def depthwise_with_multipliers() -> nn.Module:
    """Two filters a channel, of the image and of channels that can go."""
    return nn.Sequential(
        conv(3, 6, groups=3), nn.ReLU(), conv(6, 5), nn.ReLU(), conv(5, 10, groups=5, padding_mode="circular"), head(10)
    )


@case(rows(2, 5, 5, 5))
def volumes() -> nn.Module:
    """Three axes."""
    return nn.Sequential(
        nn.Conv3d(2, 6, 3), nn.BatchNorm3d(6), nn.ReLU(), nn.Conv3d(6, 4, 1, groups=2), nn.Flatten(), nn.Linear(108, 4)
    )


@case(images())
def pixels_and_channels() -> nn.Module:
    """Channels become pixels, and pixels channels."""
    return nn.Sequential(
        conv(3, 12), nn.PixelShuffle(2), conv(3, 4), nn.ReLU(), nn.PixelUnshuffle(2), conv(16, 4), head(4)
    )


@case(words())
def residual_of_embeddings() -> nn.Module:
    """Words and places, a norm by hand that everything passes, a residual sum."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.words(x) + self.places(torch.arange(x.shape[1]))
        x = x + self.down(relu(self.up(self.norm(x))))
        return self.out(x.mean(1))

    return wired(
        forward,
        words=nn.Embedding(20, 8, padding_idx=0),
        places=nn.Embedding(10, 8),
        norm=nn.RMSNorm(8),
        up=nn.Linear(8, 12),
        down=nn.Linear(12, 8),
        out=nn.Linear(8, 4),
    )


@case(rows(12))
def repeated_block() -> nn.Module:
    """One block that runs three times."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(3):
            x = x + self.down(relu(self.up(x)))
        return self.out(x)

    return wired(forward, first=nn.Linear(12, 8), up=nn.Linear(8, 6), down=nn.Linear(6, 8), out=nn.Linear(8, 4))


@case(rows(6, 12))
def attention_by_einsum() -> nn.Module:
    """Heads of a hand-written attention, by sums over named axes."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        q, k, v = (layer(x).view(n, t, self.n_heads, self.width) for layer in (self.q, self.k, self.v))
        weights = torch.einsum("nqhd,nkhd->nhqk", q, k).softmax(-1)
        return self.out(torch.einsum("nhqk,nkhd->nqhd", weights, v).reshape(n, t, -1).mean(1))

    parts = {name: nn.Linear(12, 12) for name in ("q", "k", "v")}
    return wired(forward, **parts, out=nn.Linear(12, 4), n_heads=4, width=3)

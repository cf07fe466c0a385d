"""Transformer encoders: blocks of attention and a feed-forward layer, for patches of images and for tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Attention = Literal["linear", "packed"]
ATTENTIONS: tuple[Attention, ...] = ("linear", "packed")
"""Projections as four linear layers, or `nn.MultiheadAttention` with its one packed projection."""


class LinearAttention(nn.Module):
    """Multi-head self-attention whose query, key, value and output projections are linear layers of their own.

    Args:
        width: Values a token.
        n_heads: Heads; they share the width.

    Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1 and sec. 3.2.2.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to the same shape."""
        query, key, value = (
            layer(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class PackedAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` as self-attention of one tensor."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__(width, n_heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(n, tokens, width) to the same shape."""
        return super().forward(x, x, x, need_weights=False)[0]


class Block(nn.Module):
    """Pre-norm encoder block: attention, then two linear layers with GELU between them, each beside a shortcut."""

    def __init__(self, width: int, n_heads: int, hidden: int, attention: Attention) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width)
        self.attention = LinearAttention(width, n_heads) if attention == "linear" else PackedAttention(width, n_heads)
        self.norm_2 = nn.LayerNorm(width)
        self.linear_1 = nn.Linear(width, hidden)
        self.linear_2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) to the same shape."""
        x = x + self.attention(self.norm_1(x))
        return x + self.linear_2(functional.gelu(self.linear_1(self.norm_2(x))))


class VisionTransformer(nn.Module):
    """Patches of an image as tokens, encoder blocks, and the classes from the tokens' mean.

    Args:
        input_shape: (channels, height, width) of an image; its sides are multiples of the patch's.
        n_classes: Outputs.
        width: Values a token.
        n_blocks: Encoder blocks.
        n_heads: Heads of attention.
        patch: Side of a patch in pixels; None takes an eighth of the image's side, at least 2.
        attention: Separate linear projections, or torch's packed one.
        seed: Of the initial weights; torch's global generator is neither read nor moved.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929. Differs: the mean of the tokens in place of a class token.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_classes: int,
        *,
        width: int = 48,
        n_blocks: int = 2,
        n_heads: int = 4,
        patch: int | None = None,
        attention: Attention = "linear",
        seed: int = 0,
    ) -> None:
        super().__init__()
        channels, height, side = (int(n) for n in input_shape)
        patch = patch or max(2, math.gcd(height, side) // 7)
        if height % patch or side % patch:
            raise ValueError(f"patches of {patch} pixels do not fill an image of {height} x {side}.")
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.zeros(1, (height // patch) * (side // patch), width))
        self.blocks = nn.Sequential(*(Block(width, n_heads, 2 * width, attention) for _ in range(n_blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_classes)
        draw_transformer(self, seed=seed)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, n_classes) of images (n, channels, height, width)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.norm(self.blocks(tokens)).mean(dim=1))


class TextTransformer(nn.Module):
    """Token and position embeddings, encoder blocks, and the classes from the mean of the tokens that are no padding.

    Args:
        n_words: Size of the vocabulary; word 0 is padding.
        length: Most tokens of a text.
        n_classes: Outputs.
        width: Values a token.
        n_blocks: Encoder blocks.
        n_heads: Heads of attention.
        attention: Separate linear projections, or torch's packed one.
        seed: Of the initial weights.
    """

    def __init__(
        self,
        n_words: int,
        length: int,
        n_classes: int,
        *,
        width: int = 32,
        n_blocks: int = 2,
        n_heads: int = 4,
        attention: Attention = "linear",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(n_words, width)
        self.positions = nn.Parameter(torch.zeros(1, length, width))
        self.blocks = nn.Sequential(*(Block(width, n_heads, 2 * width, attention) for _ in range(n_blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_classes)
        draw_transformer(self, seed=seed)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (n, n_classes) of tokens (n, length) int64."""
        x = self.norm(self.blocks(self.words(tokens) + self.positions))
        is_word = (tokens > 0).unsqueeze(-1).to(x.dtype)
        return self.head((x * is_word).sum(dim=1) / is_word.sum(dim=1).clamp(min=1))


def draw_transformer(model: nn.Module, *, seed: int) -> None:
    """Initial weights in place: matrices normal with variance 1 / fan_in, embeddings .02, biases zero, norms one."""
    generator = torch.Generator().manual_seed(seed)
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[0] in norms:
                continue
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim == 2 and not name.startswith("words"):
                parameter.normal_(0.0, 1 / math.sqrt(parameter.shape[1]), generator=generator)
            elif parameter.ndim == 4:
                parameter.normal_(0.0, 1 / math.sqrt(parameter[0].numel()), generator=generator)
            else:
                parameter.normal_(0.0, 0.02, generator=generator)

"""What goes in and what comes out: several inputs, names, structures, numbers, labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from odd_networks.case import N_CLASSES, N_WORDS, chain, classes, convolution, odd, rows, small_cnn, small_mlp, wired

relu = functional.relu


def image_and_row(n: int, generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """An image and a row each."""
    return (torch.randn(n, 3, 8, 8, generator=generator), torch.randn(n, 4, generator=generator)), classes(n, generator)


@odd(image_and_row)
def inputs_by_position() -> nn.Module:
    """An image and a row of numbers."""
    return wired(
        lambda self, image, row: self.out(torch.cat([relu(self.conv(image)).mean((2, 3)), relu(self.fc(row))], 1)),
        conv=convolution(3, 6),
        fc=nn.Linear(4, 6),
        out=nn.Linear(12, N_CLASSES),
    )


def named(n: int, generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    """Words and a mask by name."""
    words = torch.randint(0, N_WORDS, (n, 10), generator=generator)
    return {"input_ids": words, "attention_mask": (words > 3).long()}, classes(n, generator)


@odd(named)
def inputs_by_name() -> nn.Module:
    """Words and a mask, in another order than the signature's, with an argument that is not given."""

    def forward(
        self: nn.Module, attention_mask: Tensor, input_ids: Tensor, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        hidden = self.embed(input_ids) * attention_mask[:, :, None]
        return {"hidden": hidden, "logits": self.out(relu(self.middle(hidden.mean(1))))}

    return wired(forward, embed=nn.Embedding(N_WORDS, 8), middle=nn.Linear(8, 8), out=nn.Linear(8, N_CLASSES))


@odd(named, refused="does not take the examples")
def inputs_by_other_names() -> nn.Module:
    """The names are not those of the signature."""
    return wired(lambda self, words, mask: self.out(words * mask), out=nn.Linear(10, N_CLASSES))


@odd(rows)
def called_by_keyword() -> nn.Module:
    """Layers get their input by name."""
    return wired(
        lambda self, x: self.out(input=relu(self.first(input=x))), first=nn.Linear(12, 16), out=nn.Linear(16, N_CLASSES)
    )


@odd(rows)
def arguments_with_defaults() -> nn.Module:
    """Options that nobody gives, one of them a tensor."""

    def forward(self: nn.Module, x: Tensor, scale: float = 2.0, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            x = x * mask
        return self.inner(x) * scale

    return wired(forward, inner=small_mlp())


@odd(rows)
def any_arguments() -> nn.Module:
    """A forward of `*inputs`."""
    return wired(lambda self, *inputs: self.inner(inputs[0]), inner=small_mlp())


@odd(rows)
def any_keywords() -> nn.Module:
    """A forward of an input and `**options`."""
    return wired(lambda self, x, **options: self.inner(x * options.get("scale", 1.0)), inner=small_mlp())


@dataclass
class Answer:
    """What some libraries return."""

    logits: Tensor
    hidden: Tensor


@odd(rows)
def dataclass_output() -> nn.Module:
    """An object with logits."""

    def forward(self: nn.Module, x: Tensor) -> Answer:
        hidden = relu(self.first(x))
        return Answer(self.out(hidden), hidden)

    return wired(forward, first=nn.Linear(12, 16), out=nn.Linear(16, N_CLASSES))


class Pair(NamedTuple):
    """A named tuple."""

    features: Tensor
    scores: Tensor


def _pair(self: nn.Module, x: Tensor) -> Pair:
    return Pair(x, self.inner(x))


@odd(rows, pick=lambda outputs: outputs.scores)
def tuple_output() -> nn.Module:
    """A named tuple, of which one is picked."""
    return wired(_pair, inner=small_mlp())


@odd(rows, refused="pick")
def tuple_output_unpicked() -> nn.Module:
    """A named tuple, of which none is picked."""
    return wired(_pair, inner=small_mlp())


def two_tasks(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows, and four numbers for two heads."""
    return torch.randn(n, 12, generator=generator), torch.randn(n, 4, generator=generator)


@odd(two_tasks, pick=lambda outputs: torch.cat([outputs["first"], outputs["second"]], dim=1))
def two_heads() -> nn.Module:
    """Several outputs by name, judged together."""

    def forward(self: nn.Module, x: Tensor) -> dict[str, Tensor]:
        x = relu(self.trunk(x))
        return {"second": self.second(x), "first": self.first(x)}

    return wired(forward, trunk=nn.Linear(12, 16), first=nn.Linear(16, 3), second=nn.Linear(16, 1))


@odd(lambda n, generator: (torch.randn(n, 12, generator=generator), torch.randn(n, generator=generator)))
def one_number() -> nn.Module:
    """Regression: (n, 1) answers for (n,) targets."""
    return chain(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1))


def _scalar(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 12, generator=generator)
    return x, 1e4 * x[:, :1] + 3e4


@odd(_scalar, loss="mae")
def one_number_squeezed() -> nn.Module:
    """Regression of large numbers: all axes of one are dropped, the batch's too where it is one."""
    return wired(
        lambda self, x: self.inner(x).squeeze() * 1e4, inner=chain(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1))
    )


@odd()
def squeezed_logits() -> nn.Module:
    """Classes behind a pooling whose axes are dropped together with that of a batch of one."""
    body = chain(convolution(3, 6), nn.ReLU(), nn.Conv2d(6, N_CLASSES, 1), nn.AdaptiveAvgPool2d(1))
    return wired(lambda self, x: self.body(x).squeeze(), body=body)


def labels(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows with several labels each."""
    return torch.randn(n, 12, generator=generator), torch.randint(0, 2, (n, 4), generator=generator)


@odd(labels)
def several_labels() -> nn.Module:
    """Each of four labels may hold."""
    return chain(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))


def pictures(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images of bytes, to be given back in [0, 1]."""
    x = torch.randint(0, 256, (n, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return x, x / 255


@odd(pictures)
def bytes_to_pictures() -> nn.Module:
    """Takes bytes, gives pictures."""
    return wired(
        lambda self, x: torch.sigmoid(self.out(relu(self.first(x.float() / 255 - 0.5)))),
        first=convolution(3, 6),
        out=convolution(6, 3),
    )


@odd(lambda n, generator: (torch.rand(n, 12, generator=generator) > 0.5, classes(n, generator)))
def switches() -> nn.Module:
    """Takes booleans."""
    return wired(lambda self, x: self.inner(torch.where(x, 1.0, -1.0)), inner=small_mlp())


@odd(lambda n, generator: (torch.randn(n, 12, generator=generator).double(), classes(n, generator)))
def double_inputs() -> nn.Module:
    """Inputs of double precision, for a network of single precision."""
    return small_mlp()


@odd(rows)
def more_answers_than_classes() -> nn.Module:
    """Classes that never come."""
    return chain(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 9))


@odd(rows, refused="targets of")
def fewer_answers_than_classes() -> nn.Module:
    """Too few logits."""
    return chain(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))


@odd(rows, refused="must be classes")
def classes_instead_of_logits() -> nn.Module:
    """Answers with the class itself."""
    return wired(lambda self, x: self.inner(x).argmax(1), inner=small_mlp())


@odd(refused="one answer an example")
def one_answer_for_all() -> nn.Module:
    """Answers with a mean over the batch."""
    return wired(lambda self, x: self.inner(x).mean(0), inner=small_cnn())


@odd(rows, refused="does not take the examples")
def batch_size_built_in() -> nn.Module:
    """Takes 32 examples and no other number."""
    return wired(lambda self, x: self.inner(x.view(32, 12)), inner=small_mlp())


@odd(rows, loss=lambda outputs, targets: functional.nll_loss(outputs, targets, reduction="none"), metrics="accuracy")
def probabilities() -> nn.Module:
    """Log-probabilities, and a loss of the user's for them."""
    return chain(*small_mlp(), nn.LogSoftmax(dim=1))


def _graph(n: int, generator: torch.Generator) -> tuple[dict[str, Any], Tensor]:
    x = torch.randn(n, 6, 4, generator=generator)
    links = (torch.rand(n, 6, 6, generator=generator) > 0.5).float()
    return {"nodes": x, "links": links}, classes(n, generator)


@odd(_graph)
def graph_network() -> nn.Module:
    """Nodes and links: messages along a matrix."""

    def forward(self: nn.Module, nodes: Tensor, links: Tensor) -> Tensor:
        x = relu(links @ self.first(nodes) + self.own(nodes))
        return self.out((links @ x).sum(1))

    return wired(forward, first=nn.Linear(4, 8), own=nn.Linear(4, 8), out=nn.Linear(8, N_CLASSES))

"""Batch-norm recalibration and least-squares refit of decoders, on calibration images without labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from problems.data.examples import Inputs, len_of
from problems.lowrank.decomposable import Answers, tensor_answers
from problems.lowrank.layer_matrices import Layer
from problems.lowrank.moments import sampled_positions
from problems.networks.layers.batch_norms import BATCH_NORMS, recalibration
from problems.networks.layers.prunable import hooked, prunable_layers

Compensation = Literal["none", "batch-norm", "refit"]

_RIDGE = 1e-3


class Targets:
    """What the layers of the original network put out on the calibration images, at sampled positions.

    Args:
        model: The original, in evaluation mode.
        layers: Layers whose outputs are wanted; each runs once a pass.
        inputs: Of n calibration examples.
        answers: Runs the network.

    Attributes:
        outputs: By name, (samples, f) float32.
        positions: By name, (p,) int64 positions of a map that the samples are taken from, image by image.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], inputs: Inputs, *, answers: Answers = tensor_answers
    ) -> None:
        self.outputs: dict[str, Tensor] = {}
        self.positions = {layer.name: sampled_positions(layer, len_of(inputs)) for layer in layers}
        handles = [model.get_submodule(layer.name).register_forward_hook(self._see(layer)) for layer in layers]
        try:
            with torch.no_grad():
                answers(model, inputs)
        finally:
            for handle in handles:
                handle.remove()

    def _see(self, layer: Layer) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            # channels last, positions flat: (n, positions, f)
            maps = output.movedim(1, -1) if layer.kernel else output
            rows = maps.reshape(len(maps), -1, maps.shape[-1])
            self.outputs[layer.name] = rows[:, self.positions[layer.name]].flatten(0, 1).detach()

        return hook


def run_calibrated(
    model: nn.Module,
    inputs: Inputs,
    *,
    before: Callable[[str, Tensor], Any] | None = None,
    answers: Answers = tensor_answers,
) -> None:
    """Run a network once over calibration examples, in place: every batch norm takes its statistics from them.

    The statistics of each batch norm are computed in the order in which they run, on what the layers before it
    give now. Other buffers stay as they are.

    Args:
        model: In evaluation mode, and again behind it.
        inputs: Of n examples, all at once.
        before: Called with the name and the input of every convolution and linear layer just before it runs;
            what it does to the layer's weights holds for this pass already.
        answers: Runs the network.
    """
    layers = prunable_layers(model) if before is not None else {}
    others = [(b, b.clone()) for m in model.modules() if not isinstance(m, BATCH_NORMS) for b in m.buffers(False)]
    with recalibration(model), hooked(layers, before), torch.no_grad():
        answers(model, inputs)
    for buffer, values in others:
        buffer.copy_(values)


def refitted(z: Tensor, y: Tensor, old: Tensor, *, centred: bool) -> tuple[Tensor, Tensor]:
    """Least squares of y on z, drawn towards an old solution where z says nothing.

    Args:
        z: (r, n) inputs.
        y: (n, f) wanted outputs.
        old: (f, r) weights to stay near.
        centred: Whether a shift is solved for.

    Returns:
        (f, r) weights and the (f,) shift, zero when not centred. They minimise
        ||y - (w z)^T - shift||^2 / n + ridge ||w - old||^2, ridge being a thousandth of the mean square of z.
    """
    n = z.shape[1]
    z_mean, y_mean = (z.mean(dim=1), y.mean(dim=0)) if centred else (z.new_zeros(len(z)), y.new_zeros(y.shape[1]))
    zc = z - z_mean[:, None]
    gram = (zc @ zc.T).double() / n
    ridge = _RIDGE * gram.diagonal().mean().clamp_min(1e-12)
    right = (zc @ (y - y_mean - zc.T @ old.T)).double() / n
    step = torch.linalg.solve(gram + ridge * torch.eye(len(gram), dtype=torch.float64), right).T
    weight = old + step.to(old.dtype)
    return weight, y_mean - weight @ z_mean

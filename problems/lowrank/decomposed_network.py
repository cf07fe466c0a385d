"""A trained network whose layers can be decomposed: its tables, its factors, its decomposed forms."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from problems.lowrank.calibration import Compensation, Targets, refitted, run_calibrated
from problems.lowrank.choices import Choice, ChoiceTable
from problems.lowrank.factors import DataFactors, Factors, spread, svd_factors
from problems.lowrank.layer_matrices import Layer, Scheme, Whole, decomposable_layers
from problems.lowrank.materialise import empty_pair, fill_pair, projected_weight, replace_module
from problems.lowrank.moments import InputMoments, input_moments, metrics, patches, takes_mean
from problems.lowrank.spectra import (
    Measure,
    Tables,
    error_tables,
    kept_tables,
    option_key,
    table_lengths,
    weights_digest,
)
from problems.networks.layers.prunable import prunable_layers


class DecomposableNetwork:
    """Everything about one network that its compressions share.

    Args:
        model: Trained; left alone.
        calibration: (n, ...) images without labels, for what is measured on data.
        patterns: Layers to decompose, shell patterns of names separated by commas; None takes all.
        cache_dir: Folder of tables, as in `kept_tables`.

    Attributes:
        layers: The layers that can be decomposed.
        whole: Size of the network.
        weights: Their weights by name, float32.
        biases: Their biases, or None.
    """

    def __init__(
        self,
        model: nn.Module,
        calibration: Tensor,
        *,
        patterns: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.model = model.eval()
        self.calibration = calibration.contiguous(memory_format=torch.channels_last)
        self.cache_dir = cache_dir
        self.layers: list[Layer]
        self.whole: Whole
        self.layers, self.whole = decomposable_layers(model, calibration[:2], patterns)
        modules = prunable_layers(model)
        self.by_name = {layer.name: layer for layer in self.layers}
        self.weights = {name: modules[name].weight.detach().numpy() for name in self.by_name}
        self.biases: dict[str, np.ndarray | None] = {}
        for name in self.by_name:
            bias = modules[name].bias
            self.biases[name] = None if bias is None else bias.detach().numpy()
        self._known: dict[tuple[str, int], DataFactors] = {}

    # -- tables -----------------------------------------------------------------------------------

    def errors(self, measure: Measure = "spectral", schemes: Sequence[Scheme] = (0,)) -> Tables:
        """Relative errors of all choices, by `option_key`; those measured on data have scheme 0 only."""
        if measure != "data":
            return error_tables(
                self.weights, self.layers, measure=measure, schemes=tuple(schemes), cache_dir=self.cache_dir
            )
        state = {name: t.detach().numpy() for name, t in self.model.state_dict().items()}
        digest = weights_digest(state | {"calibration": self.calibration.numpy()})
        kind = f"data|{[(layer.name, layer.groups, layer.slices, takes_mean(layer)) for layer in self.layers]}"

        def make() -> Tables:
            return {
                option_key(layer.name, 0, k): self.data_factors(layer.name, k).errors
                for layer in self.layers
                for k in layer.slices
            }

        lengths = table_lengths(self.layers, (0,))
        return kept_tables(kind, digest, make, lengths=lengths, cache_dir=self.cache_dir)

    def table(self, measure: Measure = "spectral", schemes: Sequence[Scheme] = (0,)) -> ChoiceTable:
        """Errors and sizes of all choices."""
        schemes = (0,) if measure == "data" else schemes
        return ChoiceTable(self.layers, self.errors(measure, schemes), self.whole, schemes=schemes)

    # -- what is measured on data -----------------------------------------------------------------

    @functools.cached_property
    def moments(self) -> dict[str, InputMoments]:
        """Of the layers' inputs on the calibration images."""
        return input_moments(self.model, self.layers, self.calibration)

    @functools.cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """In which errors on data are measured, as `moments.metrics`."""
        return metrics(self.layers, self.moments)

    @functools.cached_property
    def targets(self) -> Targets:
        """What the layers put out on the calibration images."""
        return Targets(self.model, self.layers, self.calibration)

    def data_factors(self, name: str, k: int) -> DataFactors:
        """Factors of a layer that are optimal on data, for every rank; remembered."""
        if (name, k) not in self._known:
            self._known[name, k] = DataFactors(self.weights[name], self.by_name[name], self.metrics[name], k)
        return self._known[name, k]

    def factors(self, name: str, choice: Choice, *, on_data: bool, solve: bool = True) -> Factors:
        """The factors of a layer: optimal on data (scheme 0 only), or the SVD's; `solve` as in `DataFactors.at`."""
        if on_data and choice.scheme == 0:
            return self.data_factors(name, choice.k).at(choice.j, solve=solve)
        return svd_factors(self.weights[name], self.by_name[name], choice.scheme, choice.k, choice.j)

    # -- decomposed forms -------------------------------------------------------------------------

    def compress(
        self, choices: Mapping[str, Choice | None], *, on_data: bool = False, compensation: Compensation = "none"
    ) -> Decomposition:
        """The network with layers in two factors.

        Args:
            choices: By layer; None, or a layer not named, stays as it is.
            on_data: Factors optimal on the calibration images, with the mean of what is lost in the layer's bias, or in
                the running mean of the batch norm behind it.
            compensation: What the calibration images are used for then. `batch-norm` computes batch-norm statistics
                anew; `refit` also solves every decoder, just before it runs, for the least squares of the
                original layer's outputs on what its encoder gives in the compressed network, so that a layer makes good
                what earlier ones have lost. Decoders that hold a part of the kernel (schemes 1 to 3) stay.

        Source of `refit`: Zhang et al. 2015, arXiv:1505.06798, sec. 3.3 ("asymmetric"); there one layer after another,
        here within one pass and for sliced encoders.
        """
        parts: dict[str, Part] = {}
        dense = copy.deepcopy(self.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        modules = prunable_layers(dense)
        for name, choice in choices.items():
            if choice is None:
                continue
            # a decoder that is refitted need not be solved for before
            factors = self.factors(name, choice, on_data=on_data, solve=compensation != "refit")
            lost = self._lost_mean(name, choice, factors) if on_data else None
            bias = self.biases[name]
            parts[name] = Part(choice, factors, bias if lost is None or bias is None else bias + lost)
            self._put(modules[name], name, parts[name])
            if lost is not None and bias is None:
                self._shift_norm(dense, name, lost)
        if compensation != "none":

            def refit(name: str, x: Tensor) -> None:
                if name in parts and parts[name].choice.scheme == 0:
                    parts[name] = self._refitted(modules[name], name, parts[name], x)
                    self._put(modules[name], name, parts[name])

            run_calibrated(dense, self.calibration, before=refit if compensation == "refit" else None)
        return Decomposition(dense.eval().requires_grad_(False), parts, self.by_name)

    def _lost_mean(self, name: str, choice: Choice, factors: Factors) -> np.ndarray:
        """(f,) mean on the calibration images of what a layer's outputs lose."""
        layer = self.by_name[name]
        lost = self.weights[name] - projected_weight(layer, choice, factors).reshape(self.weights[name].shape)
        rows = lost.reshape(layer.groups, layer.n_out // layer.groups, -1)
        return np.einsum("gfm,gm->gf", rows, self.moments[name].mean).reshape(-1)

    def _shift_norm(self, model: nn.Module, name: str, lost: np.ndarray) -> None:
        """Let the batch norm behind a layer without a bias take over the mean of what its outputs lose."""
        norm = self.by_name[name].norm
        mean = None if norm is None else model.get_submodule(norm).running_mean
        if isinstance(mean, Tensor):
            mean -= torch.from_numpy(lost).to(mean.dtype)

    def _put(self, module: nn.Module, name: str, part: Part) -> None:
        weight = projected_weight(self.by_name[name], part.choice, part.factors)
        assert isinstance(module.weight, Tensor)
        module.weight.data.copy_(torch.from_numpy(weight).reshape(module.weight.shape))
        if part.bias is not None:
            assert isinstance(module.bias, Tensor)
            module.bias.data = torch.from_numpy(part.bias.astype(np.float32))

    def _refitted(self, module: nn.Module, name: str, part: Part, x: Tensor) -> Part:
        layer, (k, j) = self.by_name[name], (part.choice.k, part.choice.j)
        inputs = patches(module, layer.groups, x, self.targets.positions[name])  # type: ignore[arg-type]
        wanted = self.targets.outputs[name].reshape(len(self.targets.outputs[name]), layer.groups, -1)
        decoders, shifts = [], []
        for g in range(layer.groups):
            own = slice(g * k, (g + 1) * k)
            encoder = torch.from_numpy(spread(part.factors.encoder[own]).reshape(k * j, -1)).float()
            old = torch.from_numpy(part.factors.decoder[own].swapaxes(0, 1).reshape(-1, k * j)).float()
            solved, shift = refitted(encoder @ inputs[g], wanted[:, g], old, centred=takes_mean(layer))
            decoders.append(solved.double().numpy().reshape(-1, k, j).swapaxes(0, 1))
            shifts.append(shift.numpy())
        bias = None if part.bias is None else np.concatenate(shifts)
        return Part(part.choice, Factors(part.factors.encoder, np.concatenate(decoders)), bias)


class Part:
    """One decomposed layer.

    Args:
        choice: Scheme, slices, ranks.
        factors: Its factors.
        bias: (f,), or None.
    """

    def __init__(self, choice: Choice, factors: Factors, bias: np.ndarray | None) -> None:
        self.choice, self.factors, self.bias = choice, factors, bias


class Decomposition:
    """A compressed network in two forms.

    Args:
        dense: The original's modules with the weights that the factors stand for: the same outputs, and on a
            processor several times faster to evaluate than grouped convolutions.
        parts: The decomposed layers by name.
        layers: Their descriptions.
    """

    def __init__(self, dense: nn.Module, parts: Mapping[str, Part], layers: Mapping[str, Layer]) -> None:
        self.dense, self.parts, self.layers = dense, parts, layers

    def materialise(self) -> nn.Module:
        """The network with two ordinary layers in place of each decomposed one, in evaluation mode."""
        model = copy.deepcopy(self.dense).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        modules = prunable_layers(model)
        for name, part in self.parts.items():
            pair = empty_pair(modules[name], part.choice)
            fill_pair(pair, self.layers[name], part.choice, part.factors, part.bias)
            replace_module(model, name, pair)
        return model.eval().requires_grad_(False)

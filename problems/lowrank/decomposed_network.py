"""A trained network whose layers can be decomposed: its tables, its factors, its decomposed forms."""

from __future__ import annotations

import copy
import functools
import hashlib
import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from problems.data.examples import Examples, Inputs, len_of, mapped
from problems.lowrank.calibration import Compensation, Targets, refitted, run_calibrated
from problems.lowrank.choices import Choice, ChoiceTable
from problems.lowrank.decomposable import Answers, decomposable_layers, tensor_answers
from problems.lowrank.factors import DataFactors, Factors, spread, svd_factors
from problems.lowrank.layer_matrices import Layer, Scheme, Whole
from problems.lowrank.materialise import empty_pair, fill_pair, projected_weight
from problems.lowrank.moments import InputMoments, input_moments, metrics, patches, takes_mean, wide
from problems.lowrank.spectra import (
    Measure,
    Tables,
    error_tables,
    kept_tables,
    option_key,
    table_lengths,
)
from problems.networks.layers.prunable import prunable_layers, replace_module
from problems.networks.storage.checkpoints import as_numpy
from problems.workloads.identity import update_with_network
from problems.workloads.plain_network import preserved

_FEW = 32


class DecomposableNetwork:
    """Everything about one network that its compressions share.

    Args:
        model: Trained; left alone.
        calibration: Inputs of some examples, such as (n, ...) images, for what is measured on data.
        patterns: Layers to decompose, shell patterns of names separated by commas; None takes all.
        cache_dir: Folder of tables, as in `kept_tables`.
        answers: What is judged of the network's outputs for inputs; by default they are one tensor.
        changes_itself: Whether the network changes its own tensors as it runs; then they are put back.

    Attributes:
        layers: The layers that can be decomposed.
        compressible: The same as modules, and what is left out.
        is_channels_last: Whether images and weights lie with their channels last, where convolutions are fastest.
        whole: Size of the network.
        weights: Their weights by name, float32.
        biases: Their biases, or None.
    """

    def __init__(
        self,
        model: nn.Module,
        calibration: Inputs,
        *,
        patterns: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        answers: Answers = tensor_answers,
        changes_itself: bool = False,
    ) -> None:
        self.model = model
        model.eval()  # a user's may return nothing
        self.cache_dir, self._answers = cache_dir, answers
        self.answers = answers = _put_back(answers) if changes_itself else answers
        few = mapped(calibration, lambda tensor: tensor[:_FEW])
        self.layers: list[Layer]
        self.whole: Whole
        self.layers, self.whole, self.compressible = decomposable_layers(model, few, patterns, answers=answers)
        self.is_channels_last = _runs_with_channels_last(model, few, answers)
        self.calibration = self.laid_out(calibration)
        modules = prunable_layers(model)
        self.by_name = {layer.name: layer for layer in self.layers}
        self.weights = {name: as_numpy(modules[name].weight) for name in self.by_name}
        self.biases: dict[str, np.ndarray | None] = {}
        for name in self.by_name:
            bias = modules[name].bias
            self.biases[name] = None if bias is None else as_numpy(bias)
        self._known: dict[tuple[str, int], DataFactors] = {}

    def laid_out(self, inputs: Inputs) -> Inputs:
        """Inputs as the network is fastest on them."""
        return mapped(inputs, _channels_last) if self.is_channels_last else inputs

    # -- tables -----------------------------------------------------------------------------------

    def errors(self, measure: Measure = "spectral", schemes: Sequence[Scheme] = (0,)) -> Tables:
        """Relative errors of all choices, by `option_key`; those measured on data have scheme 0 only."""
        if measure != "data":
            return error_tables(
                self.weights, self.layers, measure=measure, schemes=tuple(schemes), cache_dir=self.cache_dir
            )
        digest = self._digest()
        kind = f"data|{[(layer.name, layer.groups, layer.slices, takes_mean(layer)) for layer in self.layers]}"

        def make() -> Tables:
            return {
                option_key(layer.name, 0, k): self.data_factors(layer.name, k).errors
                for layer in self.layers
                for k in layer.slices
            }

        lengths = table_lengths(self.layers, (0,))
        return kept_tables(kind, digest, make, lengths=lengths, cache_dir=self.cache_dir)

    def _digest(self) -> str:
        """Of the network's code and tensors, of the calibration examples, and of the answers to some of them."""
        digest = hashlib.sha256()
        update_with_network(digest, self.model)
        examples = Examples(self.calibration, torch.zeros(len_of(self.calibration)))
        examples.update(digest)
        with torch.no_grad():
            few = self.answers(self.model, examples.subset(slice(0, _FEW)).inputs)
        digest.update(few.detach().double().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def table(self, measure: Measure = "spectral", schemes: Sequence[Scheme] = (0,)) -> ChoiceTable:
        """Errors and sizes of all choices."""
        schemes = (0,) if measure == "data" else schemes
        return ChoiceTable(self.layers, self.errors(measure, schemes), self.whole, schemes=schemes)

    # -- what is measured on data -----------------------------------------------------------------

    @functools.cached_property
    def moments(self) -> dict[str, InputMoments]:
        """Of the layers' inputs on the calibration images."""
        return input_moments(self.model, self.layers, self.calibration, answers=self.answers)

    @functools.cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """In which errors on data are measured, as `moments.metrics`."""
        return metrics(self.layers, self.moments)

    @functools.cached_property
    def targets(self) -> Targets:
        """What the layers put out on the calibration images."""
        single = [layer for layer in self.layers if layer.is_single]
        return Targets(self.model, single, self.calibration, answers=self.answers)

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
                what earlier ones have lost. Decoders that hold a part of the kernel (schemes 1 to 3), and those of
                layers that run more than once, stay.

        Source of `refit`: Zhang et al. 2015, arXiv:1505.06798, sec. 3.3 ("asymmetric"); there one layer after another,
        here within one pass and for sliced encoders.
        """
        parts: dict[str, Part] = {}
        dense = copy.deepcopy(self.model)
        if self.is_channels_last:
            dense.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        modules = prunable_layers(dense)
        for name, choice in choices.items():
            if choice is None:
                continue
            # a decoder that is refitted need not be solved for before
            is_refitted = compensation == "refit" and self.by_name[name].is_single
            factors = self.factors(name, choice, on_data=on_data, solve=not is_refitted)
            lost = self._lost_mean(name, choice, factors) if on_data else None
            bias = self.biases[name]
            parts[name] = Part(choice, factors, bias if lost is None or bias is None else bias + lost)
            self._put(modules[name], name, parts[name])
            if lost is not None and bias is None:
                self._shift_norm(dense, name, lost)
        if compensation != "none":

            def refit(name: str, x: Tensor) -> None:
                if name in parts and parts[name].choice.scheme == 0 and self.by_name[name].is_single:
                    parts[name] = self._refitted(modules[name], name, parts[name], x)
                    self._put(modules[name], name, parts[name])

            before = refit if compensation == "refit" else None
            run_calibrated(dense, self.calibration, before=before, answers=self._answers)
        dense.eval()
        return Decomposition(dense.requires_grad_(False), parts, self.by_name)

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
            module.bias.data = torch.from_numpy(part.bias).to(module.bias.dtype)

    def _refitted(self, module: nn.Module, name: str, part: Part, x: Tensor) -> Part:
        layer, (k, j) = self.by_name[name], (part.choice.k, part.choice.j)
        x = wide(x)
        inputs = patches(module, layer.groups, x, self.targets.positions[name])  # type: ignore[arg-type]
        wanted = self.targets.outputs[name].to(x.dtype).reshape(inputs.shape[2], layer.groups, -1)
        decoders, shifts = [], []
        for g in range(layer.groups):
            own = slice(g * k, (g + 1) * k)
            encoder = torch.from_numpy(spread(part.factors.encoder[own]).reshape(k * j, -1)).to(x.dtype)
            old = torch.from_numpy(part.factors.decoder[own].swapaxes(0, 1).reshape(-1, k * j)).to(x.dtype)
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
        model.eval()
        return model.requires_grad_(False)


def _put_back(answers: Answers) -> Answers:
    def undisturbed(network: nn.Module, inputs: Inputs) -> Tensor:
        with preserved(network):
            return answers(network, inputs)

    return undisturbed


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def _runs_with_channels_last(model: nn.Module, few: Inputs, answers: Answers) -> bool:
    """Whether a network of images takes them with their channels last, and answers the same."""
    if not isinstance(few, Tensor) or few.ndim != 4 or not few.is_floating_point():
        return False
    try:
        with torch.no_grad():
            changed = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            expected, got = answers(model, few), answers(changed, _channels_last(few))
    except Exception:  # a user's forward may call for another layout
        return False
    return got.shape == expected.shape and torch.allclose(got, expected, rtol=1e-3, atol=1e-4, equal_nan=True)

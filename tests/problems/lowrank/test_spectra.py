"""Tables of errors: against the plain formula, and kept on disk."""

from __future__ import annotations

import numpy as np
import pytest

from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.lowrank.layer_matrices import sliced, unfold
from problems.lowrank.spectra import WEIGHT_MEASURES, option_key


def truncated(block, j):
    u, s, vt = np.linalg.svd(block, full_matrices=False)
    return (u[:, :j] * s[:j]) @ vt[:j]


def by_hand(network, layer, scheme, k, j, measure):
    """The error of a layer by truncating each slice's SVD."""
    matrices = unfold(network.weights[layer.name].astype(np.float64), layer, scheme)
    blocks = sliced(matrices, k)
    left = blocks - np.array([truncated(b, j) for b in blocks])
    g = layer.groups
    norms = np.array([np.linalg.norm(m.reshape(m.shape[0], -1), 2) for m in matrices])
    if measure in ("spectral", "spectral-sqrt"):
        value = max(np.linalg.norm(r, 2) for r in left) / norms.max()
        return value * (np.sqrt(k) if measure == "spectral-sqrt" else 1)
    if measure == "residual":
        whole = [np.hstack(left[i * k : (i + 1) * k]) for i in range(g)]
        return max(np.linalg.norm(r, 2) for r in whole) / norms.max()
    if measure == "frobenius":
        return np.linalg.norm(left) / np.linalg.norm(matrices)
    return sum(np.linalg.norm(r, "nuc") for r in left) / sum(np.linalg.norm(b, "nuc") for b in blocks)


@pytest.mark.parametrize("measure", WEIGHT_MEASURES)
def test_errors_are_those_of_truncated_svds(network, measure):
    table = network.errors(measure, (0, 1, 2, 3))
    checked = 0
    for layer in network.layers:
        for scheme in layer.schemes:
            for k in layer.slices:
                errors = table[option_key(layer.name, scheme, k)]
                assert len(errors) == layer.full_rank(scheme, k) + 1
                assert errors[-1] == 0 and (np.diff(errors) <= 1e-12).all()
                for j in range(0, len(errors) - 1, 3):
                    assert errors[j] == pytest.approx(by_hand(network, layer, scheme, k, j, measure), abs=1e-10)
                    checked += 1
    assert checked > 100


def test_errors_on_data_are_those_of_the_outputs(network, images):
    table = network.errors("data")
    for layer in network.layers:
        weight = unfold(network.weights[layer.name].astype(np.float64), layer, 0)
        weight = weight.reshape(*weight.shape[:2], -1)
        metric = network.metrics[layer.name]
        total = sum(np.trace(w @ c @ w.T) for w, c in zip(weight, metric, strict=True))
        for k in layer.slices:
            factors = network.data_factors(layer.name, k)
            for j in (1, layer.full_rank(0, k)):
                blocks = factors.at(j).product
                g = layer.groups
                projected = blocks.reshape(g, k, weight.shape[1], -1).swapaxes(1, 2).reshape(weight.shape)
                lost = weight - projected
                left = sum(np.trace(d @ c @ d.T) for d, c in zip(lost, metric, strict=True))
                error = table[option_key(layer.name, 0, k)][j]
                assert error == pytest.approx(np.sqrt(max(left, 0) / total), abs=2e-5)


def test_data_factors_of_one_slice_lose_least_of_all_maps_of_their_rank(network):
    layer = network.by_name["round"]
    errors = network.data_factors("round", 1).errors
    metric = network.metrics["round"][0]
    weight = network.weights["round"].reshape(layer.n_out, -1).astype(np.float64)
    values, vectors = np.linalg.eigh(metric)
    root = vectors * np.sqrt(np.maximum(values, 0))
    s = np.linalg.svd(weight @ root, compute_uv=False)
    best = np.sqrt(np.append(np.cumsum(s[::-1] ** 2)[::-1], 0) / (s**2).sum())
    np.testing.assert_allclose(errors, best, atol=1e-6)


def test_solved_decoder_is_never_worse_than_each_slice_alone(network):
    for layer in network.layers:
        metric = network.metrics[layer.name]
        weight = unfold(network.weights[layer.name].astype(np.float64), layer, 0)
        weight = weight.reshape(*weight.shape[:2], -1)
        for k in layer.slices[1:]:
            factors = network.data_factors(layer.name, k)

            def lost(solve, weight=weight, k=k, factors=factors, metric=metric):
                blocks = factors.at(1, solve=solve).product
                projected = blocks.reshape(len(weight), k, weight.shape[1], -1).swapaxes(1, 2).reshape(weight.shape)
                return sum(np.trace(d @ c @ d.T) for d, c in zip(weight - projected, metric, strict=True))

            assert lost(True) <= lost(False) * (1 + 1e-9) + 1e-20


def test_tables_are_kept_by_the_weights_and_damage_is_mended(mixed, images, tmp_path, monkeypatch):
    import problems.lowrank.spectra as spectra

    def fresh():
        return DecomposableNetwork(mixed, images, cache_dir=tmp_path)

    first = fresh().errors()
    (file,) = tmp_path.glob("*.safetensors")
    calls = []
    make = spectra.weight_errors
    monkeypatch.setattr(spectra, "weight_errors", lambda *a: calls.append(a) or make(*a))
    again = fresh().errors()
    assert not calls and all((again[k] == first[k]).all() for k in first)
    file.write_bytes(file.read_bytes()[:50])
    mended = fresh().errors()
    assert calls and all((mended[k] == first[k]).all() for k in first)
    other = fresh()
    other.weights["stem"] = other.weights["stem"] * 1.5
    other.errors()
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_layers_are_described_as_they_are(network):
    by_name = network.by_name
    assert list(by_name) == ["stem", "wide", "round", "grouped", "hidden", "head"], "depthwise is left out"
    assert by_name["stem"].norm == "norm" and not by_name["stem"].has_bias and by_name["wide"].norm is None
    assert by_name["wide"].output_sides == (6, 10) and by_name["wide"].parameters == 8 * 12 * 15
    assert by_name["grouped"].slices == (1, 2, 3, 6) and by_name["grouped"].parameters == 16 * 6 * 9
    assert network.whole.parameters == sum(p.numel() for p in network.model.parameters())

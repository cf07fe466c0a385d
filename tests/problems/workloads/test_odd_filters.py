"""Odd networks under masks of filters: what the search says of a mask is what the cut network, loaded again, gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from test_odd_networks import answers, built, error, snapshot, workload

from opt import UsageError
from problems.masks import Masks
from problems.networks.channels.loading import load_cut

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # torch's, of what is odd
]
SMALL: dict[str, Any] = {"level": "filters", "sparsity": None, "size": "parameters", "references": "none"}


def check(name: str, folder: Any) -> str:
    """Search, save and load filters of a network; "" where all agrees, else the line that refuses it."""
    case, network, inputs, targets = built(name)
    try:
        work = workload(case, network, (inputs, targets))
        before = snapshot(network)
        problem = Masks(workload=work, loss="error", slope_images=0, **SMALL)
        notes = problem.verify(np.random.default_rng(0))
    except UsageError as refusal:
        assert "\n" not in str(refusal)
        return str(refusal)
    assert not any("\n" in note for note in notes) and not problem.is_whole, notes
    X = np.concatenate([problem.operators().sampling(2, np.random.default_rng(3)), problem.extremes()])
    whole = sum(p.numel() for p in work.network.parameters())
    for x, f in zip(X, problem.evaluate(X), strict=True):
        file = folder / "solution.safetensors"
        file.write_bytes(safetensors.numpy.save(problem.tensors(x), problem.metadata(x)))
        torch.manual_seed(9)
        loaded = load_cut((case.fresh or case.build)(), file)
        outputs = answers(case, loaded, work.search.inputs)
        said = error(outputs, work.search.targets)
        if work.error_objective.name == "error":
            assert abs(f[0] - said) <= 1 / len(work.search.targets.flatten()) + 1e-9
        elif work.metric is not None and work.metric.name in ("rmse", "label_accuracy"):
            assert f[0] == pytest.approx(said, rel=1e-4, abs=1e-6, nan_ok=True)
        assert f[1] == pytest.approx(sum(p.numel() for p in loaded.parameters()) / whole, abs=1e-12)
        decoded = answers(case, problem.decode(x), work.search.inputs)
        torch.testing.assert_close(outputs, decoded, rtol=1e-4, atol=1e-5, equal_nan=True)
        problem.describe(x)
    if "guided" in problem.operators().moves:
        assert np.isfinite(problem.slope(X[0, 0])).all()
    assert snapshot(network) == before
    return ""


@pytest.mark.parametrize(
    "name",
    [
        *("channel_shuffle", "split_channels", "squeeze_and_excite", "u_net", "pixel_shuffle", "linear_on_channels"),
        *("group_norm", "layer_norm_over_images", "instance_norm_with_statistics", "batch_norm_without_parameters"),
        *(
            "transformer_layer",
            "attention_of_other_widths",
            "bfloat_that_casts",
            "convolution_and_gru",
            "tied_autoencoder",
            "siamese",
        ),
        *("residual_in_place", "hooks_that_change_answers", "inputs_by_name", "several_labels", "two_heads"),
        *("data_parallel_part", "half_precision", "weight_norm", "counts_its_calls", "batch_norm_without_statistics"),
    ],
)
def test_what_the_search_says_of_filters_is_what_is_saved(name, tmp_path):
    assert check(name, tmp_path) == ""

"""Odd networks under masks: what the search says of a mask is what its network, saved and loaded by anybody, gives."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy
import torch
from test_odd_networks import COMPRESSED, REFUSED, answers, built, error, extra, snapshot, workload

from opt import UsageError
from problems.masks import MASK_BITS, Masks
from problems.networks.layers.sparse import SUFFIX

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # torch's, of what is odd
]
SMALL = {"references": "none", "slope_images": 0}


@pytest.mark.parametrize("name", COMPRESSED)
def test_what_the_search_says_of_a_mask_is_what_is_saved(name: str) -> None:
    case, network, inputs, targets = built(name)
    before = snapshot(network)
    work = workload(case, network, (inputs, targets))
    problem = Masks(workload=work, sparsity=None, loss="error", **SMALL)
    notes = problem.verify(np.random.default_rng(0))
    assert case.noted in " | ".join(notes) and not any("\n" in note for note in notes)
    assert not problem.is_whole, notes
    X = np.concatenate([problem.operators().sampling(2, np.random.default_rng(3)), problem.extremes()])
    for x, f in zip(X, problem.evaluate(X), strict=True):
        decoded = problem.decode(x)
        outputs = answers(case, decoded, work.search.inputs)
        said = error(outputs, work.search.targets)
        if work.error_objective.name == "error":
            assert abs(f[0] - said) <= 1 / len(work.search.targets.flatten()) + 1e-9
        elif work.metric is not None and work.metric.name in ("rmse", "label_accuracy"):
            assert f[0] == pytest.approx(said, rel=1e-4, abs=1e-6, nan_ok=True)
        saved = safetensors.numpy.load(safetensors.numpy.save(problem.tensors(x)))
        bits = np.unpackbits(saved.pop(MASK_BITS), count=problem.layout.n).astype(bool)
        masks = {key.removesuffix(SUFFIX): saved.pop(key) for key in list(saved) if key.endswith(SUFFIX)}
        assert f[1] == bits.mean() == sum(mask.sum() for mask in masks.values()) / sum(m.size for m in masks.values())
        assert not any(saved[key][~mask].any() for key, mask in masks.items())
        torch.manual_seed(9)
        fresh = (case.fresh or case.build)()
        fresh.load_state_dict({key: torch.from_numpy(array) for key, array in saved.items()} | extra(fresh))
        fresh.eval()
        again = answers(case, fresh, work.search.inputs)
        torch.testing.assert_close(again, outputs, rtol=1e-4, atol=1e-5, equal_nan=True)
    if "guided" in problem.operators().moves:
        assert np.isfinite(problem.slope(X[0, 0])).all()
    problem.describe(X[0])
    assert snapshot(network) == before


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_masked_is_refused_in_a_line(name: str) -> None:
    case, network, inputs, targets = built(name)
    with pytest.raises(UsageError, match=case.refused) as refusal:
        Masks(workload=workload(case, network, (inputs, targets)), **SMALL).verify(np.random.default_rng(0))
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400


@pytest.mark.parametrize("name", COMPRESSED[::3])
def test_filters_are_cut_out_as_the_search_says_or_refused_in_a_line(name: str) -> None:
    case, network, inputs, targets = built(name)
    before = snapshot(network)
    work = workload(case, network, (inputs, targets))
    try:
        problem = Masks(workload=work, level="filters", sparsity=None, loss="error", **SMALL)
    except UsageError as refusal:
        assert str(refusal).startswith("no channels of this network can go: ") and "\n" not in str(refusal)
        return
    notes = problem.verify(np.random.default_rng(0))
    assert not problem.is_whole, notes
    extremes = problem.extremes()
    assert extremes is not None
    for x in extremes:
        f, decoded = problem.evaluate(x[None])[0], problem.decode(x)
        outputs = answers(case, decoded, work.search.inputs)
        if work.error_objective.name == "error":
            assert abs(f[0] - error(outputs, work.search.targets)) <= 1 / len(work.search.targets.flatten()) + 1e-9
        assert problem.describe(x)["parameters"] == sum(p.numel() for p in decoded.parameters())
    assert snapshot(network) == before

"""Odd networks: what a search says of a candidate is what its network, saved and loaded by anybody, gives."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from odd_networks import NETWORKS, OddNetwork
from torch import Tensor, nn

from opt import UsageError
from problems.networks.layers.plain_attention import packed_state
from problems.networks.layers.sparse import SUFFIX
from problems.networks.storage.checkpoints import as_numpy
from problems.threshold import Threshold
from problems.workloads.plain_network import tensors_of as plain_tensors
from problems.workloads.workload import Workload

N = 90
COMPRESSED = [name for name, case in NETWORKS.items() if not case.refused]
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # torch's, of what is odd
]
REFUSED = [name for name, case in NETWORKS.items() if case.refused]


def answers(case: OddNetwork, network: nn.Module, inputs: Any) -> Tensor:
    """What is judged of a network's answers, by calling it as its user would, on copies."""
    inputs = single(copied(inputs))
    with torch.no_grad():
        if isinstance(inputs, dict):
            outputs = network(**inputs)
        else:
            outputs = network(*inputs) if isinstance(inputs, tuple) else network(inputs)
    if "pick" in case.options:
        outputs = case.options["pick"](outputs)
    elif isinstance(outputs, dict):
        outputs = outputs["logits"]
    return getattr(outputs, "logits", outputs).detach()


def copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: copied(part) for name, part in value.items()}
    return tuple(map(copied, value)) if isinstance(value, tuple) else value.clone()


def single(value: Any) -> Any:
    """Numbers of other precision as float32, which is what a workload makes of examples."""
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def error(outputs: Tensor, targets: Tensor) -> float:
    """1 - accuracy for classes; 1 - right labels for several; root of the squared error, or mean error, for numbers."""
    broken = outputs.isnan()
    if not targets.is_floating_point() and outputs.ndim == targets.ndim + 1:
        right = (outputs.argmax(1) == targets) & ~broken.any(1)
        return 1 - float(right.double().mean())
    if not targets.is_floating_point():
        return 1 - float((((outputs > 0) == (targets > 0)) & ~broken).double().mean())
    difference = (outputs.reshape(len(targets), -1) - targets.reshape(len(targets), -1)).double()
    return float(difference.square().mean().sqrt())


def snapshot(network: nn.Module) -> list[Any]:
    """All that a user could find changed."""
    seen: list[Any] = [type(network)]
    for name, module in network.named_modules():
        seen.append((name, type(module), module.training, len(module._forward_pre_hooks), len(module._forward_hooks)))
        seen += [(name, key, value) for key, value in vars(module).items() if isinstance(value, (int, float, str))]
        for tensors in (module._parameters, module._buffers, vars(module)):
            for key, value in tensors.items():
                if isinstance(value, Tensor):
                    bits = value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
                    seen.append((name, key, id(value), value.dtype, value.shape, value.requires_grad, bits))
    return seen


def own_answers(case: OddNetwork, network: nn.Module, inputs: Any) -> list[float] | None:
    """What the user's own network answers in evaluation mode; None where it does not take the examples as they are."""
    training = [module.training for module in network.modules()]
    state = [(tensor, tensor.clone()) for tensor in network.state_dict().values() if isinstance(tensor, Tensor)]
    try:
        network.eval()
        return answers(case, network, part(inputs, slice(0, 3))).flatten().tolist()
    except RuntimeError:
        return None
    finally:
        for tensor, before in state:
            if not torch.equal(tensor, before):
                tensor.copy_(before)
        for module, mode in zip(network.modules(), training, strict=True):
            module.training = mode


def built(name: str) -> tuple[OddNetwork, nn.Module, Any, Tensor]:
    """The case, its network, inputs and targets: for classes mostly what the network itself says."""
    case = NETWORKS[name]
    torch.manual_seed(1)
    network = case.build()
    inputs, targets = case.examples(N, torch.Generator().manual_seed(2))
    return case, network, inputs, targets


def workload(case: OddNetwork, network: nn.Module, data: Any) -> Workload:
    return Workload(network, data, n_search=40, n_test=20, **case.options)


def with_own_answers(case: OddNetwork, network: nn.Module, data: Any) -> Any:
    """Classes that the network itself mostly gives, so that every change of its answers shows."""
    inputs, targets = data
    if targets.is_floating_point():
        return data
    work = workload(case, network, data)
    outputs = answers(case, work.network, work.train.inputs)
    if outputs.ndim != targets.ndim + 1:
        return data
    outputs = torch.cat([answers(case, work.network, part(inputs, k)) for k in (slice(0, 50), slice(50, N))])
    own = outputs.argmax(1)
    return inputs, torch.where(torch.arange(N).view(-1, *[1] * (targets.ndim - 1)) % 4 == 0, targets, own)


def part(inputs: Any, rows: slice) -> Any:
    if isinstance(inputs, dict):
        return {name: tensor[rows] for name, tensor in inputs.items()}
    return tuple(tensor[rows] for tensor in inputs) if isinstance(inputs, tuple) else inputs[rows]


@pytest.mark.parametrize("name", COMPRESSED)
def test_what_the_search_says_is_what_is_saved(name: str) -> None:
    case, network, inputs, targets = built(name)
    inputs, targets = with_own_answers(case, network, (inputs, targets))
    own, before, data = own_answers(case, network, inputs), snapshot(network), copied((inputs, targets))
    work = workload(case, network, (inputs, targets))
    problem = Threshold(workload=work, layers="*")
    notes = problem.verify(np.random.default_rng(0))
    assert case.noted in " | ".join(notes) and not any("\n" in note for note in notes)
    assert not problem.is_whole, notes

    X = problem.operators().sampling(5, np.random.default_rng(3))
    X = np.concatenate([X, problem.extremes()])
    F = problem.evaluate(X)
    tested = problem.test_batch(X)
    for x, f, test in zip(X, F, tested, strict=True):
        decoded = problem.decode(x)
        outputs = answers(case, decoded, work.search.inputs)
        said = error(outputs, work.search.targets)
        if work.error_objective.name == "error":
            assert abs(f[0] - said) <= 1 / len(work.search.targets.flatten()) + 1e-9
        elif work.metric is not None and work.metric.name in ("rmse", "label_accuracy"):
            assert f[0] == pytest.approx(said, rel=1e-4, abs=1e-6, nan_ok=True)
        if "accuracy" in test:
            assert 1 - test["accuracy"] == pytest.approx(
                error(answers(case, decoded, work.test.inputs), work.test.targets)
            )
        check_saved(case, problem, x, f, outputs, work)
        problem.describe(x)
    assert snapshot(network) == before and own_answers(case, network, inputs) == own
    for tensor, kept in zip(tensors_of((inputs, targets)), tensors_of(data), strict=True):
        assert torch.equal(tensor, kept) and not tensor.requires_grad


def check_saved(
    case: OddNetwork, problem: Threshold, x: np.ndarray, f: np.ndarray, outputs: Tensor, work: Workload
) -> None:
    """The file's masks, zeros and size, and the answers of a fresh network with its tensors."""
    saved = safetensors.numpy.load(safetensors.numpy.save(problem.tensors(x)))
    masks = {key.removesuffix(SUFFIX): saved.pop(key) for key in list(saved) if key.endswith(SUFFIX)}
    whole = packed_state(problem.model, {name: as_numpy(t) for name, t in plain_tensors(problem.model).items()})
    n = n_kept = 0
    for key, mask in masks.items():
        expected = np.where(mask, whole[key], 0)
        assert np.array_equal(saved[key].astype(np.float32), expected.astype(np.float32))
        n, n_kept = n + mask.size, n_kept + int(mask.sum())
    assert f[1] == pytest.approx(n_kept / n, abs=1e-12)
    torch.manual_seed(9)
    fresh = (case.fresh or case.build)()
    fresh.load_state_dict({key: torch.from_numpy(array) for key, array in saved.items()} | extra(fresh))
    fresh.eval()
    again = answers(case, fresh, work.search.inputs)
    torch.testing.assert_close(again, outputs, rtol=1e-4, atol=1e-5, equal_nan=True)


def extra(network: nn.Module) -> dict[str, Any]:
    return {key: value for key, value in network.state_dict().items() if not isinstance(value, Tensor)}


def tensors_of(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return list(itertools.chain(*map(tensors_of, value.values() if isinstance(value, dict) else value)))


@pytest.mark.parametrize(
    "name",
    [
        "grouped_reflect",
        "grouped_zeros_without_bias",
        "channel_multiplier_circular",
        "same_padding_of_even_kernels",
        "convolution_3d",
        "one_example_at_a_time",
        "steps_as_examples",
        "layer_called_twice",
        "mixture_of_experts",
        "scaled_weights",
        "transformer_nested",
        "counts_its_calls",
    ],
)
def test_scores_by_inputs_of_each_channel_are_judged_truly_and_leave_the_workload_alone(name: str) -> None:
    case, network, inputs, targets = built(name)
    work = workload(case, network, (inputs, targets))
    before = snapshot(work.network)
    problem = Threshold(workload=work, layers="*", score="std", scope="channel", size="both")
    problem.verify(np.random.default_rng(0))
    assert not problem.is_whole and snapshot(work.network) == before
    for x in problem.operators().sampling(3, np.random.default_rng(3)):
        F, outputs = problem.evaluate(x[None])[0], answers(case, problem.decode(x), work.search.inputs)
        assert abs(F[0] - error(outputs, work.search.targets)) <= 1 / len(work.search) + 1e-9
        assert np.isfinite(F).all() and np.all(F[1:] <= 1)


def test_multiply_adds_count_how_often_a_layer_runs_for_an_example() -> None:
    case, network, inputs, targets = built("steps_as_examples")
    problem = Threshold(workload=workload(case, network, (inputs, targets)), layers="*", size="macs")
    only_first = problem.candidates(np.array([[0, problem.masks.sizes[1]]]))
    macs = 24 * network.step.weight.numel()
    assert problem.evaluate(only_first)[0, 1] == pytest.approx(macs / (macs + network.out.weight.numel()))


def test_inputs_that_cannot_be_seen_are_told() -> None:
    case, network, inputs, targets = built("mapped_over_examples")
    with pytest.raises(UsageError, match=r"what layer 'first' gets cannot be seen .*score magnitude"):
        Threshold(workload=workload(case, network, (inputs, targets)), layers="*", score="rms")


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_made_smaller_is_refused_in_a_line(name: str) -> None:
    case, network, inputs, targets = built(name)
    with pytest.raises(UsageError, match=case.refused) as refusal:
        problem = Threshold(workload=workload(case, network, (inputs, targets)), layers="*")
        problem.verify(np.random.default_rng(0))
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400


def test_most_odd_networks_are_compressed() -> None:
    assert len(COMPRESSED) >= 0.75 * len(NETWORKS) and len(NETWORKS) >= 100

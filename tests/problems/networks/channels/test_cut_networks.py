"""Cut networks: each of what people build is cut whole, counted, saved and loaded, or left out in a line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from channel_networks import CASES
from odd_networks import NETWORKS
from safetensors.torch import save_file
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.data.examples import call, mapped
from problems.networks.channels.cost import counted
from problems.networks.channels.cuttable import Cuttable
from problems.networks.channels.cutting import cut, kept_entries, masked, statistics_of_kept
from problems.networks.channels.layout import layout_of, metadata_of
from problems.networks.channels.loading import load_cut
from problems.networks.channels.tracing import step_by_step, tensors_in
from problems.networks.channels.trial import Run
from problems.workloads.workload import Workload

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # torch's, of what is odd
]

UNCUT = {
    "mixture_of_experts": "fixed width",
    "labels_divided_by_nothing": "answers",
    "recurrent_weight_norm": "answers",
    "scaled_weights": "otherwise than masked",
    "ternary_weights": "otherwise than masked",
    "normalised_and_shared": "fixed width",
    "scripted_part": "scripted",
    "one_bfloat_layer": "answers",
    "layer_alone": "answers",
    "layer_in_a_container": "answers",
    "no_layer": "no layers",
    "quantised": "no layers",
    "transposed_convolutions_alone": "answers",
    "kernel_by_hand": "answers",
    "cell_in_a_loop": "fixed width",
    "recurrent_alone": "no layers",
    "causal_convolutions": "fixed width",
    "steps_as_examples": "fails with",
    "weights_made_by_a_layer": "fails with",
    "branches_on_values": "decides by values",
    "loops_until_small": "decides by values",
}
"""Odd networks without channels that can go, and a word of the reason."""


def odd(name: str) -> tuple[nn.Module, Run, Callable[[], nn.Module]] | None:
    """The network of an odd workload, how it is run, and what makes a fresh one; None where the workload is refused."""
    case = NETWORKS[name]
    torch.manual_seed(1)
    network = case.build()
    data = case.examples(40, torch.Generator().manual_seed(2))
    try:
        work = Workload(network, data, n_search=20, n_test=10, **case.options)
    except UsageError:
        return None
    return work.network, Run(work.example, work.picked), case.fresh or case.build


def usual(name: str) -> tuple[nn.Module, Run, Callable[[], nn.Module]]:
    """A network of `channel_networks`."""
    build, inputs = CASES[name]
    torch.manual_seed(1)
    return build().eval().requires_grad_(False), Run(inputs()), build


def answers(network: nn.Module, run: Run) -> Tensor:
    network = copy.deepcopy(network)  # some change themselves
    with torch.no_grad():
        (outputs,) = tensors_in(run.pick(call(network, mapped(run.inputs, Tensor.clone))))
    return outputs.detach().float()


def own_count(network: nn.Module, run: Run) -> tuple[int, int]:
    """Parameters, and multiply-adds of convolutions and linear layers for an example, by the sizes of what goes in."""
    macs = 0.0

    def see(module: Any, args: Any, kwargs: Any, output: Tensor) -> None:
        nonlocal macs
        x = (*args, *kwargs.values())[0]
        places = x if getattr(module, "transposed", isinstance(module, nn.Linear)) else output
        channels = places.shape[-1] if isinstance(module, nn.Linear) else places.shape[-module.weight.ndim + 1]
        macs += module.weight.numel() * places.numel() / channels

    kinds = (nn.Linear, nn.modules.conv._ConvNd)
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, kinds) and "weight" in module._parameters:
            module.register_forward_hook(see, with_kwargs=True)
    with step_by_step(), torch.no_grad():
        run(network)
    n = len(next(tensors_in(run.inputs)))
    return sum(p.numel() for p in network.parameters()), round(macs / n)


def check(network: nn.Module, run: Run, fresh: Callable[[], nn.Module], folder: Any) -> None:
    before = {name: t.clone() for name, t in network.state_dict().items() if isinstance(t, Tensor)}
    channels = Cuttable(network, run)
    whole = answers(network, run)
    parameters = sum(p.numel() for p in network.parameters())
    rng = np.random.default_rng(0)
    for trial in range(3):
        masks = []
        for group in channels.groups:
            mask = rng.random(group.size) < (0.2, 0.6, 2.0)[trial]
            mask[rng.integers(group.size)] = True
            masks.append(mask)
        kept = kept_entries(channels.groups, masks)
        smaller = cut(network, kept)
        assert not smaller.training and (trial == 2 or sum(p.numel() for p in smaller.parameters()) < parameters)
        got = answers(smaller, run)
        reference = masked(network, kept)
        with statistics_of_kept(reference, kept), step_by_step():
            expected = answers(reference, run)
        rough = any(p.dtype in (torch.bfloat16, torch.float16) for p in network.parameters())
        scale = float(expected.abs().nan_to_num(0, 0, 0).max())
        torch.testing.assert_close(got, expected, rtol=0, atol=(3e-2 if rough else 1e-4) * scale, equal_nan=True)
        check_cost(channels, smaller, kept, run)
        file = folder / f"{trial}.safetensors"
        state = {name: t.contiguous().clone() for name, t in smaller.state_dict().items() if isinstance(t, Tensor)}
        save_file(state, file, metadata_of(layout_of(network, kept)))
        torch.manual_seed(7)
        torch.testing.assert_close(
            answers(load_cut(fresh(), file), run), got, rtol=1e-5, atol=1e-6 * scale, equal_nan=True
        )
        if trial == 2:
            torch.testing.assert_close(got, whole, rtol=1e-5, atol=1e-6 * scale, equal_nan=True)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items() if isinstance(t, Tensor))


def check_cost(channels: Cuttable, smaller: nn.Module, kept: Any, run: Run) -> None:
    with step_by_step():
        assert channels.cost(kept) == counted(smaller, run, len(next(tensors_in(run.inputs))))
    parameters, macs = own_count(smaller, run)
    assert channels.cost(kept)[0] == parameters
    if not any(isinstance(module, nn.MultiheadAttention) for module in smaller.modules()):
        assert channels.cost(kept)[1] == macs


@pytest.mark.parametrize("name", CASES)
def test_networks_that_people_build_are_cut_truly(name, tmp_path):
    check(*usual(name), tmp_path)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in UNCUT])
def test_odd_networks_are_cut_truly(name, tmp_path):
    built = odd(name)
    if built is not None:
        check(*built, tmp_path)


@pytest.mark.parametrize("name", UNCUT)
def test_odd_networks_without_channels_that_can_go_are_refused_in_a_line(name):
    built = odd(name)
    assert built is not None
    with pytest.raises(UsageError, match=UNCUT[name]) as refusal:
        Cuttable(*built[:2])
    assert "\n" not in str(refusal.value)


def test_most_networks_can_be_cut():
    workloads = [name for name in NETWORKS if not NETWORKS[name].refused or name in UNCUT]
    assert len(set(workloads) - set(UNCUT)) >= 0.85 * len(workloads)

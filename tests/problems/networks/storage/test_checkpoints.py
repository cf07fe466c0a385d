"""Checkpoints that others wrote: torch's files, prefixes, shared tensors, other types, other networks."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from torch import nn

from opt import UsageError
from problems.networks.storage.checkpoints import encode_network, load_weights


class Tied(nn.Module):
    """An autoencoder's decoder that is its encoder's weight under another name."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "pytorch_model.bin", "w"])
@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("wrap", ["", "state_dict", "model", "model_state_dict", "net"])
def test_a_state_dict_of_torch_is_read(tmp_path, name, is_zip, wrap):
    source, target = network(1), network(2)
    state = source.state_dict()
    saved = {wrap: state, "epoch": 3, "optimizer": {"state": {}, "lr": 0.1}} if wrap else state
    torch.save(saved, tmp_path / name, _use_new_zipfile_serialization=is_zip)
    load_weights(target, tmp_path / name)
    assert same(source, target)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_prefixes_of_wrappers_are_stripped_and_said(tmp_path, capsys, prefix):
    source, target = network(1), network(2)
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    load_weights(target, tmp_path / "w.safetensors")
    assert same(source, target)
    assert f"the prefix {prefix.partition('.')[0] + '.'!r} of its names was taken off" in capsys.readouterr().err


def test_a_prefix_of_a_compiled_part_is_taken_out(tmp_path, capsys):
    source, target = network(1), network(2)
    state = {name.replace("1.", "1._orig_mod."): tensor for name, tensor in source.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert same(source, target) and "_orig_mod." in capsys.readouterr().err


def test_a_prefix_that_is_the_networks_own_stays(tmp_path, capsys):
    source, target = nn.ModuleDict({"module": network(1)}), nn.ModuleDict({"module": network(2)})
    torch.save(source.state_dict(), tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert same(source, target) and not capsys.readouterr().err


def test_shared_tensors_may_be_stored_once(tmp_path, capsys):
    source, target = Tied(), Tied()
    safetensors.torch.save_model(source, str(tmp_path / "w.safetensors"))
    load_weights(target, tmp_path / "w.safetensors")
    assert same(source, target) and target.first.weight is target.second.weight
    assert "stored once" in capsys.readouterr().err
    (tmp_path / "own.safetensors").write_bytes(encode_network(source))
    load_weights(target, tmp_path / "own.safetensors")
    assert same(source, target)


def test_different_values_of_one_shared_tensor_are_refused(tmp_path):
    state = {name: tensor.clone() for name, tensor in Tied().state_dict().items()}
    state["second.weight"] += 1
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"different values of first.weight and second.weight, which Tied shares"):
        load_weights(Tied(), tmp_path / "w.pt")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_converted_and_said(tmp_path, capsys, kind):
    source, target = network(1), network(2)
    torch.save(source.to(kind).state_dict(), tmp_path / "w.pt")
    load_weights(target, tmp_path / "w.pt")
    assert target[0].weight.dtype == torch.float32
    assert torch.equal(target[0].weight, source[0].weight.float())
    assert f"converted from {str(kind).removeprefix('torch.')} to float32" in capsys.readouterr().err


def test_a_checkpoint_of_another_network_names_what_differs(tmp_path):
    other = nn.Sequential(nn.Linear(3, 7), nn.BatchNorm1d(7), nn.Linear(7, 2))
    torch.save(other.state_dict(), tmp_path / "w.pt")
    told = r"0.weight must have shape \(5, 3\), got \(7, 3\) \(6 more differ: 0.bias, 1.weight, .* and 2 more\)"
    with pytest.raises(UsageError, match=told):
        load_weights(network(), tmp_path / "w.pt")
    torch.save(nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"missing 1.weight, 1.bias, 1.running_mean, 1.running_var and 1 more; give a"):
        load_weights(network(), tmp_path / "w.pt")
    torch.save({"a": torch.zeros(1)} | network().state_dict(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"Sequential: unknown a; give a checkpoint of this network"):
        load_weights(network(), tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        (network(), r"holds code \(torch.nn.modules.container.Sequential\), which is not run"),
        ([torch.zeros(1)], "holds a list; expected a state dict"),
        ({"epoch": 3, "lr": 0.1}, "holds no state dict: it has epoch, lr"),
        ({}, "holds no state dict: it has nothing"),
        ({"0.weight": torch.zeros(5, 3, dtype=torch.int8)}, "missing"),
    ],
)
def test_what_is_no_state_dict_is_one_line(tmp_path, saved, told):
    torch.save(saved, tmp_path / "w.pt")
    with pytest.raises(UsageError, match=told) as error:
        load_weights(network(), tmp_path / "w.pt")
    assert "\n" not in str(error.value)


def test_whole_numbers_in_place_of_weights_are_refused(tmp_path):
    state = network().state_dict()
    state["0.weight"] = state["0.weight"].to(torch.int8)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"0.weight must be float32, got int8"):
        load_weights(network(), tmp_path / "w.pt")


@pytest.mark.parametrize("cut", [10, 400, -40])
def test_damaged_files_of_torch_are_one_line(tmp_path, cut):
    torch.save(network().state_dict(), tmp_path / "w.pt")
    (tmp_path / "w.pt").write_bytes((tmp_path / "w.pt").read_bytes()[:cut])
    with pytest.raises(UsageError, match="is damaged") as error:
        load_weights(network(), tmp_path / "w.pt")
    assert "\n" not in str(error.value)

"""The loader of cut networks: alone in a fresh process, and on files and networks that are not right."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from problems.networks.channels import loading
from problems.networks.channels.cuttable import Cuttable
from problems.networks.channels.cutting import cut, kept_entries
from problems.networks.channels.layout import layout_of, metadata_of
from problems.networks.channels.loading import KEY, load_cut
from problems.networks.channels.trial import Run

pytestmark = pytest.mark.usefixtures("one_thread")

NETWORK = """
from torch import nn


class Turned(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class Pooled(nn.Module):
    def forward(self, x):
        return x.mean(1)


def build():
    layer = nn.TransformerEncoderLayer(8, 4, 12, batch_first=True)
    return nn.Sequential(nn.Conv1d(3, 6, 3), nn.BatchNorm1d(6), nn.SiLU(), Turned(), nn.Linear(6, 8), layer,
                         Pooled(), nn.Linear(8, 2))
"""

ALONE = """
import sys

import torch
from loading import load_cut
from network import build
from safetensors.torch import load_file, save_file

network = load_cut(build(), "cut.safetensors")
inputs = load_file("inputs.safetensors")
with torch.no_grad():
    save_file({"outputs": network(inputs["x"])}, "outputs.safetensors")
ours = {name.partition(".")[0] for name in sys.modules} & {"opt", "problems", "operators", "native", "torch_pruning"}
assert not ours and len(network[0].weight) == 3, ours
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a cut network's file, and the whole and the cut network."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "network.py").write_text(NETWORK)
    scope: dict = {}
    exec(NETWORK, scope)
    torch.manual_seed(0)
    network, x = scope["build"]().eval(), torch.randn(2, 3, 12)
    channels = Cuttable(network, Run(x))
    kept = kept_entries(channels.groups, [np.arange(group.size) % 2 == 0 for group in channels.groups])
    smaller = cut(network, kept)
    save_file({**smaller.state_dict(), "mask_bits": torch.ones(2)}, folder / "cut.safetensors", metadata(network, kept))
    save_file({"x": x}, folder / "inputs.safetensors")
    return folder, scope["build"], smaller, x


def metadata(network: nn.Module, kept) -> dict[str, str]:
    return {"id": "e000001", **metadata_of(layout_of(network, kept))}


def test_a_process_that_has_torch_and_safetensors_alone_loads_it(saved, tmp_path):
    folder, _, smaller, x = saved
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shutil.copy(loading.__file__, tmp_path / "loading.py")
    (tmp_path / "alone.py").write_text(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{ALONE}")
    # isolated: without the paths of this project, and the present folder is not looked into
    subprocess.run([sys.executable, "-I", "alone.py"], cwd=tmp_path, check=True, timeout=120)
    with torch.no_grad():
        torch.testing.assert_close(load_file(tmp_path / "outputs.safetensors")["outputs"], smaller(x))


def test_wrapped_networks_are_unwrapped_and_the_users_own_is_left_alone(saved):
    folder, build, smaller, x = saved
    network = build()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    loaded = load_cut(nn.DataParallel(network), folder / "cut.safetensors")
    torch.testing.assert_close(loaded(x), smaller(x))
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items()) and not loaded.training


def test_another_network_is_refused_with_the_first_names_that_differ(saved):
    folder, build, _, _ = saved
    network = build()
    network[0], network[2] = nn.Conv1d(3, 7, 3), nn.PReLU()
    with pytest.raises(
        ValueError, match=r"it has '2.weight' \[1\]; has '0.weight' \[7, 3, 3\] instead of \[6, 3, 3\]"
    ) as e:
        load_cut(network, folder / "cut.safetensors")
    assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match=r"has no '0.weight' \[6, 3, 3\].* and 20 more"):
        load_cut(nn.ReLU(), folder / "cut.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layout: None, "holds no layout"),
        (lambda layout: "{", "no layout of a cut network"),
        (lambda layout: "[]", "no layout of a cut network"),
        (lambda layout: json.dumps({**layout, "format": "gguf"}), "format 'gguf'"),
        (lambda layout: json.dumps({**layout, "version": 99}), "version 99, and 1 is expected"),
        (lambda layout: json.dumps({**layout, "modules": 3}), "no layout of a cut network"),
        (lambda layout: json.dumps({k: v for k, v in layout.items() if k != "tensors"}), "no 'tensors'"),
        (lambda layout: json.dumps({**layout, "tensors": {}}), "not of the shape that the layout says"),
        (lambda layout: json.dumps({**layout, "tensors": {"0.weight": {"9": [0]}}}), "do not fit the network"),
        (lambda layout: json.dumps({**layout, "tensors": {"0.weight": 3}}), "do not fit the network"),
        (lambda layout: json.dumps({**layout, "modules": {"nobody": {"groups": 2}}}), "do not fit the network"),
    ],
)
def test_foreign_and_broken_layouts_are_refused_in_a_line(saved, tmp_path, change, message):
    folder, build, smaller, _ = saved
    with loading.safe_open(folder / "cut.safetensors", framework="pt") as opened:
        layout = json.loads(opened.metadata()[KEY])
    changed = change(layout)
    file = tmp_path / "changed.safetensors"
    save_file(smaller.state_dict(), file, {} if changed is None else {KEY: changed})
    with pytest.raises(ValueError, match=message) as refusal:
        load_cut(build(), file)
    assert "\n" not in str(refusal.value)


def test_damaged_and_missing_files_are_refused_in_a_line(saved, tmp_path):
    folder, build, _, _ = saved
    data = Path(folder / "cut.safetensors").read_bytes()
    file = tmp_path / "half.safetensors"
    file.write_bytes(data[: len(data) // 2])
    for path in (file, tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(ValueError, match="cannot be read as safetensors") as refusal:
            load_cut(build(), path)
        assert "\n" not in str(refusal.value)
    tensors = {name: t for name, t in load_file(folder / "cut.safetensors").items() if name != "7.bias"}
    with loading.safe_open(folder / "cut.safetensors", framework="pt") as opened:
        save_file(tensors, file, opened.metadata())
    with pytest.raises(ValueError, match=r"lacks tensor '7\.bias'"):
        load_cut(build(), file)

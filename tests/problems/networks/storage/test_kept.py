"""The cache on disk: what is in it is read, what is not, is damaged or is another's is made and told."""

from __future__ import annotations

import re

import numpy as np
import pytest
import safetensors.numpy
import torch

from opt.console.errors import UsageError
from problems.circuits.layer_circuits import _read_genome
from problems.data.data import load_dataset
from problems.data.sets.example_set import of_images
from problems.lowrank.spectra import kept_tables
from problems.masking.criterion_masks import CriterionMasks
from problems.masking.space import WeightSpace
from problems.masking.training_plans import ScheduledTraining, trained_states
from problems.networks.architectures.lottery_networks import build_architecture
from problems.networks.storage.checkpoints import read_safetensors
from problems.networks.storage.kept import cache_file, cache_key, kept
from problems.networks.training.schedule import Schedule
from problems.workloads.of_dataset import workload_of
from problems.workloads.parents import trained_parent

SHORT = Schedule(epochs=2, lr=0.05, batch_size=100)


class Numbers:
    """Makes an array, and counts how often."""

    def __init__(self, length=3):
        self.n_made, self.length = 0, length

    def make(self):
        self.n_made += 1
        return np.arange(self.length)

    def read(self, path):
        tensors, _ = read_safetensors(path)
        if tensors["numbers"].shape != (self.length,):
            raise UsageError(f"{path} holds other numbers")
        return tensors["numbers"].numpy()

    def kept(self, path):
        found = kept(path, self.make, read=self.read, encode=lambda a: safetensors.numpy.save({"numbers": a}))
        np.testing.assert_array_equal(found.value, np.arange(self.length))
        return found


def test_thing_is_made_once_and_then_read(tmp_path, capsys):
    numbers, file = Numbers(), tmp_path / "folder" / "numbers.safetensors"
    first, second = numbers.kept(file), numbers.kept(file)
    assert (first.is_read, second.is_read, numbers.n_made) == (False, True, 1)
    assert first.path == second.path == file and [f.name for f in file.parent.iterdir()] == [file.name]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "another"])
def test_damaged_or_foreign_file_is_told_and_made_anew(tmp_path, capsys, damage):
    numbers, file = Numbers(), tmp_path / "numbers.safetensors"
    numbers.kept(file)
    whole = file.read_bytes()
    contents = {"cut": whole[:-3], "garbage": b"garbage" * 9, "empty": b""}
    if damage == "another":
        file.unlink()
        Numbers(5).kept(file)
    else:
        file.write_bytes(contents[damage])
    assert not numbers.kept(file).is_read and numbers.n_made == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: made anew") and str(file) in line
    assert numbers.kept(file).is_read and capsys.readouterr().err == ""


def test_folder_that_cannot_be_written_costs_only_the_file(tmp_path):
    (tmp_path / "folder").write_text("in the way")
    numbers = Numbers()
    found = numbers.kept(tmp_path / "folder" / "numbers.safetensors")
    assert found.path is None and not found.is_read


def test_key_holds_everything_and_the_name_stays_short(tmp_path, monkeypatch):
    monkeypatch.setenv("OPT_CACHE_DIR", str(tmp_path))
    one = {"version": 1, "seed": 3, "widths": [4, 5]}
    assert cache_key(one) == cache_key(dict(reversed(one.items()))) == "bf3cd58cbf7b4b14391e"
    assert len({cache_key(one | change) for change in ({}, {"seed": 4}, {"version": 2}, {"more": None})}) == 4
    assert cache_key(one, length=64).startswith(cache_key(one)) and len(cache_key(one, length=64)) == 64
    assert cache_file("kind", "key") == tmp_path / "kind" / "key.safetensors"
    assert cache_file("kind", "key", name="/a/data") == tmp_path / "kind" / "data-key.safetensors"
    assert cache_file("kind", "key", folder=tmp_path / "own") == tmp_path / "own" / "key.safetensors"
    assert len(cache_file("kind", "key", name="x" * 300).name) < 100


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPT_CACHE_DIR", str(tmp_path))
    return tmp_path


def file_names(cache):
    return {str(file.relative_to(cache)) for file in cache.rglob("*.safetensors")}


def test_files_have_the_names_that_they_always_had(cache):
    """A user's cache stays good: what made it is the same, and so must the names be."""
    data = load_dataset("digits")
    model = build_architecture("lenet-300-100", data.input_shape, 10, width=0.05)
    with torch.no_grad():  # weights are part of the names: such as every machine draws alike
        for number, weight in enumerate(model.parameters(), start=1):
            weight.fill_(number)
    trained_parent(data, widths=(4,), epochs=1, progress=False)
    trained_states(model, data, epochs=[0, 1, 2], schedule=SHORT, seed=1)
    space = WeightSpace(model, ["fc1", "fc2", "fc3"], data.train.images)
    options = {"final_epochs": 2, "lottery_epochs": 1, "seed": 0, "scope": "global", "least": 0, "n_examples": 8}
    work, training = workload_of(model, of_images(data)), ScheduledTraining(data, SHORT, 0)
    CriterionMasks(work, space, training, **options).mask("synflow", 100)
    kept_tables("spectral|(0,)|[]", "digest", lambda: {"a": np.zeros(2)}, lengths={"a": 2})
    names = file_names(cache)
    # code is a part of these keys
    masks, *trajectories = sorted(name for name in names if name.startswith(("masks/", "trajectories/")))
    assert re.fullmatch(r"masks/synflow-[0-9a-f]{20}\.safetensors", masks)
    assert [re.sub(r"-[0-9a-f]{20}-", "-KEY-", name) for name in trajectories] == [
        "trajectories/digits-KEY-1.safetensors",
        "trajectories/digits-KEY-2.safetensors",
    ]
    assert names - {masks, *trajectories} == {
        "parents/digits-429b6508ba6998a3714c.safetensors",
        "spectra/spectral-5cc96796d5f68fe7f5eba186.safetensors",
    }


def test_one_damaged_epoch_of_a_trajectory_is_made_anew(cache, capsys):
    data = load_dataset("digits")
    model = build_architecture("lenet-300-100", data.input_shape, 10, width=0.05)
    options = {"epochs": [1, 2], "schedule": SHORT, "seed": 1}
    first = trained_states(model, data, **options)
    (file,) = (cache / "trajectories").glob("*-1.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    again = trained_states(model, data, **options)
    assert all((first[e][name] == again[e][name]).all() for e in first for name in first[e])
    assert "made anew" in capsys.readouterr().err and trained_states(model, data, **options)
    assert capsys.readouterr().err == ""


def test_what_a_file_must_hold_is_checked(tmp_path):
    path = tmp_path / "file.safetensors"
    path.write_bytes(safetensors.numpy.save({"genome": np.zeros(3, dtype=np.int32), "mask": np.zeros(2, np.uint8)}))
    with pytest.raises(UsageError, match="holds no circuit of 4 genes"):
        _read_genome(path, n_genes=4)
    assert len(_read_genome(path, n_genes=3)) == 3
    tables = kept_tables("nuclear", "x", lambda: {"a": np.zeros(2)}, lengths={"a": 2}, cache_dir=tmp_path)
    (file,) = tmp_path.glob("nuclear-*")
    path.replace(file)
    again = kept_tables("nuclear", "x", lambda: {"a": np.zeros(2)}, lengths={"a": 2}, cache_dir=tmp_path)
    assert set(tables) == set(again) == {"a"}

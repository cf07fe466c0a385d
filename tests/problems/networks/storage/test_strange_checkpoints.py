"""Checkpoints whose headers lie, and files that hold code: one line that names the file, and nothing is run."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opt import UsageError
from opt.runs.run import read_arrays
from problems.lowrank.materialise import load_decomposed, load_reference
from problems.networks.architectures.fully_connected import FullyConnected, load_fully_connected
from problems.networks.layers.sparse import load_sparse
from problems.networks.layers.sparse import main as sparse_main
from problems.networks.storage.checkpoints import as_arrays, load_metadata, load_weights, read_safetensors, save_network


def packed(header: object, data: bytes = b"", *, n: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if n is None else n) + text + data


def tensor(**fields: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | fields


EIGHT = bytes(8)
TWICE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
LIES = {
    "nothing": b"",
    "seven bytes": b"1234567",
    "length 0": packed(b""),
    "length 2^63": packed(b"{}", n=2**63),
    "length 2^64 - 1": packed(b"{}", n=2**64 - 1),
    "length beyond the file": packed(b"{}", n=99),
    "no JSON": packed(b"hello world!"),
    "a list": packed([1]),
    "not UTF-8": packed(b'{"\xff\xfe":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', EIGHT),
    "nested deep": packed(b'{"a":' * 90_000 + b"1" + b"}" * 90_000),
    "offsets beyond the file": packed({"a": tensor(data_offsets=[0, 800])}, EIGHT),
    "offsets in reverse": packed({"a": tensor(data_offsets=[8, 0])}, EIGHT),
    "negative offsets": packed({"a": tensor(data_offsets=[-8, 0])}, EIGHT),
    "overlapping": packed({"a": tensor(), "b": tensor()}, EIGHT),
    "a hole": packed({"a": tensor(data_offsets=[8, 16])}, bytes(16)),
    "trailing bytes": packed({"a": tensor()}, bytes(80)),
    "another shape": packed({"a": tensor(shape=[3])}, EIGHT),
    "a negative shape": packed({"a": tensor(shape=[-2])}, EIGHT),
    "a shape beyond 64 bits": packed({"a": tensor(shape=[2**63, 2])}, EIGHT),
    "an unknown kind": packed({"a": tensor(dtype="X")}, EIGHT),
    "a kind of eight bits": packed({"a": tensor(dtype="F8_E8M0", shape=[8])}, EIGHT),
    "a kind of four bits": packed({"a": tensor(dtype="F4", shape=[16])}, EIGHT),
    "complex numbers": packed({"a": tensor(dtype="C64", shape=[1])}, EIGHT),
    "metadata that is no text": packed({"__metadata__": {"a": 1}, "a": tensor()}, EIGHT),
    "a name twice": packed(TWICE, EIGHT),
}


def test_a_header_as_long_as_a_pickle_begins_is_read(tmp_path):
    path, tensors = tmp_path / "net.safetensors", {"weight": torch.ones(2)}
    for n in range(400, 900):  # until the header's length, the file's first bytes, is 0x..80 and 2 to 5
        safetensors.torch.save_file(tensors, path, metadata={"text": "x" * n})
        if path.read_bytes()[:2] == b"\x80\x02":
            break
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert torch.equal(read_safetensors(path)[0]["weight"], tensors["weight"])


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_told_in_a_line(name, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(LIES[name])
    model = FullyConnected((2, 2))
    readers = (read_safetensors, load_metadata, load_fully_connected, load_sparse, load_reference)
    for read in (*readers, lambda path: load_weights(model, path), lambda path: load_decomposed(model, path)):
        with pytest.raises(UsageError) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in LIES if name not in ("a name twice", "complex numbers")])
def test_a_solution_whose_header_lies_is_told_in_a_line(name, tmp_path):
    path = tmp_path / "e000001.safetensors"
    path.write_bytes(LIES[name])
    with pytest.raises(UsageError, match="is damaged or no solution"):
        read_arrays(path)


SHAPES = {
    "a hundred axes": packed({"output.weight": tensor(shape=[1] * 100 + [2])}, EIGHT),
    "no values along one axis, 2^62 along another": packed(
        {"output.weight": tensor(shape=[0, 2**62], data_offsets=[0, 0]), "output.bias": tensor()}, EIGHT
    ),
    "no axes": packed(
        {"output.weight": tensor(shape=[], data_offsets=[0, 4]), "output.bias": tensor(shape=[], data_offsets=[4, 8])},
        EIGHT,
    ),
    "vectors": packed({"output.weight": tensor(), "output.bias": tensor(data_offsets=[8, 16])}, bytes(16)),
    "an encoder without axes": packed(
        {"output.encoder.weight": tensor(shape=[], data_offsets=[0, 4]), "b": tensor(shape=[1], data_offsets=[4, 8])},
        EIGHT,
    ),
    "an encoder of width 0": packed({"output.encoder.weight": tensor(shape=[1, 0], data_offsets=[0, 0])}),
    "a sparse tensor of shape -1,-8": packed(
        {
            "__metadata__": {"a.sparse_shape": "-1,-8"},
            "a.sparse_mask": tensor(dtype="U8", shape=[1], data_offsets=[0, 1]),
            "a.sparse_values": tensor(shape=[0], data_offsets=[1, 1]),
        },
        b"\0",
    ),
    "a sparse tensor of 2^64 weights": packed(
        {
            "__metadata__": {"a.sparse_shape": "4294967296,4294967296"},
            "a.sparse_mask": tensor(dtype="U8", shape=[1], data_offsets=[0, 1]),
            "a.sparse_values": tensor(shape=[0], data_offsets=[1, 1]),
        },
        b"\0",
    ),
    "a mask of floats": packed(
        {
            "__metadata__": {"a.sparse_shape": "2"},
            "a.sparse_mask": tensor(shape=[1], data_offsets=[0, 4]),
            "a.sparse_values": tensor(shape=[0], data_offsets=[4, 4]),
        },
        bytes(4),
    ),
    "no metadata": packed({"a.sparse_mask": tensor(dtype="U8", shape=[8], data_offsets=[0, 8])}, EIGHT),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_do_not_match_are_told_in_a_line(name, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(SHAPES[name])
    model = FullyConnected((2, 2))
    readers = [load_fully_connected, lambda path: load_weights(model, path), lambda path: load_decomposed(model, path)]
    for read in (*readers, *([load_sparse] if "sparse_mask" in str(SHAPES[name]) else [])):
        with pytest.raises(UsageError) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_that_are_not_finite_are_refused(value, kind, tmp_path):
    model = FullyConnected((2, 2))
    state = {name: t.to(kind) for name, t in model.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "good.safetensors")
    load_weights(model, tmp_path / "good.safetensors")
    load_fully_connected(tmp_path / "good.safetensors")
    state["output.bias"][1] = value
    safetensors.torch.save_file(state, tmp_path / "bad.safetensors")
    for read in (load_fully_connected, lambda path: load_weights(model, path)):
        with pytest.raises(UsageError, match="weights that are not finite"):
            read(tmp_path / "bad.safetensors")


class Evil:
    """A pickle that makes a file when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


@pytest.mark.parametrize("kind", ["zip", "old", "pickle", "pickle of protocol 5", "bomb"])
def test_a_file_of_torch_is_not_opened_and_runs_no_code(kind, tmp_path):
    path, marker = tmp_path / "w.pt", tmp_path / "called"
    if kind in ("zip", "old"):
        torch.save({"w": Evil(marker)}, path, _use_new_zipfile_serialization=kind == "zip")
    elif kind == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("archive/data/0", bytes(1 << 26))
    else:
        path.write_bytes(pickle.dumps(Evil(marker), protocol=5 if "5" in kind else 2))
    told = r"is a file of torch\.save, which may hold code and is not opened"
    weights = r"holds code|unpacks to|is damaged"
    readers = [(load_fully_connected, told), (load_metadata, told)]
    for read, part in (*readers, (lambda path: load_weights(FullyConnected((2, 2)), path), weights)):
        with pytest.raises(UsageError, match=part) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["\udcff\udcfe.safetensors", "a\x1b[31m\n.safetensors", "é 日.safetensors", "x" * 240])
def test_a_checkpoint_of_any_name_is_read(name, tmp_path):
    model = FullyConnected((2, 3, 2), seed=3)
    save_network(model, tmp_path / name, metadata={"a": 1})
    assert load_metadata(tmp_path / name) == {"a": 1}
    again = load_fully_connected(tmp_path / name)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert set(read_arrays(tmp_path / name)) == set(model.state_dict())


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "long", "path of 5,000", "NUL", "in a file"])
def test_what_is_no_file_is_told(kind, tmp_path):
    path = tmp_path / "w"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "in a file":
        path.write_bytes(b"")
    others = {"long": "x" * 300, "path of 5,000": "x/" * 2500, "NUL": "a\0b", "in a file": "w/x"}
    with pytest.raises(UsageError, match="cannot read checkpoint") as caught:
        read_safetensors(tmp_path / others.get(kind, "w"))
    assert "\n" not in str(caught.value)


def test_metadata_nested_deep_counts_as_none(tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "w", {"info": "[" * 100_000})
    assert load_metadata(tmp_path / "w") == {}


@pytest.mark.parametrize(
    "info", [{}, {"input_shape": 5}, {"input_shape": []}, {"input_shape": [1, 0, 0]}, {"input_shape": ["x"]}]
)
def test_a_network_on_record_without_its_shape_is_told(info, tmp_path):
    info = {"network": "lenet5", "n_classes": 10} | info
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "w", {"info": json.dumps(info)})
    with pytest.raises(UsageError, match=r"does not tell its network's shape|does not hold the weights"):
        load_reference(tmp_path / "w")


def test_masks_that_do_not_fit_a_solution_are_told(tmp_path):
    path, out = tmp_path / "s.safetensors", ["--out", str(tmp_path / "o")]
    for mask in (torch.ones(3, dtype=torch.bool), torch.ones(2), torch.ones(2, 1, dtype=torch.bool)):
        safetensors.torch.save_file({"w": torch.zeros(2), "w_mask": mask}, path)
        with pytest.raises(UsageError, match="the mask of w does not fit it"):
            sparse_main([str(path), *out])
    safetensors.torch.save_file({"w_mask": torch.ones(2, dtype=torch.bool)}, path)
    with pytest.raises(UsageError, match="the mask of w does not fit it"):
        sparse_main([str(path), *out])
    mask = torch.tensor([True] + [False] * 63)
    safetensors.torch.save_file({"w": torch.ones(64, dtype=torch.bfloat16), "w_mask": mask}, path)
    assert sparse_main([str(path), *out]) == 0
    tensors, masks = load_sparse(tmp_path / "o")
    assert tensors["w"].tolist() == mask.float().tolist() and masks["w"].tolist() == mask.tolist()


def test_kinds_that_numpy_has_not_become_float32():
    arrays = as_arrays("x", {"a": torch.ones(2, dtype=torch.bfloat16), "b": torch.ones(2, dtype=torch.float16)})
    assert arrays["a"].dtype == np.float32 and arrays["b"].dtype == np.float16


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_bytes_changed_are_read_or_told(data, tmp_path):
    path = tmp_path / "w"
    save_network(FullyConnected((3, 4, 2)), path, metadata={"a": 1})
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1) | st.integers(0, 200))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.just(len(raw)) | st.integers(0, len(raw)))])
    model = FullyConnected((3, 4, 2))
    for read in (load_fully_connected, load_sparse, load_metadata, read_arrays, lambda p: load_weights(model, p)):
        try:
            read(path)
        except UsageError as error:
            assert str(path) in str(error)

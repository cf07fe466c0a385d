"""Sparse tensors: sizes, files, and what is wrong with them."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from opt.console.errors import UsageError
from problems.networks.layers.sparse import decode, encode, load_sparse, main, save_sparse, sparse_bytes


@pytest.mark.parametrize(
    ("n_weights", "n_kept", "expected"),
    [(1500, 1500, 6000), (1500, 0, 188), (1500, 1000, 4188), (9, 8, 34), (9, 9, 36)],
)
def test_sparse_bytes_are_mask_and_values_or_plain_where_that_is_less(n_weights, n_kept, expected):
    assert sparse_bytes(n_weights, n_kept) == expected


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 3, 3)])
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_decode_inverts_encode(shape, density):
    rng = np.random.default_rng(1)
    array, mask = rng.normal(size=shape).astype(np.float32), rng.random(shape) < density
    array.setflags(write=False)
    found, found_mask = decode(*encode(array, mask), shape)
    np.testing.assert_array_equal(found, np.where(mask, array, 0))
    np.testing.assert_array_equal(found_mask, mask)
    assert found.dtype == np.float32


def tensors_and_masks():
    rng = np.random.default_rng(2)
    tensors = {"a.weight": rng.normal(size=(20, 30)).astype(np.float32), "a.bias": np.ones(20, dtype=np.float32)}
    return tensors, {"a.weight": rng.random((20, 30)) < 0.25}


def test_a_sparse_file_holds_the_network_in_the_bytes_it_says(tmp_path):
    tensors, masks = tensors_and_masks()
    size = save_sparse(tmp_path / "n" / "sparse.safetensors", tensors, masks)
    assert size == sparse_bytes(600, int(masks["a.weight"].sum())) + 80
    assert size == sum(array.nbytes for array in load_file(tmp_path / "n" / "sparse.safetensors").values())
    found, found_masks = load_sparse(tmp_path / "n" / "sparse.safetensors")
    assert set(found) == set(tensors) and set(found_masks) == set(masks)
    np.testing.assert_array_equal(found["a.weight"], np.where(masks["a.weight"], tensors["a.weight"], 0))
    np.testing.assert_array_equal(found["a.bias"], tensors["a.bias"])


def test_a_solution_becomes_sparse_on_the_command_line(tmp_path, capsys):
    tensors, masks = tensors_and_masks()
    save_file(tensors | {"a.weight_mask": masks["a.weight"]}, tmp_path / "s.safetensors")
    assert main([str(tmp_path / "s.safetensors"), "--out", str(tmp_path / "o.safetensors")]) == 0
    assert "instead of 2480" in capsys.readouterr().out
    assert set(load_sparse(tmp_path / "o.safetensors")[0]) == set(tensors)


def test_what_is_no_sparse_file_is_told(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load_sparse(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(UsageError, match="damaged"):
        load_sparse(tmp_path / "text.safetensors")
    save_file({"a.sparse_mask": np.zeros(2, dtype=np.uint8)}, tmp_path / "half.safetensors")
    with pytest.raises(UsageError, match="no whole sparse tensor 'a'"):
        load_sparse(tmp_path / "half.safetensors")
    save_file({"a": np.zeros(2, dtype=np.uint8)}, tmp_path / "dense.safetensors")
    with pytest.raises(UsageError, match="holds no masks"):
        main([str(tmp_path / "dense.safetensors"), "--out", str(tmp_path / "o")])


@pytest.mark.parametrize(("packed", "values"), [(1, 4), (2, 3)])
def test_decode_refuses_what_does_not_belong_together(packed, values):
    with pytest.raises(ValueError, match="mask"):
        decode(np.full(packed, 255, dtype=np.uint8), np.ones(values, dtype=np.float32), (3, 4))


@pytest.mark.parametrize("out", ["", ".", "..", "/dev/null/x", "a" * 300])
def test_output_that_is_no_file_is_told(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tensors, masks = tensors_and_masks()
    save_file(tensors | {"a.weight_mask": masks["a.weight"]}, tmp_path / "s.safetensors")
    with pytest.raises(UsageError, match="cannot write"):
        main(["s.safetensors", "--out", out])

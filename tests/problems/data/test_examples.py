"""Examples from what people have: arrays, tensors, data sets, loaders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from opt import UsageError
from problems.data.examples import Examples, as_examples, call, spans

X = torch.arange(24, dtype=torch.float32).reshape(6, 4)
Y = torch.arange(6) % 3


class Streamed(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


class Named(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, k):
        return {"a": X[k], "b": X[k] * 2}, int(Y[k])


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X.numpy(), Y.numpy()],
        (X.numpy().astype(np.float64), Y.numpy().astype(np.int32)),
        (X.numpy().tolist(), Y.tolist()),
        TensorDataset(X, Y),
        DataLoader(TensorDataset(X, Y), batch_size=4),
        Streamed(),
        Examples(X, Y),
    ],
)
def test_the_same_examples_come_out_of_every_form(data):
    examples = as_examples(data)
    assert torch.equal(examples.inputs, X) and torch.equal(examples.targets, Y)
    assert len(as_examples(data, most=4)) == 4


def test_several_inputs_by_place_and_by_name():
    by_place = as_examples(TensorDataset(X, X * 2, Y))
    by_name = as_examples(Named())
    assert isinstance(by_place.inputs, tuple) and isinstance(by_name.inputs, dict)
    assert torch.equal(call(lambda a, b: a + b, by_place.inputs), 3 * X)
    assert torch.equal(call(lambda *, b, a: b - a, by_name.inputs), X)
    few = by_name.subset(torch.tensor([1, 3]))
    assert torch.equal(few.inputs["a"], X[[1, 3]]) and torch.equal(few.targets, Y[[1, 3]])


def test_batches_are_all_examples_in_their_order():
    parts = list(Examples(X, Y).batches(4))
    assert [len(part) for part in parts] == [4, 2]
    assert torch.equal(torch.cat([part.inputs for part in parts]), X)


def test_fingerprints_tell_contents_apart():
    same = as_examples((X.clone(), Y.clone()))
    assert same.fingerprint == Examples(X, Y).fingerprint
    assert Examples(X + 1, Y).fingerprint != same.fingerprint
    assert Examples(X.reshape(6, 2, 2), Y).fingerprint != same.fingerprint


def _holed():
    bad = X.clone()
    bad[2, 1] = float("nan")
    return bad


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ((X, Y[:5]), "as many inputs as targets, got 6 inputs, 5 targets"),
        ((_holed(), Y), "1 of 6 examples hold NaN or infinity, the first is number 2"),
        ((X[:0], Y[:0]), "no examples"),
        ((np.array(["a", "b"]), np.zeros(2)), "must be numbers"),
        (torch.zeros(3), "expected examples as"),
        ([X, Y, X], "expected examples as"),
        (DataLoader(X, batch_size=2), "must give pairs"),
        (TensorDataset(X[:0], Y[:0]), "no examples"),
    ],
)
def test_what_is_no_examples_is_told_in_one_line(data, told):
    with pytest.raises(UsageError, match=told) as error:
        as_examples(data)
    assert "\n" not in str(error.value)


def test_a_data_set_beyond_memory_is_refused_before_it_is_read():
    class Huge(Dataset):
        def __len__(self):
            return 10**12

        def __getitem__(self, k):
            assert k == 0, "it was read"
            return torch.zeros(1000), 0

    with pytest.raises(UsageError, match="GiB"):
        as_examples(Huge())


@pytest.mark.parametrize(("n", "size", "lengths"), [(7, 3, [3, 4]), (6, 3, [3, 3]), (1, 3, [1]), (3, 1, [1, 1, 1])])
def test_no_batch_of_one_stands_behind_others(n, size, lengths):
    parts = spans(n, size)
    assert [part.stop - part.start for part in parts] == lengths
    assert [k for part in parts for k in range(n)[part]] == list(range(n))

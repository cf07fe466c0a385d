"""Data sets from every form that people have: what comes out, and what is told of what cannot be read."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from PIL import Image

from opt import UsageError
from problems.data.data import load_dataset
from problems.data.examples import Examples
from problems.data.memory import say_memory
from problems.data.scaling import Wanted
from problems.data.sets.example_set import load_examples

RNG = np.random.default_rng(5)
X = RNG.normal(size=(60, 3)).astype(np.float32)
Y = np.arange(60) % 4
BYTES = RNG.integers(0, 256, (60, 6, 6), dtype=np.uint8)
KINDS = {"u1": 8, "i4": 12, "f4": 13}


def idx(path, array):
    code = KINDS[array.dtype.str[1:]]
    head = bytes((0, 0, code, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(head + array.astype(array.dtype.newbyteorder(">")).tobytes())


def idx_folder(folder, images, targets):
    for name, rows in (("train", slice(40)), ("t10k", slice(40, 60))):
        idx(folder / f"{name}-images-idx3-ubyte", images[rows])
        idx(folder / f"{name}-labels-idx1-ubyte", targets[rows])
    return str(folder)


def pictures(folder, splits=("",), side=5, classes=("cats", "dogs")):
    for split in splits:
        for k, name in enumerate(classes):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(6):
                value = (100 * k + number, 7, 9)
                Image.new("RGB", (side + 1, side), value).save(place / f"{number}.png")
    return str(folder)


def lengths(data):
    return tuple(len(part) for part in (data.train, data.search, data.test))


# -- arrays -----------------------------------------------------------------------------------------


def test_arrays_of_two_names_are_split_in_their_classes(tmp_path):
    np.savez(tmp_path / "a.npz", X=X, y=Y)
    data = load_examples(str(tmp_path / "a.npz"), n_search=12, n_test=8)
    assert lengths(data) == (40, 12, 8) and (data.kind, data.n_outputs, data.input_shape) == ("classes", 4, (3,))
    assert torch.equal(data.search.targets.bincount(), torch.tensor([3, 3, 3, 3]))
    again = load_examples(str(tmp_path / "a.npz"), n_search=12, n_test=8)
    other = load_examples(str(tmp_path / "a.npz"), n_search=12, n_test=8, split_seed=1)
    assert data.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_search", "y_search", "x_test", "y_test"),
        ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
        ("X_train", "Y_train", "X_valid", "Y_valid", "X_test", "Y_test"),
    ],
)
def test_arrays_of_splits_stay_in_them(tmp_path, names):
    parts = [array[rows] for rows in (slice(40), slice(40, 50), slice(50, 60)) for array in (X, Y)]
    np.savez_compressed(tmp_path / "a.npz", **dict(zip(names, parts, strict=True)), about=np.array("me"))
    data = load_examples(str(tmp_path / "a.npz"), n_test=5)
    assert lengths(data) == (40, 10, 5)
    assert np.array_equal(data.search.inputs.numpy(), X[40:50])


def test_bytes_become_images_divided_by_255(tmp_path):
    np.savez(tmp_path / "a.npz", x=BYTES, y=Y[:, None])
    data = load_examples(str(tmp_path / "a.npz"))
    assert data.input_shape == (1, 6, 6) and data.prepared == "divided by 255" and data.n_classes == 4
    assert 0.9 < float(data.train.inputs.max()) <= 1.0
    coloured = np.repeat(BYTES[..., None], 3, axis=3)
    np.savez(tmp_path / "b.npz", x=coloured, y=Y)
    data = load_examples(str(tmp_path / "b.npz"))
    assert data.input_shape == (3, 6, 6) and "channels first" in data.notes[0]


def test_inputs_are_prepared_as_asked_by_the_training_examples(tmp_path):
    np.savez(tmp_path / "a.npz", x=BYTES, y=Y)
    wanted = Wanted(scale=1.0, mean="train", std="train", size="8x10", channels=3)
    data = load_examples(str(tmp_path / "a.npz"), wanted=wanted)
    assert data.input_shape == (3, 8, 10) and "8 x 10 pixels" in data.prepared
    assert data.train.inputs.mean().abs() < 1e-4 and abs(float(data.train.inputs.std()) - 1) < 1e-3
    fixed = load_examples("digits", wanted=Wanted(mean="0.5", std="0.5"))
    assert torch.equal(fixed.train.inputs, (load_dataset("digits").train.images - 0.5) / 0.5)
    whole = load_examples("digits", wanted=Wanted(scale=1.0))
    assert float(whole.train.inputs.max()) == 16.0


def test_targets_are_told_apart(tmp_path):
    def kind(y):
        np.savez(tmp_path / "a.npz", x=X, y=y)
        data = load_examples(str(tmp_path / "a.npz"))
        return data.kind, data.n_outputs, data.train.targets.dtype

    labels = (RNG.random((60, 3)) < 0.5).astype(np.uint8)
    assert kind(np.eye(4)[Y]) == ("classes", 4, torch.int64)
    assert kind(labels) == ("labels", 3, torch.int64)
    assert kind(X[:, 0]) == ("numbers", 1, torch.float32)
    assert kind(X[:, :2].astype(np.float64)) == ("numbers", 2, torch.float32)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"X": X}, "has no targets; it holds X, and expected are"),
        ({"X": X, "label_names": Y}, "has no targets; it holds X, label_names"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "has no targets of test; it holds x_train, y_train, x_test"),
        ({"a": X}, "must hold arrays X and y.*got a"),
        ({"X": X, "inputs": X, "y": Y}, "'X' and 'inputs' are both inputs of data"),
        ({"X": X, "y": Y[:50]}, "as many inputs as targets, got 60 inputs, 50 targets"),
        ({"X": X[:0], "y": Y[:0]}, "no examples"),
        ({"X": np.where(X > 2, np.nan, X), "y": Y}, "examples hold NaN or infinity"),
        ({"X": X, "y": np.where(X[:, 0] > 1, np.inf, 0.5)}, "targets must be finite"),
        ({"X": X, "y": Y - 1}, "classes must be whole numbers from 0 on.*got -1 to 2"),
        ({"X": X.astype(str), "y": Y}, "must be numbers"),
        ({"X": X.astype(object), "y": Y}, "holds objects, which may hold code"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :2], "y_test": Y}, r"inputs of train and test must be alike"),
        ({"x_train": X, "y_train": Y, "x_test": X[:0], "y_test": Y[:0]}, "no examples"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(tmp_path, arrays, told):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UsageError, match=told) as error:
        load_examples(str(tmp_path / "a.npz"))
    assert "\n" not in str(error.value)


# -- tables -----------------------------------------------------------------------------------------


def table(path, head, rows, delimiter=","):
    lines = [head] if head else []
    path.write_text("\n".join([*lines, *(delimiter.join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return str(path)


WORDS = ("no", "yes")
ROWS = [(round(float(a), 3), round(float(b), 3), WORDS[k % 2]) for k, (a, b, _) in enumerate(X)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("head", ["", "width,height,kind"])
def test_the_last_column_of_a_table_is_its_target(tmp_path, head, delimiter):
    data = load_examples(table(tmp_path / "a.csv", head.replace(",", delimiter), ROWS, delimiter))
    assert sum(lengths(data)) == 60 and data.n_classes == 2 and data.input_shape == (2,)
    assert data.notes == ("classes of a.csv: no, yes",)


def test_a_column_of_that_name_is_the_target_wherever_it_stands(tmp_path):
    rows = [(k % 3, a, b) for k, (a, b, _) in enumerate(ROWS)]
    data = load_examples(table(tmp_path / "a.csv", "Label,0,1", rows))
    assert data.n_classes == 3 and data.input_shape == (2,)
    numbers = load_examples(table(tmp_path / "b.csv", "a,b,target", [(a, b, a + b) for a, b, _ in ROWS]))
    assert numbers.kind == "numbers" and torch.allclose(numbers.train.inputs.sum(1), numbers.train.targets, atol=1e-5)


@pytest.mark.parametrize(
    ("head", "rows", "told"),
    [
        (
            "size,colour,kind",
            [(1.0, "red", 0), (2.0, "blue", 1)],
            "line 2, column 'colour' must be a number, got 'red'",
        ),
        ("a,b,kind", [(1.0, 2.0, 0), (2.0, 1)], "line 3 has 2 columns, and the first has 3"),
        ("a,b,kind", [(1.0, "", 0), (2.0, 1, 1)], "line 2, column 'b' is empty"),
        ("a,b,kind", [(1.0, "nan", 0), (2.0, 1, 1)], "line 2, column 'b' must be a finite number"),
        ("a,target,label", [(1.0, 1, 0), (2.0, 1, 1)], "columns 'target' and 'label'; keep one"),
        ("a,b,kind", [], "holds no rows"),
        ("", [(1,), (2,)], "has one column"),
        ("a,price", [(k, 1000 + 7 * k) for k in range(50)], "column 'price' holds 50 different whole numbers"),
        ("a,b,kind", [(1.0, 2.0, 0.5), (1.0, 2.0, "inf")], "'kind' must be finite numbers"),
    ],
)
def test_tables_that_do_not_fit_are_one_line(tmp_path, head, rows, told):
    with pytest.raises(UsageError, match=told) as error:
        load_examples(table(tmp_path / "a.csv", head, rows))
    assert "\n" not in str(error.value)


def test_no_table(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    with pytest.raises(UsageError, match="no table of text"):
        load_examples(str(tmp_path / "a.csv"))
    (tmp_path / "a.npz").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"is no \.npz file"):
        load_examples(str(tmp_path / "a.npz"))
    np.save(tmp_path / "one.npy", X)
    (tmp_path / "one.npy").rename(tmp_path / "b.npz")
    with pytest.raises(UsageError, match="holds one array alone"):
        load_examples(str(tmp_path / "b.npz"))


# -- folders ----------------------------------------------------------------------------------------


def test_pictures_in_a_folder_a_class(tmp_path):
    data = load_examples(pictures(tmp_path), n_test=4, n_search=2)
    assert lengths(data) == (6, 2, 4) and data.input_shape == (3, 5, 6) and data.n_classes == 2
    grey = load_examples(str(tmp_path), n_test=4, n_search=2, wanted=Wanted(size="8", channels=1))
    assert grey.input_shape == (1, 8, 8)


def test_pictures_in_folders_of_splits(tmp_path):
    data = load_examples(pictures(tmp_path, ("train", "val", "test")))
    assert lengths(data) == (12, 12, 12)
    (tmp_path / "test" / "birds").mkdir()
    with pytest.raises(UsageError, match=r"has a class 'birds' that the training pictures lack \(cats, dogs\)"):
        load_examples(str(tmp_path))


def test_pictures_of_two_sizes_name_the_option(tmp_path):
    pictures(tmp_path)
    Image.new("RGB", (9, 9)).save(tmp_path / "dogs" / "z.png")
    with pytest.raises(UsageError, match=r"z.png: pictures must have one size.*--problem.image_size"):
        load_examples(str(tmp_path))


def test_idx_folders_are_the_same_image_sets_as_ever(tmp_path):
    data = load_examples(idx_folder(tmp_path, BYTES, Y.astype(np.uint8)))
    assert data.images is not None and data.fingerprint == load_dataset(str(tmp_path)).fingerprint
    assert torch.equal(data.train.inputs, data.images.train.images)


def test_labels_of_two_axes_are_not_cut_to_the_first(tmp_path):
    labels = (RNG.random((60, 3)) < 0.5).astype(np.uint8)
    folder = idx_folder(tmp_path, BYTES, labels)
    data = load_examples(folder)
    assert data.kind == "labels" and data.n_outputs == 3
    with pytest.raises(UsageError, match=r"one whole number for each of the 40 images .* got uint8 \(40, 3\)"):
        load_dataset(folder)


def test_idx_files_may_hold_float_images_and_numbers(tmp_path):
    data = load_examples(idx_folder(tmp_path, BYTES.astype(np.float32), X[:, 0]))
    assert data.kind == "numbers" and data.input_shape == (1, 6, 6) and data.prepared == "as they are"


# -- names and functions ----------------------------------------------------------------------------

FUNCTIONS = """
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

X, y = torch.rand(50, 4), torch.arange(50) % 2

def data():
    return X, y

def parts():
    loader = DataLoader(TensorDataset(X[30:40], y[30:40]))
    return {"train": TensorDataset(X[:30], y[:30]), "val": loader, "test": (X[40:], y[40:])}

def named():
    return {"train": (({"a": X, "b": X}), y)}

def needy(path):
    return X, y

def fails():
    raise OSError("no such disk")

def trains():
    return {"trian": (X, y)}

def drawn():
    return torch.rand(50, 4), y
"""


@pytest.fixture
def functions(tmp_path):
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    return str(tmp_path / "mine.py")


def test_functions_give_examples(functions):
    assert lengths(load_examples(functions)) == (32, 8, 10)
    assert lengths(load_examples(f"{functions}:parts")) == (30, 10, 10)
    assert isinstance(load_examples(f"{functions}:named").train, Examples)
    first, second = (load_examples(f"{functions}:drawn", split_seed=seed) for seed in (1, 1))
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (":needy", r"needs arguments \(path\)"),
        (":fails", "fails: OSError: no such disk"),
        (":trians", "has no 'trians'; did you mean 'trains'"),
        (":trains", "must be train, search or test, got 'trian'"),
    ],
)
def test_functions_that_fail_are_one_line(functions, target, told):
    with pytest.raises(UsageError, match=told) as error:
        load_examples(functions + target)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("fashion", "data must be one of digits.*did you mean 'fashion-mnist'"),
        ("nowhere.npz", "nowhere.npz does not exist"),
        ("nowhere.csv", "nowhere.csv does not exist"),
        ("tests/refusals.py:refuse", "has no 'refuse'; did you mean 'refused'"),
        ("pyproject.toml", "is a file of another kind"),
    ],
)
def test_what_is_no_data_is_one_line(data, told):
    with pytest.raises(UsageError, match=told):
        load_examples(data)


def test_texts_are_made_by_a_formula():
    data = load_examples("brackets")
    assert (data.n_words, data.n_classes, data.is_tokens, data.kind) == (10, 4, True, "classes")
    assert data.prepared == "as they are: tokens" and sum(lengths(data)) == 4000
    with pytest.raises(UsageError, match="tokens, and not prepared"):
        load_examples("brackets", wanted=Wanted(mean="train"))


def test_named_images_are_those_of_today():
    data, known = load_examples("digits"), load_dataset("digits")
    assert data.fingerprint == known.fingerprint and torch.equal(data.search.targets, known.search.labels)
    few = load_examples("digits", n_test=7)
    assert len(few.test) == 7 and few.images is not None and len(few.images.test) == 7


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(mean="a"), "input_mean must be train, or numbers"),
        (Wanted(std="0"), "input_std must be finite numbers, above 0"),
        (Wanted(mean="1,2"), "input_mean must be one number, or one for each of the 1"),
        (Wanted(size="0"), "image_size must be a number of pixels"),
        (Wanted(size="3x4x5"), "image_size must be"),
    ],
)
def test_preparations_that_cannot_be_are_one_line(wanted, told):
    with pytest.raises(UsageError, match=told):
        load_examples("digits", wanted=wanted)


def test_the_memory_is_told_before_it_is_taken(capsys):
    say_memory("x.npz", 2 * 2**30)
    assert "x.npz takes 2.0 GiB of memory" in capsys.readouterr().err
    with pytest.raises(UsageError, match="GiB and this machine has"):
        say_memory("x.npz", 2**60)

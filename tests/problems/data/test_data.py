import gzip
import tarfile

import numpy as np
import pooch
import pytest
import requests
import torch

from opt.console.errors import UsageError
from problems.data.cifar import FOLDER, RECORD_BYTES, TEST_FILES, TRAIN_FILES, read_cifar_batch
from problems.data.data import DATASETS, load_dataset
from problems.data.idx import read_idx

IDX_CODE = {"u1": 0x08, "i4": 0x0C, "f4": 0x0D}
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(array):
    kind = array.dtype.str[1:]
    header = bytes([0, 0, IDX_CODE[kind], array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    return header + array.astype(f">{kind}").tobytes()


def write_idx_set(folder, *, n_train=50, n_test=20, gz=False, labels="u1"):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = []
    for n in (n_train, n_test):
        arrays += [rng.integers(0, 256, (n, 6, 5), dtype=np.uint8), (np.arange(n) % 4).astype(labels)]
    for name, array in zip(NAMES, arrays, strict=True):
        data = idx_bytes(array)
        path = folder / (f"{name}.gz" if gz else name)
        path.write_bytes(gzip.compress(data) if gz else data)
    return arrays


def write_cifar(folder, n=4):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    for name in (*TRAIN_FILES, *TEST_FILES):
        records = rng.integers(0, 256, (n, RECORD_BYTES), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())


@pytest.fixture(autouse=True)
def no_data_elsewhere(tmp_path, monkeypatch):
    """No file of this machine, and no network, may decide a test."""
    monkeypatch.delenv("OPT_DATA_DIR", raising=False)
    monkeypatch.setenv("OPT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def refuse(*args, **kwargs):
        raise requests.exceptions.ConnectionError("no network in tests")

    monkeypatch.setattr(pooch, "retrieve", refuse)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f4"])
@pytest.mark.parametrize("gz", [False, True])
def test_read_idx_returns_what_was_written(tmp_path, dtype, gz):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    data = idx_bytes(array)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(data) if gz else data)
    read = read_idx(path)
    assert read.dtype == array.dtype and read.flags.writeable
    np.testing.assert_array_equal(read, array)


def bad_idx_files():
    good = idx_bytes(np.zeros((3, 2), dtype=np.uint8))
    yield "empty", b"", "not an IDX file"
    yield "wrong_magic", b"\x89PNG" + good[4:], "not an IDX file"
    yield "unknown_type", b"\0\0\x07\x01" + good[4:], "not an IDX file"
    yield "no_dimensions", b"\0\0\x08\0", "truncated or damaged"
    yield "header_cut", good[:7], "truncated or damaged"
    yield "data_cut", good[:-1], "truncated or damaged"
    yield "too_long", good + b"\0", "truncated or damaged"
    yield "huge_shape", b"\0\0\x08\x03" + b"\xff" * 12, "truncated or damaged"
    yield "gzip_cut", gzip.compress(good)[:-6], "damaged gzip"
    yield "gzip_garbled", gzip.compress(good)[:12] + b"\xff\xff\xff\xff" + gzip.compress(good)[16:], "damaged gzip"


@pytest.mark.parametrize(("content", "message"), [pytest.param(c, m, id=i) for i, c, m in bad_idx_files()])
def test_read_idx_names_a_bad_file(tmp_path, content, message):
    path = tmp_path / "bad-idx"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_read_idx_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read_idx(tmp_path / "nowhere")


def test_digits_splits_are_disjoint_scaled_and_fixed():
    data = load_dataset("digits")
    again = load_dataset("digits")
    other = load_dataset("digits", split_seed=1)
    assert (len(data.train), len(data.search), len(data.test)) == (1150, 287, 360)
    assert data.input_shape == (1, 8, 8) and data.n_classes == 10 and data.n_inputs == 64
    assert data.train.images.dtype == torch.float32 and data.train.labels.dtype == torch.int64
    assert data.train.flat.shape == (1150, 64)
    assert float(data.train.images.min()) == 0 and float(data.train.images.max()) == 1
    assert data.fingerprint == again.fingerprint != other.fingerprint
    assert torch.equal(data.search.pixels, again.search.pixels)
    assert torch.equal(data.test.pixels, other.test.pixels), "the test set must not move with split_seed"
    assert not torch.equal(data.search.pixels, other.search.pixels)
    # Stratified: each class has about a tenth.
    assert int(data.test.labels.bincount().min()) >= 34


def test_splits_partition_the_training_images(tmp_path):
    images, *_ = write_idx_set(tmp_path / "mine")
    data = load_dataset(str(tmp_path / "mine"), n_search=12)
    rows = torch.cat([data.train.pixels, data.search.pixels]).flatten(1).numpy()
    assert len(data.search) == 12 and len(data.train) == 38
    assert {r.tobytes() for r in rows} == {r.tobytes() for r in images.reshape(50, -1)}


@pytest.mark.parametrize("gz", [False, True])
def test_folder_of_idx_files_is_read(tmp_path, gz):
    arrays = write_idx_set(tmp_path / "mine", gz=gz)
    data = load_dataset(str(tmp_path / "mine"))
    assert data.input_shape == (1, 6, 5) and data.n_classes == 4 and len(data.search) == 10
    np.testing.assert_array_equal(data.test.pixels[:, 0].numpy(), arrays[2])
    np.testing.assert_allclose(data.test.images[:, 0].numpy(), arrays[2] / np.float32(255))


@pytest.mark.parametrize("place", ["data_dir", "data_dir/name", "variable", "cache", "home", "here"])
def test_named_set_is_found_in_each_place(tmp_path, monkeypatch, place):
    options = {}
    folder = tmp_path / "given"
    if place == "data_dir":
        write_idx_set(folder, gz=True)
        options = {"data_dir": folder}
    elif place == "data_dir/name":
        write_idx_set(folder / "mnist")
        options = {"data_dir": folder}
    elif place == "variable":
        write_idx_set(folder / "MNIST" / "raw")
        monkeypatch.setenv("OPT_DATA_DIR", str(folder))
    elif place == "cache":
        write_idx_set(tmp_path / "cache" / "datasets" / "mnist")
    elif place == "home":
        write_idx_set(tmp_path / "home" / ".cache" / "mnist")
    else:
        write_idx_set(tmp_path / "data" / "mnist")
    assert len(load_dataset("mnist", download=False, **options).test) == 20


def test_data_dir_goes_before_the_environment(tmp_path, monkeypatch):
    write_idx_set(tmp_path / "a", n_test=7)
    write_idx_set(tmp_path / "b", n_test=8)
    monkeypatch.setenv("OPT_DATA_DIR", str(tmp_path / "b"))
    assert len(load_dataset("mnist", data_dir=tmp_path / "a").test) == 7
    assert len(load_dataset("mnist").test) == 8


def test_qmnist_labels_take_the_class_column(tmp_path):
    arrays = write_idx_set(tmp_path)
    for name, k in (("train", 0), ("test", 2)):
        labels = np.column_stack([arrays[k + 1], np.full((len(arrays[k]), 7), 99)]).astype("i4")
        (tmp_path / f"qmnist-{name}-images-idx3-ubyte").write_bytes(idx_bytes(arrays[k]))
        (tmp_path / f"qmnist-{name}-labels-idx2-int").write_bytes(idx_bytes(labels))
    data = load_dataset("qmnist", data_dir=tmp_path)
    assert data.n_classes == 4
    np.testing.assert_array_equal(data.test.labels.numpy(), arrays[3])


def test_cifar_is_read_from_folder_and_from_archive(tmp_path):
    write_cifar(tmp_path / "a" / FOLDER)
    data = load_dataset("cifar10", data_dir=tmp_path / "a", download=False)
    assert data.input_shape == (3, 32, 32) and (len(data.train), len(data.search), len(data.test)) == (16, 4, 4)
    (tmp_path / "b").mkdir()
    with tarfile.open(tmp_path / "b" / "cifar-10-binary.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "a" / FOLDER, FOLDER)
    again = load_dataset("cifar10", data_dir=tmp_path / "b", download=False)
    assert again.fingerprint == data.fingerprint


def test_read_cifar_batch_keeps_channels_first(tmp_path):
    record = np.r_[np.uint8(7), np.repeat(np.array([10, 20, 30], dtype=np.uint8), 1024)]
    (tmp_path / "batch.bin").write_bytes(record.tobytes())
    images, labels = read_cifar_batch(tmp_path / "batch.bin")
    assert labels.tolist() == [7] and [int(images[0, c].mean()) for c in range(3)] == [10, 20, 30]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "truncated"), (b"\0" * (RECORD_BYTES - 1), "truncated"), (b"\x0b" + b"\0" * (RECORD_BYTES - 1), "damaged")],
)
def test_read_cifar_batch_names_a_bad_file(tmp_path, content, message):
    path = tmp_path / "batch.bin"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_cifar_batch(path)
    assert str(path) in str(caught.value)


def test_damaged_cifar_archive_is_a_usage_error(tmp_path):
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(gzip.compress(b"no tar at all"))
    with pytest.raises(UsageError, match="cifar-10-binary"):
        load_dataset("cifar10", data_dir=tmp_path, download=False)


@pytest.mark.parametrize("name", [n for n in DATASETS if n not in ("digits", "fashion-mnist")])
@pytest.mark.parametrize("download", [True, False])
def test_missing_files_end_in_one_line_that_says_what_to_put_where(tmp_path, name, download):
    with pytest.raises(UsageError) as caught:
        load_dataset(name, data_dir=tmp_path, download=download)
    line = str(caught.value)
    assert "\n" not in line and str(tmp_path / name) in line and "OPT_DATA_DIR" in line
    assert ("cifar-10-binary.tar.gz" in line or "data_batch_1.bin" in line) if name == "cifar10" else "images" in line
    assert ("ConnectionError" in line) == download


def test_wrong_checksum_of_a_download_says_so(tmp_path, monkeypatch):
    def damaged(*args, **kwargs):
        raise ValueError("MD5 hash of downloaded file does not match the known hash")

    monkeypatch.setattr(pooch, "retrieve", damaged)
    with pytest.raises(UsageError, match="arrived damaged"):
        load_dataset("kmnist", data_dir=tmp_path)


def test_download_fetches_each_file_with_its_checksum_into_the_cache(tmp_path, monkeypatch):
    write_idx_set(tmp_path / "remote", gz=True)
    asked = []

    def fetch(url, known_hash, fname, path, **kwargs):
        asked.append((url, known_hash))
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes((tmp_path / "remote" / fname).read_bytes())
        return str(path / fname)

    monkeypatch.setattr(pooch, "retrieve", fetch)
    first = load_dataset("mnist")
    assert len(asked) == 4 and all(u.endswith(".gz") and len(h) == len("md5:") + 32 for u, h in asked)
    assert asked[0][1] == "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"
    assert load_dataset("mnist").fingerprint == first.fingerprint and len(asked) == 4, "the second load must not fetch"


def test_unknown_name_offers_the_nearest():
    with pytest.raises(UsageError, match=r"got 'fashon-mnist'; did you mean 'fashion-mnist'\?"):
        load_dataset("fashon-mnist")


def test_missing_data_dir_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="is not a folder"):
        load_dataset("mnist", data_dir=tmp_path / "typo")


def test_folder_without_a_file_names_it(tmp_path):
    write_idx_set(tmp_path / "mine")
    (tmp_path / "mine" / NAMES[3]).unlink()
    with pytest.raises(UsageError, match=NAMES[3]):
        load_dataset(str(tmp_path / "mine"))


def test_labels_that_do_not_fit_the_images_are_refused(tmp_path):
    write_idx_set(tmp_path)
    (tmp_path / NAMES[1]).write_bytes(idx_bytes(np.zeros(49, dtype=np.uint8)))
    with pytest.raises(UsageError, match="one whole number for each of the 50 images"):
        load_dataset("mnist", data_dir=tmp_path)


def test_images_of_two_shapes_are_refused(tmp_path):
    write_idx_set(tmp_path)
    (tmp_path / NAMES[2]).write_bytes(idx_bytes(np.zeros((20, 4, 4), dtype=np.uint8)))
    with pytest.raises(UsageError, match="one shape"):
        load_dataset("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("n_search", [0, -1, 1.5, 1437, 5000])
def test_impossible_search_size_is_refused(n_search):
    with pytest.raises(UsageError, match="n_search"):
        load_dataset("digits", n_search=n_search)


def test_search_size_may_be_a_fraction():
    assert len(load_dataset("digits", n_search=0.5).search) == 718

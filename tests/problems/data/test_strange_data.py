"""Data files whose headers lie, and bombs: one line that names the file, at no cost of time or memory."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import tracemalloc
import zlib

import numpy as np
import pytest

from opt import UsageError
from problems.data import cifar, idx
from problems.data.data import load_dataset
from problems.data.idx import read_idx


def header(kind: int, *shape: int, n_dims: int | None = None) -> bytes:
    return bytes([0, 0, kind, len(shape) if n_dims is None else n_dims]) + struct.pack(f">{len(shape)}I", *shape)


def zeros_packed(start: bytes, n: int) -> bytes:
    """A gzip file of `start` and n zeros, made without n bytes of memory."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [packer.compress(start)]
    block = bytes(1 << 24)
    for _ in range(n >> 24):
        parts.append(packer.compress(block))
    return b"".join([*parts, packer.flush()])


BIG = 2**32 - 1
LIES = {
    "nothing": b"",
    "three bytes": b"\0\0\x08",
    "another kind of numbers": header(0x0A, 2, 2) + bytes(4),
    "no dimensions": header(0x08) + bytes(4),
    "255 dimensions": header(0x08, *[1] * 255) + bytes(1),
    "dimensions cut off": header(0x08, 2, n_dims=3),
    "half a dimension": header(0x08, 2, n_dims=3) + b"\0\0\0",
    "a negative number of images": header(0x08, 0xFFFFFFFF, 28, 28) + bytes(784),
    "a product beyond 64 bits": header(0x0E, BIG, BIG, BIG, BIG) + bytes(784),
    "a product of 2^64, which is 0": header(0x08, 2**31, 2**31, 4) + bytes(0),
    "a product of 0 beside the largest": header(0x08, BIG, BIG, BIG, BIG, 0),
    "too few values": header(0x08, 2, 3, 3) + bytes(17),
    "too many values": header(0x08, 2, 3, 3) + bytes(19),
    "no values": header(0x0D, 2, 3, 3),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_refused(name, packed, tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(LIES[name]) if packed else LIES[name])
    tracemalloc.start()
    with pytest.raises(UsageError) as caught:
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["a header of little", "a header of all", "no header"])
def test_a_gz_bomb_is_not_unpacked(kind, tmp_path):
    n = 1 << 28
    start = {"a header of little": header(0x08, 10), "a header of all": header(0x08, n), "no header": b""}[kind]
    path = tmp_path / "labels.gz"
    path.write_bytes(zeros_packed(start, n))
    assert path.stat().st_size < 2e6
    tracemalloc.start()
    with pytest.raises(UsageError, match=r"labels\.gz") as caught:
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6, "no more was unpacked than the header promises"
    expected = {"a header of little": "it holds more", "a header of all": "at most", "no header": "not an IDX file"}
    assert expected[kind] in str(caught.value)


def test_a_plain_file_longer_than_its_header_is_not_read(tmp_path):
    path = tmp_path / "labels"
    with open(path, "wb") as file:
        file.write(header(0x08, 10))
        file.truncate(1 << 33)
    with pytest.raises(UsageError, match="it holds more"):
        read_idx(path)


def test_black_images_are_no_bomb(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(zeros_packed(header(0x08, 1 << 10, 1 << 7, 1 << 7), 1 << 24))
    assert path.stat().st_size < (1 << 24) / 200
    assert read_idx(path).shape == (1 << 10, 1 << 7, 1 << 7)


def test_what_memory_does_not_hold_is_told(tmp_path, monkeypatch):
    path = tmp_path / "images"
    path.write_bytes(header(0x08, 4) + bytes(4))

    def no_memory(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(idx, "_read_whole", no_memory)
    with pytest.raises(UsageError, match="does not fit into memory"):
        read_idx(path)


@pytest.mark.parametrize("reader", [read_idx, cifar.read_cifar_batch])
@pytest.mark.parametrize("kind", ["folder", "pipe", "long", "path of 5,000", "loop"])
def test_what_is_no_file_is_told(kind, reader, tmp_path):
    path = {"long": tmp_path / ("x" * 300), "path of 5,000": tmp_path / ("x/" * 2500)}.get(kind, tmp_path / "file")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(UsageError, match="cannot read"):
        reader(path)


def test_no_permission_is_told(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"")

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", forbidden)
    with pytest.raises(UsageError, match="Permission denied"):
        read_idx(path)


def write_set(folder, *, shape=(5, 5), labels=None):
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for part, n in (("train", 40), ("t10k", 10)):
        pixels = rng.integers(0, 256, (n, *shape)).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header(0x08, *pixels.shape) + pixels.tobytes())
        own = np.arange(n) % 4 if labels is None else np.resize(labels, n)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header(0x0C, n) + own.astype(">i4").tobytes())


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_images_without_pixels_are_refused(shape, tmp_path):
    write_set(tmp_path, shape=shape)
    with pytest.raises(UsageError, match="check that it is the file of images"):
        load_dataset(str(tmp_path))


def test_a_class_number_of_a_billion_is_refused(tmp_path):
    write_set(tmp_path, labels=[0, 1, 10**9])
    with pytest.raises(UsageError, match="must hold labels below 65536, got 1000000000"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("name", ["\udcff\udcfe", "x" * 250, "a\x1b[31m", "-é 日"])
def test_a_folder_of_any_name_is_read(name, tmp_path):
    write_set(tmp_path / name)
    assert len(load_dataset(str(tmp_path / name)).test) == 10


@pytest.mark.parametrize("data", ["x" * 300, "x/" * 2500, "\udcff"])
def test_data_of_no_such_folder_is_told(data, tmp_path):
    with pytest.raises(UsageError, match="data must be one of"):
        load_dataset(data)
    with pytest.raises(UsageError, match="which is not a folder"):
        load_dataset("mnist", data_dir=data, download=False)


def test_the_folder_of_an_unknown_user_is_told():
    for options in ({"name": "~no such user/x"}, {"name": "mnist", "data_dir": "~no such user/x", "download": False}):
        with pytest.raises(UsageError, match="a user who is unknown here"):
            load_dataset(**options)


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(UsageError, match="holds no file train-images-idx3-ubyte"):
        load_dataset(str(tmp_path))
    for name in ("mnist", "cifar10"):
        with pytest.raises(UsageError, match="was not found under"):
            load_dataset(name, data_dir=tmp_path, download=False)


@pytest.mark.parametrize("n_bytes", [0, 1, cifar.RECORD_BYTES - 1, cifar.RECORD_BYTES + 1, 60_001 * cifar.RECORD_BYTES])
def test_a_cifar_file_of_another_size_is_not_read(n_bytes, tmp_path):
    path = tmp_path / "data_batch_1.bin"
    with open(path, "wb") as file:
        file.truncate(n_bytes)
    with pytest.raises(UsageError, match=f"at most 184380000, got {n_bytes}"):
        cifar.read_cifar_batch(path)


def archive_of(path, members, *, packed=True):
    with tarfile.open(path, "w:gz" if packed else "w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))


def member(name: str, size: int, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"{cifar.FOLDER}/{name}")
    info.size = size
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize("packed", [True, False])
def test_cifar_archives_that_lie_are_refused_and_write_nothing_elsewhere(packed, tmp_path):
    path = tmp_path / "archive"
    record = bytes(cifar.RECORD_BYTES)
    whole = [(member(name, len(record)), record) for name in (*cifar.TRAIN_FILES, *cifar.TEST_FILES)]
    link = member(cifar.TEST_FILES[0], 0, type=tarfile.SYMTYPE, linkname="/etc/passwd")
    for members in ([], whole[:-1], [*whole[:-1], (link, b"")]):
        archive_of(path, members, packed=packed)
        with pytest.raises(UsageError, match="is damaged"):
            cifar.extract_cifar(path, tmp_path / "out")
        assert not list((tmp_path / "out").glob("*"))
    archive_of(path, [(tarfile.TarInfo("../evil"), b""), *whole], packed=packed)
    cifar.extract_cifar(path, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted((*cifar.TRAIN_FILES, *cifar.TEST_FILES))
    assert not (tmp_path / "evil").exists()


def test_a_cifar_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "_MOST_ARCHIVE_BYTES", 1 << 24)
    path = tmp_path / "archive"
    path.write_bytes(zeros_packed(b"", 1 << 28))
    with pytest.raises(UsageError, match="unpacks to more than"):
        cifar.extract_cifar(path, tmp_path / "out")
    sparse = member(cifar.TRAIN_FILES[0], 0)
    sparse.size = 1 << 40
    buffer = sparse.tobuf() + bytes(1024)
    path.write_bytes(buffer)
    with pytest.raises(UsageError, match="promises more than"):
        cifar.extract_cifar(path, tmp_path / "out")

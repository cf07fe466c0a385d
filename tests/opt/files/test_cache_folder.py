"""`opt.show --cache` tells kinds, sizes and ages of what is kept, and --clear deletes what was computed."""

from __future__ import annotations

import os
import time

import pytest

from opt.console.errors import UsageError
from opt.files.cache_folder import cache_folder, clear, kinds_of_things
from opt.show import main
from opt.studies.cache_overview import age_in_words, size_in_words


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OPT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(folder, name, size, *, age=0.0):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age,) * 2)


def test_nothing_is_kept_yet(folder, capsys):
    assert main(["--cache"]) == 0 and kinds_of_things() == []
    assert "nothing is kept" in capsys.readouterr().out
    assert main(["--cache", "--clear"]) == 0 and not cache_folder().exists()


def test_kinds_are_listed_with_sizes_and_ages(folder, capsys):
    put(folder, "parents/a.safetensors", 1500, age=3 * 86_400)
    put(folder, "parents/b.safetensors", 500, age=60)
    put(folder, "datasets/mnist/train.gz", 2_000_000, age=7200)
    assert main(["--cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["parents", "2", "2.0", "kB", "3", "days", "1", "min"]
    assert lines[1].split() == ["datasets", "1", "2.0", "MB", "2", "hours", "2", "hours"]


def test_clear_leaves_downloads_and_takes_kinds_by_name(folder, capsys):
    for name in ("parents/a", "spectra/b", "datasets/c"):
        put(folder, name, 100)
    assert main(["--cache", "--clear", "spectra"]) == 0
    assert [kind.name for kind in kinds_of_things()] == ["datasets", "parents"]
    assert clear() == 100 and [kind.name for kind in kinds_of_things()] == ["datasets"]
    assert clear(["datasets"]) == 100 and kinds_of_things() == []
    assert "100 bytes freed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--clear"], "--clear is for what --cache lists"),
        (["--cache", "--check"], "give one of them"),
        (["--cache", "parents"], "--cache --clear KIND"),
        (["--cache", "--clear", "parent"], "did you mean 'parents'"),
    ],
)
def test_what_makes_no_sense_is_told(folder, argv, told):
    put(folder, "parents/a", 10)
    with pytest.raises(UsageError, match=told):
        main(argv)
    assert (folder / "parents/a").exists()


def test_links_are_not_followed(folder, tmp_path):
    put(tmp_path, "elsewhere/precious", 10)
    put(folder, "parents/a", 10)
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "parents" / "inner").symlink_to(tmp_path / "elsewhere")
    clear()
    assert (tmp_path / "elsewhere/precious").exists()


def test_words():
    assert [size_in_words(n) for n in (0, 999, 1000, 93_900, 2 * 10**9)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "93.9 kB",
        "2.0 GB",
    ]
    assert [age_in_words(s) for s in (0, 90, 7199, 7200, 172_800)] == ["0 min", "2 min", "120 min", "2 hours", "2 days"]

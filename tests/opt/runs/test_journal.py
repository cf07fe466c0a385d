"""The journal: whole records are kept, a torn tail is dropped, anything else is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib

import numpy as np
import pytest

from opt import UsageError
from opt.runs.journal import HEADER, Journal, decode, encode, read

RECORDS = [
    {"gen": 1, "x": "00ff", "F": [[1.5, 2.0], [None, None]], "failed": {"1": "ValueError: a\nb\r\x0b\x85 ü"}},
    {"gen": 2, "x": "abcd", "F": [[0.1 + 0.2, -0.0]]},
    {"gen": 3, "x": "1234", "F": []},
]


ALTERED = (
    r"line \d fails its check and is not the last: .*; restore it from a copy"
    r"|is not a journal of this program; give a run directory"
)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "journal.jsonl"
    journal = Journal(file)
    for record in RECORDS:
        journal.append(record)
    journal.close()
    return file


def test_read_gives_back_what_was_appended(path):
    assert read(path) == (RECORDS, path.stat().st_size, 0)


def test_encode_is_one_line_and_keeps_every_bit_of_a_float():
    F = np.random.default_rng(1).normal(size=(20, 3)) * 10.0 ** np.arange(-150, 150, 100)
    line = encode({"F": F, "odd": "line\nbreak"})
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert (np.array(decode(line)["F"]) == F).all()


def test_encode_turns_nan_into_null():
    assert decode(encode({"F": np.array([[np.nan, np.inf, 1.0]])})) == {"F": [[None, None, 1.0]]}


def test_torn_at_every_byte_of_the_last_record_drops_exactly_that_record(path):
    whole = path.read_bytes()
    start = whole.rstrip(b"\n").rfind(b"\n") + 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        assert read(path) == (RECORDS[:-1], start, cut - start)
        journal = Journal(path)
        assert journal.records == RECORDS[:-1]
        assert journal.n_dropped == cut - start
        assert path.read_bytes() == whole[:start]
        journal.append(RECORDS[-1])
        journal.close()
        assert path.read_bytes() == whole


def test_torn_header_starts_anew(path):
    whole = path.read_bytes()
    for cut in range(len(encode(HEADER))):
        path.write_bytes(whole[:cut])
        journal = Journal(path)
        assert journal.records == []
        journal.close()
        assert path.read_bytes() == encode(HEADER)


def test_any_flipped_byte_before_the_last_record_is_refused_and_nothing_is_changed(path):
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n")
    for position in range(last):
        for flip in (0x01, 0x20, 0x80):
            altered = bytearray(whole)
            altered[position] ^= flip
            path.write_bytes(altered)
            with pytest.raises(UsageError, match=ALTERED) as caught:
                read(path)
            assert "\n" not in str(caught.value)
            with pytest.raises(UsageError):
                Journal(path)
            assert path.read_bytes() == altered


def test_flipped_byte_in_the_last_record_drops_no_other(path):
    whole = path.read_bytes()
    start = whole.rstrip(b"\n").rfind(b"\n") + 1
    for position in range(start, len(whole)):
        altered = bytearray(whole)
        altered[position] ^= 0x01
        path.write_bytes(altered)
        assert read(path)[0] == RECORDS[:-1]


def test_other_version_is_refused_by_its_number(path):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(encode(HEADER | {"version": 99}) + b"".join(lines[1:]))
    with pytest.raises(UsageError, match=r"version 99 and .*; open it with the release that wrote it"):
        read(path)


@pytest.mark.parametrize(
    "content",
    [b"hello", b"hello\n", b"a,b\n1,2\n", encode({"format": "other", "version": 1}), b"\x00\xff" * 50, b'{"crc":"'],
)
def test_file_that_is_no_journal_is_refused_and_left_alone(tmp_path, content):
    file = tmp_path / "journal.jsonl"
    file.write_bytes(content)
    if encode(HEADER).startswith(content):
        Journal(file).close()
        return
    with pytest.raises(UsageError, match=ALTERED):
        Journal(file)
    assert file.read_bytes() == content


def test_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot read journal"):
        read(tmp_path / "none")
    with pytest.raises(UsageError, match="cannot write"):
        Journal(tmp_path / "none" / "journal.jsonl")


def test_records_are_on_the_disk_within_a_second(path, monkeypatch):
    clock, synced = [100.0], []
    monkeypatch.setattr("opt.runs.journal.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((clock[0], os.fstat(file).st_size)))
    journal = Journal(path)
    sizes = {}
    for clock[0] in (100.5, 101.0, 101.5, 102.0, 102.4, 102.6):
        journal.append(RECORDS[0])
        sizes[clock[0]] = path.stat().st_size
    assert synced == [(t, sizes[t]) for t in (101.5, 102.6)]
    journal.close()
    assert synced[-1] == (102.6, path.stat().st_size) and len(synced) == 3
    journal.close()
    assert len(synced) == 3


def test_second_writer_in_the_same_process_is_refused(path, monkeypatch):
    monkeypatch.setattr("opt.files.locking.WAIT_SECONDS", 0.1)
    journal = Journal(path)
    with pytest.raises(UsageError, match="in use by another process"):
        Journal(path)
    journal.close()
    Journal(path).close()


def test_second_writer_in_another_process_is_refused(path, monkeypatch):
    monkeypatch.setattr("opt.files.locking.WAIT_SECONDS", 0.1)
    code = (
        f"from pathlib import Path; from opt.runs.journal import Journal; held = Journal(Path({str(path)!r})); print(1)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-uc", code + "; input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "1\n"
    with pytest.raises(UsageError, match="in use by another process"):
        Journal(path)
    holder.kill()
    holder.communicate()
    # the lock dies with its holder
    Journal(path).close()


def test_check_is_the_crc_of_the_record(path):
    line = path.read_bytes().splitlines()[1]
    body = line[line.index(b'"record":') + 9 : -1]
    assert f"{zlib.crc32(body):08x}".encode() == line[8:16]

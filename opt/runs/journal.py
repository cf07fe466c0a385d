"""The journal of a run: an append-only log of records, each with a checksum.

One line a record, `{"crc":"<8 hex digits>","record":{...}}`, where crc is the CRC-32 of the bytes
of the record's JSON. The first record names the format. A last line that is torn (the process died
while writing) or was altered fails its check; the journal then ends before it.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from opt.console.errors import UsageError
from opt.files.locking import LockedFile
from opt.files.plain_file import check_regular

FORMAT = "opt-journal"
VERSION = 1
HEADER = {"format": FORMAT, "version": VERSION}
_HEAD = b'{"crc":"'
_MIDDLE = b'","record":'
_SYNC_SECONDS = 1.0


def encode(record: dict[str, Any]) -> bytes:
    """One journal line, newline included. NaN becomes null; arrays become lists."""
    body = orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"%s%08x%s%s}\n" % (_HEAD, zlib.crc32(body), _MIDDLE, body)


def decode(line: bytes) -> dict[str, Any] | None:
    """The record of one journal line, or None when the line is torn or altered."""
    start = len(_HEAD) + 8 + len(_MIDDLE)
    if not (line.startswith(_HEAD) and line.endswith(b"}\n") and line[len(_HEAD) + 8 : start] == _MIDDLE):
        return None
    body = line[start:-2]
    if line[len(_HEAD) : len(_HEAD) + 8] != b"%08x" % zlib.crc32(body):
        return None
    try:
        record = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def read(path: Path) -> tuple[list[dict[str, Any]], int, int]:
    """Every whole record of a journal.

    Args:
        path: The file.

    Returns:
        (records, n_bytes, n_dropped): the records after the header, the bytes up to the end of
        the last whole one, and how many bytes after it are torn or altered.

    Raises:
        UsageError: The file is missing, is no journal, is of another version, or holds an altered
            record before its end.
    """
    try:
        check_regular(path)
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read journal {path}: {error.strerror}; expected a run directory's file") from None
    records: list[dict[str, Any]] = []
    n_whole = 0
    lines = raw.splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        record = decode(line)
        if record is None:
            # records are appended one after the other, so that a death tears the last one only
            if number < len(lines):
                raise UsageError(
                    f"{path} line {number} fails its check and is not the last: the file was altered; "
                    "restore it from a copy, or start a new run"
                )
            break
        records.append(record)
        n_whole += len(line)
    header_line = encode(HEADER)
    # a process that died while it wrote the header leaves its beginning; other bytes are another file
    if not records and raw and not header_line.startswith(raw):
        raise UsageError(f"{path} is not a journal of this program; give a run directory that opt.solve wrote")
    if records:
        header = records.pop(0)
        if header.get("format") != FORMAT:
            raise UsageError(f"{path} is not a journal of this program; give a run directory that opt.solve wrote")
        if header.get("version") != VERSION:
            raise UsageError(
                f"{path} is of journal version {header.get('version')} and this program reads version {VERSION}; "
                "open it with the release that wrote it"
            )
    return records, n_whole, len(raw) - n_whole


class Journal:
    """A journal open for appending, locked so that no second process writes to it.

    Args:
        path: The file; created with its header when it does not exist or holds no whole record.
        noted: What the process that holds it noted of itself, for messages.

    Raises:
        InUseError: Another process holds it.
        UsageError: It cannot be locked, read or written.
    """

    def __init__(self, path: Path, *, noted: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        self.n_dropped = 0
        try:
            if path.exists():
                check_regular(path)
            self._file = LockedFile(path, noted=noted)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None
        try:
            self.records, n_whole, self.n_dropped = read(path)
        except UsageError:
            self._file.close()
            raise
        # under the lock, and before anything is appended: a record behind torn bytes would count as torn too
        if self.n_dropped:
            self._file.cut(n_whole)
        self._synced = time.monotonic()
        if n_whole == 0:
            self.append(HEADER)

    def append(self, record: dict[str, Any]) -> None:
        """Write one record; it is with the operating system on return, on the disk within a second."""
        # a kill loses nothing that was written, a crash of the machine at most a second of it: a sync a record would
        # take longer than a small generation
        self._file.write(encode(record))
        now = time.monotonic()
        if now - self._synced > _SYNC_SECONDS:
            self._file.sync()
            self._synced = now

    def close(self) -> None:
        """Bring everything to the disk and release the lock."""
        if not self._file.is_closed:
            try:
                self._file.sync()
            finally:
                self._file.close()

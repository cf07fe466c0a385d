"""Sealed JSON: files that end with a digest of their own bytes, so that one altered byte is noticed.

The last two lines of a sealed file are `"sealed"`, the digest's method, and `"digest"`, of every byte
before them. How a file stands that was read:

whole      its digest is that of its bytes
altered    it ends as sealed files do, with the digest of other bytes
rewritten  it has something of a seal, but not at its end: another program wrote it, or the seal is damaged
unsealed   it has nothing of a seal, as those of earlier releases
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from opt.console.errors import UsageError
from opt.files.digest import new_hash
from opt.files.plain_file import read_bytes

METHOD = "blake2b-128"
Seal = Literal["whole", "altered", "rewritten", "unsealed"]
_ENDING = re.compile(rb',\n  "sealed": "[^"\n]*",\n  "digest": "[0-9a-f]{32}"\n}\n\Z')


@dataclass(frozen=True)
class Sealed:
    """What a file holds.

    Attributes:
        fields: Its object, without the seal; empty where it holds something else.
        seal: Whether its bytes are those that were written; see the module.
    """

    fields: dict[str, Any]
    seal: Seal


def encode(fields: dict[str, Any]) -> bytes:
    """A sealed file that holds `fields`.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    text = json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False)
    # half a character, as in a path that is not UTF-8, becomes the escape that JSON has for it
    body = text.encode("utf-8", "backslashreplace").removesuffix(b"}").rstrip(b"\n")
    return body + _ending(body)


def read(path: Path, *, lost: str) -> Sealed:
    """A file that `encode` made, or unsealed JSON.

    Args:
        path: The file.
        lost: What a user does when it cannot be read.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        raw = read_bytes(path)
        fields = json.loads(raw.decode("utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"{path} cannot be read ({reason}); {lost}") from None
    if not isinstance(fields, dict):
        fields = {}
    sealed, written = fields.pop("sealed", None), fields.pop("digest", None)
    if sealed is None and written is None:
        return Sealed(fields, "unsealed")
    ending = _ENDING.search(raw)
    if ending is None:
        return Sealed(fields, "rewritten")
    body = raw[: ending.start()]
    return Sealed(fields, "whole" if raw == body + _ending(body) else "altered")


def _ending(body: bytes) -> bytes:
    return b',\n  "sealed": "%s",\n  "digest": "%s"\n}\n' % (METHOD.encode(), new_hash(body).hexdigest().encode())


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")

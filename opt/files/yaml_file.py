"""Safe YAML: files of options, read so that none can cost more than a moment.

A file is refused before anything is made of it when it is long, nested deep, or grows beyond
reason by its aliases ("billion laughs"), when a name in it is a list or stands twice, or when it
asks for objects by tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from opt.console.errors import UsageError
from opt.files.plain_file import read_bytes

MOST_BYTES = 256 * 1024
MOST_NODES = 20_000
"""Values and names in a file, those that its aliases repeat counted each time."""
DEEPEST = 30

_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map"))
# the reader in C takes a tenth of the time, and is in every wheel of PyYAML
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Refused(ValueError):
    """Why a file is not read; one line."""


def read_yaml(path: Path, what: str) -> Any:
    """The plain value in a YAML file; None of an empty one.

    Args:
        path: The file.
        what: What it is called, such as "config file".

    Raises:
        UsageError: It cannot be read, is no YAML, or is refused; one line.
    """
    try:
        text = read_bytes(path, at_most=MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {what} {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {path} is not YAML: it is not UTF-8 ({error.reason})") from None
    try:
        _check_size(yaml.parse(text, Loader=_Loader))
        value = _value(text)
    except _Refused as error:
        raise UsageError(f"{what} {path} is refused: {error}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # ValueError: a month 13, a number of 5,000 digits
        raise UsageError(f"{what} {path} is not YAML: {' '.join(str(error).split())}") from None
    if _holds_broken_text(value):
        raise UsageError(f"{what} {path} is refused: a value holds a NUL or half a character")
    return value


def _value(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_names(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_names(root: yaml.Node) -> None:
    """Take names as they are written, `on` and `1` too; refuse lists as names, and names that stand twice.

    Raises:
        _Refused: A mapping has such a name.
    """
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        parts = list(node.value) if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            names: set[str] = set()
            for key, value in node.value:
                parts.append(value)
                if key.tag == "tag:yaml.org,2002:merge":
                    continue
                if not isinstance(key, yaml.ScalarNode):
                    raise _Refused(f"a name {_where(key)} is no text but a list or a mapping")
                key.tag = "tag:yaml.org,2002:str"
                if key.value in names:
                    raise _Refused(f"the name {key.value!r} stands twice, the second time {_where(key)}")
                names.add(key.value)
        for part in parts:
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)


def _check_size(events: Iterator[yaml.Event]) -> None:
    """Follow the events of one document, before any value is made, and refuse what would grow too large.

    Raises:
        _Refused: It is nested too deep, has too many nodes with its aliases written out, an alias of something
            around it, or a tag of an object.
    """
    sizes: dict[str, int] = {}  # of what stands behind each anchor, its aliases written out
    open_nodes: list[tuple[str | None, int]] = []  # anchor and size until now of the collections around an event
    total = 0
    for event in events:
        if isinstance(event, yaml.NodeEvent) and not isinstance(event, yaml.AliasEvent):
            tag = getattr(event, "tag", None)
            if tag not in (None, "!") and tag not in _PLAIN_TAGS:
                raise _Refused(f"the tag {tag!r} {_where(event)} asks for more than a plain value; leave it out")
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            if len(open_nodes) >= DEEPEST:
                raise _Refused(f"it is nested deeper than {DEEPEST} levels {_where(event)}")
            open_nodes.append((event.anchor, 1))
            total += 1
            continue
        if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise _Refused(f"the alias *{event.anchor} {_where(event)} stands for nothing before it")
            anchor, size = None, sizes[event.anchor]
            total += size
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, 1
            total += size
        else:
            continue
        if total > MOST_NODES:
            raise _Refused(f"it holds more than {MOST_NODES} values, with its aliases written out")
        if anchor is not None:
            sizes[anchor] = size
        if open_nodes:
            open_nodes[-1] = (open_nodes[-1][0], open_nodes[-1][1] + size)


def _where(node: yaml.Node | yaml.Event) -> str:
    return "" if node.start_mark is None else f"in line {node.start_mark.line + 1}"


def _holds_broken_text(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_broken_text(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(_holds_broken_text(part) for part in value)
    return isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)

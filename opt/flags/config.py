"""Config files: options from YAML, and options as YAML that gives the same run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from opt.console.errors import UsageError
from opt.files.yaml_file import read_yaml

GROUPS = ("problem", "algo", "cluster")
"""Options of these groups are written with a dot, as in `--problem.data`."""


def config_tokens(path: Path) -> list[str]:
    """The options of a config file, as `--name=value`.

    Raises:
        UsageError: It cannot be read, or holds no names.
    """
    loaded = read_yaml(path, "config file")
    if loaded is None:
        return []
    if not isinstance(loaded, dict):
        raise UsageError(f"config file {path} must hold names and values, got {type(loaded).__name__}")
    return [f"--{name}={as_text(name, value)}" for name, value in flatten(loaded)]


def flatten(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The entries of a config file by the options' names: `problem: {data: digits}` is `problem.data`.

    `algo` and `cluster` may hold their own name, under `name`, beside their parameters. A mapping deeper than
    that is the value of its parameter.
    """
    pairs: list[tuple[str, Any]] = []
    for key, value in node.items():
        name = f"{prefix}{key}" if prefix or "." in str(key) else str(key).replace("_", "-")
        if not isinstance(value, Mapping) or name not in GROUPS:
            pairs.append((name, value))
        elif name in ("algo", "cluster") and "name" in value:
            own = {k: v for k, v in value.items() if k != "name"}
            pairs = [(name, value["name"]), *pairs, *flatten(own, f"{name}.")]
        else:
            pairs += flatten(value, f"{name}.")
    return pairs


def as_text(name: str, value: Any) -> str:
    """A value as the command line takes it for the option `name`."""
    if name in ("weights", "ref") and isinstance(value, list):
        return ",".join(str(v) for v in value)
    if isinstance(value, str):
        return value
    text = json.dumps(plain(value))
    for number in (".nan", ".inf", "-.inf"):  # JSON has no such numbers, and YAML, in which options are read, has
        text = text.replace(f'"{number}"', number)
    return text


def plain(value: Any) -> Any:
    """A parameter's value as JSON and YAML can hold it, in a form that the parser reads again."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if isinstance(value, Enum):
        return value.name
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def numbers(text: str | None, flag: str) -> tuple[float, ...] | None:
    """`0,2,1` as a tuple of floats; None stays None.

    Raises:
        UsageError: It is something else.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{flag} needs numbers separated by commas, such as 0,2,1, got {text!r}") from None

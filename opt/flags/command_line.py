"""A command line taken apart before its options are known: problem file, algorithm, config file, flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.flags.config import config_tokens
from opt.flags.search_options import OPTIONS, SWITCHES
from opt.problem.installed import config_file

USAGE = f"{spelled('solve')} PROBLEM.py [--algo NAME,...] [--seed N] [--n-gen N | --n-eval N | --time T] [options]"
_HELP = ("--help", "-h")
_PRINT_CONFIG = ("--print-config", "--print_config")
_SWITCHES = tuple(f"--{name}" for name in SWITCHES)
FLAGS = ("--list", *_HELP, *_PRINT_CONFIG, "--print-job", *_SWITCHES, "--force", "--trust")
FILES = ("--config", "--resume", "--study")


@dataclass(frozen=True)
class CommandLine:
    """What must be known of a command line before its options can be built."""

    problem: str | None
    algo: str
    resume: str | None
    study: str | None
    is_list: bool
    is_help: bool
    is_print_config: bool
    is_print_job: bool
    is_forced: bool
    is_trust: bool
    tokens: tuple[str, ...]


@dataclass
class _Parts:
    positional: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)


def scan(argv: Sequence[str]) -> CommandLine:
    """Find the problem file and the algorithm; put the config file's entries before the command line's.

    Raises:
        UsageError: Two problem files, an option without its value, or an unreadable config file.
    """
    parts = _parts(argv)
    if len(parts.positional) > 1:
        raise UsageError(f"expected one problem file, got {len(parts.positional)}: {' '.join(parts.positional)}")
    config = config_tokens(config_file(parts.files["--config"])) if "--config" in parts.files else []
    tokens = (*config, *parts.tokens)
    named = [t.removeprefix("--algo=") for t in tokens if t.startswith("--algo=")]
    return CommandLine(
        problem=parts.positional[0] if parts.positional else None,
        algo=named[-1] if named else OPTIONS["algo"].default,
        resume=parts.files.get("--resume"),
        study=parts.files.get("--study"),
        is_list="--list" in parts.flags,
        is_help=bool(parts.flags.intersection(_HELP)),
        is_print_config=bool(parts.flags.intersection(_PRINT_CONFIG)),
        is_print_job="--print-job" in parts.flags,
        is_forced="--force" in parts.flags,
        is_trust="--trust" in parts.flags,
        tokens=tokens,
    )


def _parts(argv: Sequence[str]) -> _Parts:
    """The words of a command line by kind; options as `--name=value`."""
    parts = _Parts()
    words = iter(range(len(argv)))
    for i in words:
        name, has_value, value = argv[i].partition("=")
        if not name.startswith("-"):
            parts.positional.append(argv[i])
        elif name in FLAGS:
            if has_value and name not in _SWITCHES:
                raise UsageError(f"{name} takes no value, got {argv[i]}")
            parts.flags.add(name)
            parts.tokens += [argv[i]] if name in _SWITCHES else []
        else:
            if not has_value:
                if i + 1 == len(argv) or argv[i + 1].startswith("--"):
                    raise UsageError(f"option {name} needs a value; {spelled('solve')} --help lists the options")
                value = argv[next(words)]
            if name in FILES:
                parts.files[name] = value
            else:
                parts.tokens.append(f"{name}={value}")
    return parts


def check_one_problem(line: CommandLine) -> None:
    """Refuse a problem beside a study file, which names its own.

    Raises:
        UsageError: Both are given.
    """
    if line.problem is not None and line.study is not None:
        raise UsageError(f"a study file names its problems; leave out {line.problem}")

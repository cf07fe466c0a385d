"""What may be drawn for an option of a command, by its type or its name: ordinary values, and odd ones."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

ARABIC_THREE, SQUARE = "\u0663", "\u00b2"
SLOW = ("mobilenetv2", "resnet20", "vgg")
"""Networks that take longer than a line may, and rightly."""
# Counts and seeds are either small or beyond every limit: what lies between is allowed and may take its time.
INTEGERS = (
    "0", "1", "2", "3", "5", "-1", "-3", "1000000000", "2147483648", "-9223372036854775809", "9223372036854775807",
    "18446744073709551616", "1" + "0" * 30, "-1" + "0" * 30, "9" * 5000, "1e3", "1.0", "2.5", "nan", "inf", "1e400",
    ARABIC_THREE, SQUARE, "0x10", "1_0", "010", "+3", " 3", "3 4", "", "null", "true", "[1]", "{a: 1}", "[[1, 2]]",
    "!!int 3", "&a 1", "*a", "same-as-run", "$3", "1:30", "2001-01-01",
)  # fmt: skip
FLOATS = (
    "0", "0.5", "1", "-0.5", "-0.0", "nan", ".nan", "NaN", "inf", ".inf", "-inf", "-.inf", "1e308", "-1e308", "1e400",
    "5e-324", "1e-300", "1" + "0" * 400, "0.1.2", "1e", ARABIC_THREE, "", " ", "null", "half", "true", "[0.5]",
    "{a: 0.5}", "1,5", "1e-9", "2.0", "100",
)  # fmt: skip
BOOLEANS = ("true", "false", "True", "yes", "1", "0", "", "null", "maybe", "[true]", "truefalse")
TEXTS = (
    "", " ", "-", "--", "a" * 300, "a" * 5000, "$\\frac{", "$\\frac{$", "a$b$c", "../../x", "/dev/null/x",
    "\x1b[31mred",
    "ünïcode", "\u65e5\u672c", "'", '"', "[", "]", "{", "[]", "{}", "[a, b]", "a,b", ",", ",,", "*", "?", "[a-",
    "layer_*", ":",
    "os:getcwd", "sys:exit", "x.py:y", ".:x", "..x:y", "a b:c", "null", "~", "@", "%s", "%(prog)s", "\\", "\n", "a\tb",
    "\udcff", "~nobody-here/x", "[" * 5000, "all", "none", "=", "a=b", "!!python/object:os.system", "# x", "&a",
    "*a", "1", "1.5", "nan", "true", "-1",
    "0,0", "-add", "add,-sub", "0,nan", "0,inf", "1e400", "sram-0k", "sram-" + "9" * 30 + "m", "9" * 400,
)  # fmt: skip
LISTS = ("[]", "[1, 2]", "[[1], [2]]", "{a: b}", "[nan]", "[", "a", "", "null", "[null]", "1", "[a, 1, {b: c}]")
TIMES = (
    "1e400", "99999999999999999d", "9" * 400 + "d", "0s", "-1s", "1s", "1m1s", "", "nan", "inf", "1h1", "1e3",
    ARABIC_THREE + "s", "5 s",
    "s", "0.0000000001s",
)  # fmt: skip
AMOUNTS = (
    "0",
    "1",
    "2GB",
    "9" * 400 + "GB",
    "1e3GB",
    "-1GB",
    "",
    "nan",
    "99999999999TB",
    "1.5",
    "GB",
    ARABIC_THREE + "GB",
)
WEIGHTS = (
    "1,1",
    "1",
    "1,1,1",
    "nan,1",
    "inf,1",
    "1e308,1e308",
    "-1,1",
    "0,0",
    "",
    ",",
    "1,,2",
    "1;2",
    "[1, 2]",
    ARABIC_THREE + ",1",
)
ALGOS = (
    ",", "", "nsga2,", "nsga2,nsga2", "nsgaii", "deap-mu,lambda", "nsga2, random", "NSGA2", "deap-mu,", "random,ga",
    "*",
)  # fmt: skip
OUTS = (
    "",
    "/dev/null",
    "/dev/null/x",
    "/proc/nowhere/x",
    "a" * 300,
    "x/" * 2500,
    "$\\frac{$",
    "~",
    "ünï",
    "\udcff",
    "out",
)
FIELDS = (
    "algo",
    "seed",
    "problem.name",
    "problem.parameters.n_var",
    "",
    ".",
    "a.b.c",
    "algo.",
    "request.budget",
    "$",
    "[",
)
SCHEDULERS = ("", "x", "tcp://", "tcp://[", "http://x", "tcp://127.0.0.1:99999")
SPECIAL: dict[str, Sequence[str]] = {
    "--time": TIMES, "--eval-time": TIMES, "--task-time": TIMES, "--task-memory": AMOUNTS, "--weights": WEIGHTS,
    "--ref": WEIGHTS, "--algo": ALGOS, "--out": OUTS, "--scheduler": SCHEDULERS, "--by": FIELDS, "--split": FIELDS,
    "--jobs": ("1", "0", "-1", "1" + "0" * 30, "x"),
    "--runs": ("1", "2", "0", "-1", "1000000000", "1" + "0" * 30, "", "x"),
    "--cluster": ("sge", "", "slurm,pbs", "SLURM", "[slurm]"),
    "--config": ("", ".", "/dev/null", "nowhere.yaml", "a" * 300, "\udcff"),
    "--study": ("", ".", "/dev/null", "nowhere.yaml", "a" * 300),
    "--resume": ("", ".", "/dev/null", "nowhere", "a" * 300, "x/" * 2500, "\udcff", "$\\frac{$"),
    "--epochs": ("0", "-1", "1", "1" + "0" * 30, "1000000000", "x", "1.5", ""),
    "--repetitions": ("0", "-1", "1", "1" + "0" * 30, "1000000000", "x"),
    "--n-ratios": ("0", "-1", "1", "1" + "0" * 30, "1000000000", "x"),
    "--ratios": ("0.5", "nan", "0", "1.5", "", ",", "0.5,0.5", "1e-300", "x"),
    "--start-epoch": ("0", "nan", "inf", "-1", "1e30", "5"),
}  # fmt: skip


def values_of(kind: Any) -> tuple[str, ...]:
    """What may be drawn for a type."""
    if get_origin(kind) is Literal:
        choices = tuple(str(choice) for choice in get_args(kind) if choice not in SLOW)
        return (*choices, *choices, choices[0][:-1], choices[0].upper(), "", "null", "[" + choices[0] + "]")
    if get_origin(kind) in (Union, UnionType):
        return tuple(value for part in get_args(kind) for value in values_of(part))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return (*kind.__members__, "", "null", str(next(iter(kind))), next(iter(kind.__members__)).lower())
    if isinstance(kind, type) and issubclass(kind, bool):
        return BOOLEANS
    if isinstance(kind, type) and issubclass(kind, int):
        return INTEGERS
    if isinstance(kind, type) and issubclass(kind, float):
        return FLOATS
    if kind is type(None):
        return ("null",)
    if (get_origin(kind) or kind) in (list, tuple, set, dict) or kind is Any:
        return (*LISTS, *TEXTS)
    return TEXTS

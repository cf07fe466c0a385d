"""The cffi binding of the C library, out of line and in API mode: `pip install` builds `native/_cgp.abi3.so`."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
# no contraction to fused operations: results are the same on every processor
FLAGS = ["-std=c11", "-O3", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


def files(pattern: str) -> list[str]:
    """Files below this folder, named from the project's root as setuptools wants them."""
    return [f"native/{path.relative_to(HERE).as_posix()}" for path in sorted(HERE.glob(pattern))]


def declarations() -> str:
    """What the header declares between its two marks, which is all that the binding reads."""
    text = (HERE / "include" / "cgp.h").read_text()
    return text[text.index("/* [binding */") : text.index("/* binding] */")]


ffibuilder = FFI()
ffibuilder.cdef(declarations())
ffibuilder.set_source(
    "native._cgp",
    '#include "cgp.h"',
    sources=files("src/*/*.c"),
    depends=files("include/*.h") + files("src/*/*.h"),
    include_dirs=["native/include", "native/src"],
    define_macros=[("CGP_IN_ONE_MODULE", None)],
    extra_compile_args=FLAGS,
)

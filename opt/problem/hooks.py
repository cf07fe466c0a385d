"""Calling a user's code: what it raises, or returns wrongly, becomes one line that names the hook and the reason.

Two kinds of hooks: a search cannot go on without `fingerprint`, `begin_generation` or an operator, so that their
failure ends it, with everything evaluated so far kept (`HookError`). `test`, `describe`, `tensors` and `references`
only add to a finished front: their failure costs their own columns or files, and is told (`Complaints`).
"""

from __future__ import annotations

import contextlib
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from opt.console.errors import UsageError
from opt.console.wording import excerpt
from opt.problem import CompressionProblem, Reference
from opt.problem.user_code import guarded
from opt.problem.user_code import reason_of as plain_reason_of
from opt.processes.stop_signals import is_interruption

_OWN = Path(__file__).resolve().parents[1]
_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))


T = TypeVar("T")


class HookError(UsageError):
    """Code that the user gave has failed: says which, why and where."""


class Complaints:
    """What failed beside a search without ending it, each reason once.

    Attributes:
        texts: One line each.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        """Note a line, unless it is noted already."""
        if text not in self.texts:
            self.texts.append(text)


def reason_of(error: BaseException) -> str:
    """The error's type, message and the place in the user's code that raised it, in one line."""
    text = " ".join(plain_reason_of(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith((str(_OWN), "<", *_LIBRARIES))]
    return f"{text} ({Path(own[-1].filename).name} line {own[-1].lineno})" if own else text


@contextlib.contextmanager
def user_code(what: str) -> Iterator[None]:
    """Turn what the code inside raises into a HookError, and what would end this process as well.

    A signal's KeyboardInterrupt passes: it is how a second Ctrl-C gives a batch up.

    Args:
        what: How messages call it, such as `Mine.fingerprint`.
    """
    try:
        with guarded():
            yield
    except HookError:
        raise
    except UsageError as error:
        raise HookError(f"{what}: {error}") from error
    except Exception as error:
        raise HookError(f"{what} failed: {reason_of(error)}") from error


def hook_name(problem: CompressionProblem, hook: str) -> str:
    """A hook as messages call it: the class that the user wrote, and the method."""
    return f"{type(problem.plain or problem).__name__}.{hook}"


def call(problem: CompressionProblem, hook: str, *arguments: Any) -> Any:
    """What a hook returns.

    Raises:
        HookError: It failed.
    """
    with user_code(hook_name(problem, hook)):
        return getattr(problem, hook)(*arguments)


def problem_name(problem: CompressionProblem) -> str:
    """What the problem calls itself, by a method or an attribute; its class's name where that fails."""
    own = problem.plain or problem
    try:
        with guarded():
            said = own.name() if callable(own.name) else own.name
    except Exception:  # a name is no reason to lose a run
        return type(own).__name__
    return said if isinstance(said, str) else type(own).__name__


def scalarise_of(problem: CompressionProblem) -> Callable[[np.ndarray], np.ndarray] | None:
    """The problem's own `scalarise`, which raises HookError where it fails; None where it has none."""
    if type(problem).scalarise is CompressionProblem.scalarise:
        return None
    name = hook_name(problem, "scalarise")

    def scalarise(F: np.ndarray) -> np.ndarray:
        with user_code(name):
            return _column(problem.scalarise(F), len(F))

    return scalarise


def distance_of(problem: CompressionProblem) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The problem's `distance`, which raises HookError where it fails."""
    name = hook_name(problem, "distance")

    def distance(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        with user_code(name):
            return _column(problem.distance(X, Y), len(X))

    return distance


def _column(values: Any, n: int) -> np.ndarray:
    """(n,) float64 from what a hook returned."""
    if not isinstance(values, (np.ndarray, list, tuple)):
        raise TypeError(f"must return an array of shape ({n},), got {type(values).__name__}")
    array = np.asarray(values, dtype=np.float64)
    if array.size != n:
        raise ValueError(f"must return shape ({n},), got {array.shape}")
    return array.reshape(n)


def fingerprint_of(problem: CompressionProblem) -> Callable[[np.ndarray], bytes]:
    """The problem's `fingerprint`, which raises HookError where it fails or gives anything but bytes."""
    name, own = hook_name(problem, "fingerprint"), problem.fingerprint

    def fingerprint(x: np.ndarray) -> bytes:
        # called for every candidate: without the context managers, which cost more than most fingerprints
        try:
            key = own(x)
        except BaseException as error:
            if is_interruption(error):
                raise
            with user_code(name):
                raise
        if not isinstance(key, bytes):
            if isinstance(key, (bytearray, memoryview)):
                return bytes(key)
            raise HookError(f"{name} must return bytes, got {type(key).__name__}; encode it, as by repr(x).encode()")
        return key

    return fingerprint


def verified(problem: CompressionProblem, rng: np.random.Generator) -> list[str]:
    """What the problem's proof of its evaluation says, a line each.

    Raises:
        UsageError: It cannot be evaluated truly.
        HookError: The proof failed.
    """
    name = hook_name(problem, "verify")
    try:
        with user_code(name):
            return [" ".join(str(line).split()) for line in problem.verify(rng)]
    except HookError as error:
        if isinstance(error.__cause__, UsageError):
            raise UsageError(str(error.__cause__)) from None
        raise


# -- what only adds to a finished front -------------------------------------------------------------


def tests_of(problem: CompressionProblem, X: np.ndarray, complaints: Complaints) -> list[dict[str, float]]:
    """Held-out metrics of each row of X, (n, n_var); a candidate whose test fails has none."""
    name = hook_name(problem, "test")
    try:
        with user_code(name):
            rows = problem.test_batch(X)
            if not isinstance(rows, Sequence) or len(rows) != len(X):
                raise TypeError(f"test_batch must return a list of {len(X)} mappings")
            return [_numbers(row) for row in rows]
    except HookError as error:
        if len(X) == 1:
            complaints.add(f"{error}; its test_ columns are left out")
            return [{}]
    return [row for i in range(len(X)) for row in tests_of(problem, X[i : i + 1], complaints)]


def _numbers(row: Any) -> dict[str, float]:
    if not isinstance(row, Mapping):
        raise TypeError(f"must return a mapping of names to numbers, got {type(row).__name__}")
    try:
        return {str(name): float(value) for name, value in row.items()}
    except (TypeError, ValueError):
        raise TypeError(f"must return a mapping of names to numbers, got {excerpt(row)}") from None


def _added(
    problem: CompressionProblem, hook: str, complaints: Complaints, loss: str, ask: Callable[[], T], none: T
) -> T:
    """What `ask` gets from a hook that only adds to a finished front; `none`, and a complaint, where it fails.

    Args:
        problem: Whose hook it is.
        hook: Its name.
        complaints: Where a failure is noted.
        loss: What is lost by it, in words.
        ask: Calls the hook and checks what it returns.
        none: What there is without it.
    """
    try:
        with user_code(hook_name(problem, hook)):
            return ask()
    except HookError as error:
        complaints.add(f"{error}; {loss}")
        return none


def description_of(problem: CompressionProblem, x: np.ndarray, complaints: Complaints) -> dict[str, Any]:
    """Readable parameters of x, (n_var,); none where `describe` fails."""

    def ask() -> dict[str, Any]:
        row = problem.describe(x)
        if not isinstance(row, Mapping):
            raise TypeError(f"must return a mapping of names to values, got {type(row).__name__}")
        return {str(key): value for key, value in row.items()}

    return _added(problem, "describe", complaints, "its columns are left out", ask, {})


def tensors_of(problem: CompressionProblem, x: np.ndarray, complaints: Complaints) -> dict[str, np.ndarray]:
    """Arrays of the decoded x, (n_var,); none where `tensors` fails."""

    def ask() -> dict[str, np.ndarray]:
        tensors = problem.tensors(x)
        if not isinstance(tensors, Mapping):
            raise TypeError(f"must return a mapping of names to arrays, got {type(tensors).__name__}")
        arrays = {str(key): np.ascontiguousarray(value) for key, value in tensors.items()}
        odd = [key for key, value in arrays.items() if value.dtype.kind not in "biuf"]
        if odd:
            raise TypeError(f"must return arrays of numbers, and {odd[0]!r} holds {arrays[odd[0]].dtype}")
        return arrays

    return _added(problem, "tensors", complaints, "its solutions are not saved as safetensors", ask, {})


def metadata_of(problem: CompressionProblem, x: np.ndarray, complaints: Complaints) -> dict[str, str]:
    """Text by name for the file of x, (n_var,); none where `metadata` fails."""

    def ask() -> dict[str, str]:
        text = problem.metadata(x)
        if not isinstance(text, Mapping) or not all(isinstance(part, str) for pair in text.items() for part in pair):
            raise TypeError(f"must return a mapping of names to text, got {excerpt(text)}")
        return dict(text)

    return _added(problem, "metadata", complaints, "it is left out of the solutions' files", ask, {})


def references_of(problem: CompressionProblem, complaints: Complaints) -> list[Reference]:
    """The known solutions; none where `references` fails, and without those that do not fit the problem."""

    def ask() -> list[Reference]:
        return list(problem.references())

    no_references: list[Reference] = []
    references = _added(problem, "references", complaints, "no references are saved", ask, no_references)
    fitting = []
    for reference in references:
        if misfit := _misfit(problem, reference):
            complaints.add(f"{hook_name(problem, 'references')}: {misfit}; it is left out")
        else:
            fitting.append(reference)
    return fitting


def _misfit(problem: CompressionProblem, reference: Any) -> str:
    """Why a reference cannot stand beside the problem's front; "" where it can."""
    if not isinstance(reference, Reference):
        return f"must return Reference objects, got {type(reference).__name__}"
    values, n_columns = (reference.F, problem.n_obj) if reference.X is None else (reference.X, problem.n_var)
    letter = "F" if reference.X is None else "X"
    try:
        shape = np.atleast_2d(np.asarray(values, dtype=float if letter == "F" else None)).shape
    except (TypeError, ValueError):
        return f"{letter} of {reference.name!r} must hold numbers, got {excerpt(values)}"
    if len(shape) != 2 or shape[1] != n_columns:
        return f"{letter} of {reference.name!r} must have shape (n, {n_columns}), got {shape}"
    for rows in (reference.test, reference.parameters):
        if rows is not None and (len(rows) != shape[0] or not all(isinstance(row, Mapping) for row in rows)):
            return f"test and parameters of {reference.name!r} must be {shape[0]} mappings, one a solution"
    return ""


def exact_front_of(problem: CompressionProblem, complaints: Complaints) -> np.ndarray | None:
    """The known Pareto front, (m, n_obj) minimised; None where there is none or it fails."""

    def ask() -> np.ndarray | None:
        front = problem.pareto_front()
        if front is None:
            return None
        F = np.atleast_2d(np.asarray(front, dtype=np.float64))
        if F.ndim != 2 or F.shape[1] != problem.n_obj:
            raise ValueError(f"must have shape (m, {problem.n_obj}), got {F.shape}")
        return F

    return _added(problem, "pareto_front", complaints, "no exact front is saved", ask, None)

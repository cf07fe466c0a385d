"""A plain pymoo Problem as a CompressionProblem: names, representation and fingerprints filled in."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pymoo.core.problem import Problem

from opt.console.errors import UsageError
from opt.problem import REPRESENTATIONS, CompressionProblem, Objective, Operators
from opt.problem.bounds import checked_bounds
from opt.problem.mixed_variables import is_same, mixed_fingerprint, mixed_operators, n_mixed, readable
from opt.problem.plain_spaces import all_plain, n_plain
from opt.problem.provenance import note_arguments


class PlainProblem(CompressionProblem):
    """pymoo's `problem` behind our interface.

    Objectives are called f1, f2, ...; variables x1, x2, ... or by their own names; the
    representation follows `vtype`, the type of the bounds, or `vars`. Equality constraints are refused.

    Args:
        problem: Any pymoo Problem, vectorised or element-wise.
    """

    objectives: Sequence[Objective] = (Objective("f1"),)
    _says_itself = False

    def __init__(self, problem: Problem) -> None:
        name = type(problem).__name__
        if problem.n_eq_constr:
            raise UsageError(
                f"problem {name!r} has {problem.n_eq_constr} equality constraints, which are not supported; "
                "write each h(x) = 0 as two inequalities"
            )
        self.inner = self.plain = problem
        note_arguments(problem)
        self.objectives = tuple(Objective(f"f{i + 1}") for i in range(problem.n_obj))
        variables = getattr(problem, "vars", None)
        representation = "mixed" if variables else _representation(problem)
        if representation in ("real", "integer") and not problem.has_bounds():
            raise UsageError(f"problem {name!r} needs bounds xl and xu for its {representation} variables")
        super().__init__(
            n_var=1 if variables else problem.n_var,
            representation=representation,  # type: ignore[arg-type]
            xl=None if variables else problem.xl,
            xu=None if variables else problem.xu,
            n_ieq_constr=problem.n_ieq_constr,
        )
        self.vars = variables
        if hasattr(type(problem), "n_distinct") or "n_distinct" in vars(problem):
            # an attribute, a property or a method: asked when a search begins, as ours are
            self._says_itself = True
        elif variables:
            self.n_distinct = n_mixed(variables)
        else:
            self.n_distinct = n_plain(representation, self.n_var, self.xl, self.xu)

    def name(self) -> str:
        """The plain problem's own name."""
        return self.inner.name()

    def operators(self) -> Operators | None:
        """None, so that the defaults for the representation are taken; mixed variables bring theirs."""
        return mixed_operators(self.vars) if self.vars else None

    def evaluate(self, X: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        """F, or (F, G), of the plain problem."""
        if not len(X):
            return np.empty((0, self.n_obj))
        rows = X
        if self.vars:
            # the user's code may write into what it gets: each candidate is a copy, as of arrays
            rows = np.empty(len(X), dtype=object)
            for i, x in enumerate(X[:, 0]):
                rows[i] = copy.deepcopy(x)
        wanted = ["F", "G"] if self.n_ieq_constr else ["F"]
        out = self.inner.evaluate(rows, return_values_of=wanted, return_as_dictionary=True)
        F = np.asarray(out["F"], dtype=float).reshape(len(X), self.n_obj)
        return (F, np.asarray(out["G"], dtype=float)) if self.n_ieq_constr else F

    def describe(self, x: np.ndarray) -> dict[str, Any]:
        """Variables by name."""
        if self.vars:
            return {name: readable(self.vars[name], value) for name, value in x[0].items()}
        return {f"x{i + 1}": v.item() for i, v in enumerate(np.asarray(x))}

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The decision vector; nothing for mixed variables, which `front.csv` holds by name."""
        return {} if self.vars else {"x": np.ascontiguousarray(x)}

    def fingerprint(self, x: np.ndarray) -> bytes:
        """Bytes of the vector, or of the named values."""
        return mixed_fingerprint(self.vars, x[0]) if self.vars else np.ascontiguousarray(x).tobytes()

    def all_candidates(self) -> Iterable[np.ndarray] | None:
        """Every vector; None for mixed variables."""
        if self.vars or n_plain(self.representation, self.n_var, self.xl, self.xu) is None:
            return None
        return all_plain(self.representation, self.n_var, self.xl, self.xu)

    def distance(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        """As every problem's; of mixed variables the number that differ."""
        if not self.vars:
            return super().distance(X, Y)
        pairs = zip(X[:, 0], Y[:, 0], strict=True)
        return np.array([sum(not is_same(x[k], y[k]) for k in x) for x, y in pairs], dtype=float)

    def _calc_pareto_front(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.inner.pareto_front(*args, **kwargs)
        except Exception:  # pymoo's own raise or download when they cannot say: then it is not known
            return None


def _representation(problem: Problem) -> str:
    if problem.vtype in (bool, np.bool_):
        return "binary"
    if problem.vtype is not None and np.issubdtype(np.dtype(problem.vtype), np.integer):
        return "integer"
    return "real"


def _check_attributes(problem: CompressionProblem) -> None:
    """Refuse what a constructor put in place of what `super().__init__` had set.

    Raises:
        UsageError: Objectives, bounds, their numbers or the algorithms are of another kind.
    """
    name, objectives = type(problem).__name__, problem.objectives
    if not isinstance(objectives, Sequence) or not all(isinstance(o, Objective) for o in objectives):
        raise UsageError(f"{name}.objectives must be a sequence of Objective, got {objectives!r:.60}")
    for attribute, wanted in (("n_obj", len(objectives)), ("n_var", None), ("n_ieq_constr", None)):
        value = getattr(problem, attribute)
        if not isinstance(value, (int, np.integer)) or value < 0 or (wanted is not None and value != wanted):
            raise UsageError(f"{name}.{attribute} must be {wanted or 'a whole number'}, got {value!r:.60}")
    if problem.representation not in REPRESENTATIONS:
        known = ", ".join(REPRESENTATIONS)
        raise UsageError(f"{name}.representation must be one of {known}, got {problem.representation!r:.60}")
    try:
        checked_bounds(problem.representation, problem.xl, problem.xu, problem.n_var, name=name)
        own = list(problem.own_algorithms)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: bounds and own_algorithms must be as super().__init__ left them: {error}") from None
    if any(not hasattr(spec, "misfit") for spec in own):
        raise UsageError(f"{name}.own_algorithms must hold AlgorithmSpec objects, got {own!r:.60}")


def as_compression_problem(problem: Problem) -> CompressionProblem:
    """`problem` itself when it is one of ours, else wrapped.

    Raises:
        UsageError: It is not a pymoo Problem at all, or one that cannot be searched as it is.
    """
    if not isinstance(problem, Problem):
        raise UsageError(f"expected an instance of a pymoo Problem, got {type(problem).__name__}")
    name = type(problem).__name__
    is_ours = isinstance(problem, CompressionProblem)
    if ("representation" if is_ours else "n_var") not in vars(problem):
        raise UsageError(f"{name}.__init__ must call super().__init__(n_var=..., ...) before anything searches it")
    if isinstance(problem, CompressionProblem):
        _check_attributes(problem)
        return problem
    try:
        return PlainProblem(problem)
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from None

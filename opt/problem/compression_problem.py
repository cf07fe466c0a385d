"""CompressionProblem: a pymoo Problem with named objectives, its own operators, decode and test."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

import numpy as np
from pymoo.core.problem import Problem

from opt.console.option_groups import check_flat, flattened, groups_of, with_options_of
from opt.console.parameters import checked
from opt.problem.bounds import checked_bounds
from opt.problem.plain_spaces import all_plain, n_plain

Sense = Literal["minimise", "maximise"]
minimise: Sense = "minimise"
maximise: Sense = "maximise"

Representation = Literal["real", "integer", "binary", "permutation", "mixed", "object"]
REPRESENTATIONS: tuple[str, ...] = ("real", "integer", "binary", "permutation", "mixed", "object")


@dataclass(frozen=True)
class Objective:
    """One named objective.

    Args:
        name: Column name in `front.csv` and axis label in plots.
        sense: `minimise` or `maximise`; what is shown is in this sense, F is always minimised.
        unit: Unit in words, such as "fraction" or "nats"; "" for none.
        weight: Weight in the weighted sum that single-objective algorithms optimise.
        worst: Value, in the objective's own sense, beyond which a solution is worth nothing: the
            hypervolume's reference coordinate. None takes it from the first generation.
    """

    name: str
    sense: Sense = minimise
    unit: str = ""
    weight: float = 1.0
    worst: float | None = None

    def __post_init__(self) -> None:
        for field_name in ("name", "unit"):
            text = getattr(self, field_name)
            if not isinstance(text, str) or any("\ud800" <= c <= "\udfff" for c in text):
                raise ValueError(f"Objective: {field_name} must be text, got {text!r}.")
        if self.sense not in ("minimise", "maximise"):
            raise ValueError(f"Objective {self.name!r}: sense must be minimise or maximise, got {self.sense!r}.")
        for field_name, value in (("weight", self.weight), ("worst", self.worst)):
            if field_name == "worst" and value is None:
                continue
            is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not is_number or not np.isfinite(float(value)):  # type: ignore[arg-type]
                raise ValueError(f"Objective {self.name!r}: {field_name} must be a finite number, got {value!r}.")

    @property
    def sign(self) -> float:
        """+1 when minimised, -1 when maximised: F = sign * value."""
        return -1.0 if self.sense == "maximise" else 1.0

    @property
    def label(self) -> str:
        """Axis label: the name with its unit."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


SamplingFunction = Callable[[int, np.random.Generator], np.ndarray]
CrossoverFunction = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
MutationFunction = Callable[[np.ndarray, np.random.Generator], np.ndarray]
RepairFunction = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Move:
    """A way from every candidate to a neighbour; what annealing proposes.

    Args:
        apply: `(X, rng) -> X'`, X of shape (n, n_var) and not changed; or `(X, step, rng) -> X'` with
            `has_step`, where step, (n,) float64 in (0, 1], is the share of the move's largest size, one a row.
        has_step: Whether the move has a size that a search may set.
    """

    apply: Callable[..., np.ndarray]
    has_step: bool = False


@dataclass(frozen=True)
class Operators:
    """How one representation is sampled and varied: arrays and an rng in, new arrays out.

    Args:
        sampling: `(n, rng) -> X` with X of shape (n, n_var).
        crossover: `(A, B, rng) -> (C, D)`: n pairs of parents, (n, n_var) each, give two children a pair.
        mutation: `(X, rng) -> X'`: every row mutated; annealing's move where there are no `moves`.
        repair: `X -> X'` that brings every row into the feasible set, or None.
        moves: Annealing's moves by name, to be mixed; without any, the one move is the mutation.

    Inputs are never changed in place.
    """

    sampling: SamplingFunction
    crossover: CrossoverFunction | None = None
    mutation: MutationFunction | None = None
    repair: RepairFunction | None = None
    moves: Mapping[str, Move] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """Known solutions to stand beside a front: a baseline's curve or a single point.

    Give `X` when the solutions are candidates of the problem (they are then evaluated, tested and
    described like any other), or `F` with optional `test` and `parameters` when they are not.

    Args:
        name: Legend entry, such as "L1 pruning" or "parent".
        X: (n, n_var) candidates, or None.
        F: (n, n_obj) objectives, minimised, or None.
        test: One mapping of held-out metrics per solution, without the `test_` prefix.
        parameters: One mapping of readable parameters per solution.
    """

    name: str
    X: np.ndarray | None = None
    F: np.ndarray | None = None
    test: Sequence[Mapping[str, float]] | None = None
    parameters: Sequence[Mapping[str, Any]] | None = field(default=None)

    def __post_init__(self) -> None:
        if (self.X is None) == (self.F is None):
            raise ValueError(f"Reference {self.name!r} needs exactly one of X and F.")


class OwnAlgorithm(Protocol):
    """What a problem knows of an algorithm that only it has; an `AlgorithmSpec` is one."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    def misfit(self, problem: CompressionProblem) -> str | None:
        """Why it cannot search a problem, or None when it can."""


class CompressionProblem(Problem):
    """A search task: what a candidate is, how good it is, and what it becomes.

    A subclass names its `objectives`, calls `super().__init__(...)`, and overrides `evaluate`,
    `operators` where the representation is not a plain vector, and as much of the rest as it has.
    Everything about objectives is minimised in F: a maximised objective is returned negated.

    Args:
        n_var: Number of variables; 1 for an object genome (X is then (n, 1), dtype object).
        representation: "real", "integer", "binary", "permutation" or "object".
        xl: Lower bounds, scalar or (n_var,), for real and integer variables; fractional ones of integers are
            drawn in to the next whole number.
        xu: Upper bounds, likewise; not below `xl`. Some algorithms and the default operators need finite ones.
        n_ieq_constr: Number of inequality constraints; `evaluate` then returns `(F, G)`, G <= 0 feasible.
    """

    objectives: Sequence[Objective] = ()

    own_algorithms: Sequence[OwnAlgorithm] = ()
    """Algorithms that only this task has: found by `--algo NAME` and shown by `FILE.py --list`."""

    plain: Problem | None = None
    """The pymoo problem that this one stands for; None for a task of its own."""
    _n_distinct: int | None = None
    _given: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note what the problem is built with: a run that goes on compares it."""
        problem = super().__new__(cls)
        problem._given = (args, flattened(cls.__init__, kwargs))
        return problem

    def __init__(
        self,
        *,
        n_var: int,
        representation: Representation = "real",
        xl: float | np.ndarray | None = None,
        xu: float | np.ndarray | None = None,
        n_ieq_constr: int = 0,
    ) -> None:
        name = type(self).__name__
        if not isinstance(self.objectives, Sequence) or not all(isinstance(o, Objective) for o in self.objectives):
            raise ValueError(f"{name}.objectives must be a sequence of Objective, got {self.objectives!r}.")
        if not self.objectives:
            raise ValueError(f"{name}.objectives must name at least one Objective.")
        if isinstance(n_var, bool) or not isinstance(n_var, (int, np.integer)) or n_var < 1:
            raise ValueError(f"{name}: n_var must be a whole number of at least 1, got {n_var!r}.")
        names = [o.name for o in self.objectives]
        if len(set(names)) < len(names) or any(n == "id" or not n or set(n) & set(',"\n\r') for n in names):
            raise ValueError(
                f"{name}.objectives need different names, without commas, quotes or line breaks, "
                f"and none of them 'id', got {names}."
            )
        if representation not in REPRESENTATIONS:
            raise ValueError(f"representation must be one of {REPRESENTATIONS}, got {representation!r}.")
        vtype = {"real": float, "integer": int, "binary": bool, "permutation": int}.get(representation)
        xl, xu = checked_bounds(representation, xl, xu, int(n_var), name=name)
        super().__init__(
            n_var=int(n_var),
            n_obj=len(self.objectives),
            n_ieq_constr=n_ieq_constr,
            xl=xl,
            xu=xu,
            vtype=vtype,
        )
        self.representation: str = representation

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check a constructor's limits before its body; let `evaluate(X)` be overridden beside pymoo's keyword form."""
        super().__init_subclass__(**kwargs)
        if inspect.isfunction(cls.__dict__.get("__init__")):
            check_flat(cls.__init__)
            cls.__doc__ = with_options_of(groups_of(cls.__init__), cls.__doc__)
            cls.__init__ = checked(cls.__init__)  # type: ignore[method-assign]
        batch = cls.__dict__.get("evaluate")
        if batch is None:
            return

        @functools.wraps(batch)
        def evaluate(self: CompressionProblem, X: np.ndarray, *args: Any, **kw: Any) -> Any:
            if args or kw:
                return Problem.evaluate(self, X, *args, **kw)
            return batch(self, X)

        cls.evaluate = evaluate  # type: ignore[method-assign]

    def _evaluate(self, X: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        values = self.evaluate(X)
        if isinstance(values, tuple):
            out["F"], out["G"] = values
        else:
            out["F"] = values

    # -- what a task brings -------------------------------------------------------------------

    def evaluate(self, X: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        """Objectives of a whole batch on the search split.

        Args:
            X: (n, n_var) candidates.
            *args: Never given to an override; pymoo's own form of `evaluate`.
            **kwargs: Likewise.

        Returns:
            (n, n_obj) float64, minimised; or `(F, G)` with constraints. A row of NaN marks a
            candidate that could not be evaluated; one that raises is isolated by the engine.
        """
        raise NotImplementedError(f"{type(self).__name__} must override evaluate(X).")

    def operators(self) -> Operators | None:
        """Sampling, crossover, mutation and repair; None takes pymoo's for the representation."""
        return None

    def decode(self, x: np.ndarray) -> Any:
        """What the candidate x, (n_var,), stands for: for networks an `nn.Module` ready for inference."""
        return x

    def describe(self, x: np.ndarray) -> dict[str, Any]:
        """Parameters of x that a person can read, as columns of `front.csv`."""
        values = () if self.representation == "object" else np.asarray(x)
        return {f"x{i}": v.item() if hasattr(v, "item") else v for i, v in enumerate(values)}

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Arrays that hold the decoded solution x, for its safetensors file."""
        return {} if self.representation == "object" else {"x": np.asarray(x)}

    def metadata(self, x: np.ndarray) -> dict[str, str]:
        """Text by name for the header of x's safetensors file, beside its id and values."""
        return {}

    def test(self, x: np.ndarray) -> dict[str, float]:
        """Held-out metrics of x by name (without the prefix `test_`); never used by a search."""
        return {}

    def test_batch(self, X: np.ndarray) -> list[dict[str, float]]:
        """`test` of every row of X, (n, n_var); override where a batch is cheaper."""
        return [self.test(x) for x in X]

    def verify(self, rng: np.random.Generator) -> Sequence[str]:
        """Prove on some candidates, before a search, that what `evaluate` says is what they become.

        A problem with a fast evaluation may take a slower, true one instead where they disagree, and say so.

        Args:
            rng: Draws the candidates; nothing of the search depends on it.

        Returns:
            What a user should know of it, a line each.

        Raises:
            UsageError: Nothing that it could do is true.
        """
        return ()

    def references(self) -> Sequence[Reference]:
        """Known methods' solutions to plot beside the front."""
        return ()

    def fingerprint(self, x: np.ndarray) -> bytes:
        """Bytes that identify the candidate x, (n_var,): equal bytes are evaluated once."""
        if self.representation == "object":
            raise NotImplementedError(f"{type(self).__name__} has object genomes and must override fingerprint(x).")
        return np.ascontiguousarray(x).tobytes()

    @property
    def n_distinct(self) -> int | None:
        """How many distinct candidates (of different fingerprints) there are; None where they are too many to count.

        A larger budget of evaluations is cut to it, and the search ends when all were evaluated. A subclass may
        override it by an attribute, a property or a method. By default it is known for integers in a box, bits and
        permutations with the default operators, whose objectives keep their meaning.
        """
        if self._n_distinct is not None:
            return self._n_distinct
        cls = type(self)
        is_moving = cls.begin_generation is not CompressionProblem.begin_generation
        is_plain = cls.operators is CompressionProblem.operators
        if is_moving or not is_plain or cls.fingerprint is not CompressionProblem.fingerprint:
            return None
        return n_plain(self.representation, self.n_var, self.xl, self.xu)

    @n_distinct.setter
    def n_distinct(self, value: int | None) -> None:
        self._n_distinct = value

    def all_candidates(self) -> Iterable[np.ndarray] | None:
        """Every distinct candidate, as arrays of shape (k, n_var), for a search whose budget covers them all.

        None where they cannot be listed: then samples are drawn until nothing new comes.
        """
        is_plain = type(self).operators is CompressionProblem.operators
        if not is_plain or n_plain(self.representation, self.n_var, self.xl, self.xu) is None:
            return None
        return all_plain(self.representation, self.n_var, self.xl, self.xu)

    def distance(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        """How far apart candidates are, row by row; annealing's trace shows it for each proposal.

        The number of differing variables for integers, bits and permutations; the Euclidean distance
        with every side of the box taken as 1 for reals; NaN for objects, which override it.

        Args:
            X: (n, n_var) candidates.
            Y: (n, n_var) candidates.

        Returns:
            (n,) float64, 0 or more.
        """
        if self.representation in ("integer", "binary", "permutation"):
            return np.count_nonzero(X != Y, axis=1).astype(np.float64)
        if self.representation != "real":
            return np.full(len(X), np.nan)
        side = np.ones(self.n_var)
        if self.has_bounds():
            width = np.asarray(self.xu, dtype=np.float64) - self.xl
            side = np.where((width > 0) & np.isfinite(width), width, 1.0)
        return np.asarray(np.linalg.norm((X - Y) / side, axis=1))

    def scalarise(self, F: np.ndarray) -> np.ndarray:
        """The task's own single value, for `--scalarise problem`; override where the field has one.

        Args:
            F: (n, n_obj) minimised objectives.

        Returns:
            (n,) float64, minimised.
        """
        raise NotImplementedError(f"{type(self).__name__} has no scalar value of its own.")

    def data_fingerprint(self) -> str | None:
        """Digest of the data that objective values depend on; runs on different data are then told apart."""
        return None

    # -- hooks of a run -----------------------------------------------------------------------

    def begin_run(self, rng: np.random.Generator) -> None:
        """Called once before a search; anything random in the evaluation descends from `rng`."""

    def begin_generation(self, n_gen: int) -> bool:
        """Called before generation n_gen (from 1) is evaluated.

        Returns:
            True when objective values changed meaning (another search batch): known values are
            then forgotten and survivors evaluated again.
        """
        return False

    def end_search(self) -> bool:
        """Called after the last generation; True asks for a final evaluation of the population."""
        return False

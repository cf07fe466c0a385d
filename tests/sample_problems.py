"""Small problems of every representation, for tests; also a problem file: `sample_problems.py:Bowl`."""

from __future__ import annotations

import os
import time

import numpy as np
from pymoo.core.problem import ElementwiseProblem
from pymoo.core.variable import Binary, Choice, Integer, Real

from opt import CompressionProblem, Objective, Operators, Reference, maximise


class Bowl(CompressionProblem):
    """One objective on reals.

    Args:
        n_var: Number of variables.
        centre: Where the optimum lies.
    """

    objectives = (Objective("distance", unit="m"),)

    def __init__(self, *, n_var: int = 3, centre: float = 0.25) -> None:
        super().__init__(n_var=n_var, xl=-1.0, xu=2.0)
        self.centre = centre

    def evaluate(self, X):
        return ((X - self.centre) ** 2).sum(axis=1, keepdims=True)


class Slope(CompressionProblem):
    """Two objectives on reals, the second maximised, with held-out metrics and references.

    Args:
        n_var: Number of variables.
        nap: Seconds that evaluating a generation takes.
    """

    objectives = (
        Objective("cost", unit="EUR", weight=0.5, worst=10.0),
        Objective("gain", maximise, weight=2.0),
    )

    def __init__(self, *, n_var: int = 4, nap: float = 0.0) -> None:
        super().__init__(n_var=n_var, xl=0.0, xu=1.0)
        self.nap = nap

    def evaluate(self, X):
        if self.nap and len(X) > 2:
            time.sleep(self.nap)
        first = X[:, 0]
        rest = 1 + X[:, 1:].sum(axis=1)
        return np.column_stack([first + rest - 1, -(2 - rest * (1 - np.sqrt(first / rest)))])

    def test(self, x):
        return {"accuracy": float(1 - x[0])}

    def references(self):
        return [
            Reference("corners", X=np.array([[0.0] * self.n_var, [1.0] * self.n_var])),
            Reference("known", F=np.array([[0.5, -1.5]]), test=[{"accuracy": 0.5}], parameters=[{"x0": 0.5}]),
        ]


class Steps(CompressionProblem):
    """Two objectives on integers, some variables fixed by their bounds."""

    objectives = (Objective("sum"), Objective("spread"))

    def __init__(self) -> None:
        super().__init__(n_var=4, representation="integer", xl=np.array([0, -3, 2, 0]), xu=np.array([9, 3, 2, 40]))

    def evaluate(self, X):
        return np.column_stack([X.sum(axis=1), ((X - 5) ** 2).sum(axis=1)]).astype(float)


class Switches(CompressionProblem):
    """Two objectives on bits."""

    objectives = (Objective("on"), Objective("even_off"))

    def __init__(self) -> None:
        super().__init__(n_var=14, representation="binary")

    def evaluate(self, X):
        return np.column_stack([X.sum(axis=1), (~X[:, ::2]).sum(axis=1)]).astype(float)


class Tour(CompressionProblem):
    """Two objectives on permutations."""

    objectives = (Objective("length"), Objective("displacement"))

    def __init__(self) -> None:
        super().__init__(n_var=8, representation="permutation")

    def evaluate(self, X):
        return np.column_stack([np.abs(np.diff(X)).sum(axis=1), np.abs(X - np.arange(8)).sum(axis=1)]).astype(float)


class Word:
    """An object genome; a sequence, so that careless array handling would take it apart."""

    def __init__(self, letters: tuple[int, ...]) -> None:
        self.letters = letters

    def __len__(self) -> int:
        return len(self.letters)

    def __getitem__(self, i):
        return self.letters[i]


def _column(genomes) -> np.ndarray:
    X = np.empty((len(genomes), 1), dtype=object)
    for i, genome in enumerate(genomes):
        X[i, 0] = genome
    return X


class Words(CompressionProblem):
    """Two objectives on words of any length, with operators of their own and a repair."""

    objectives = (Objective("length"), Objective("sum", maximise))

    def __init__(self) -> None:
        super().__init__(n_var=1, representation="object")

    def operators(self):
        def sampling(n, rng):
            return _column([Word(tuple(rng.integers(0, 9, rng.integers(1, 8)).tolist())) for _ in range(n)])

        def crossover(A, B, rng):
            first, second = [], []
            for a, b in zip(A[:, 0], B[:, 0], strict=True):
                i, j = rng.integers(0, len(a) + 1), rng.integers(0, len(b) + 1)
                first.append(Word(a.letters[:i] + b.letters[j:]))
                second.append(Word(b.letters[:j] + a.letters[i:]))
            return _column(first), _column(second)

        def mutation(X, rng):
            mutants = []
            for x in X[:, 0]:
                letters = list(x.letters) or [0]
                letters[rng.integers(0, len(letters))] = int(rng.integers(0, 9))
                mutants.append(Word((*letters, 1) if rng.random() < 0.5 else tuple(letters[1:])))
            return _column(mutants)

        def repair(X):
            return _column([Word(x.letters[:9] or (1,)) for x in X[:, 0]])

        return Operators(sampling, crossover, mutation, repair)

    def evaluate(self, X):
        return np.array([[len(x), -sum(x.letters)] for x in X[:, 0]], dtype=float)

    def fingerprint(self, x):
        return bytes(x[0].letters)

    def describe(self, x):
        return {"word": "".join(map(str, x[0].letters))}

    def tensors(self, x):
        return {"letters": np.array(x[0].letters)}

    def decode(self, x):
        return list(x[0].letters)


class Fenced(CompressionProblem):
    """Two objectives and two constraints on reals."""

    objectives = (Objective("a"), Objective("b"))

    def __init__(self) -> None:
        super().__init__(n_var=2, xl=0.0, xu=4.0, n_ieq_constr=2)

    def evaluate(self, X):
        F = np.column_stack([4 * (X**2).sum(axis=1), ((X - 5) ** 2).sum(axis=1)])
        return F, np.column_stack([X[:, 0] - 3.0, 1.0 - X[:, 1]])


class Drifting(CompressionProblem):
    """Objectives of another meaning in every generation, and a last judgement over all of them."""

    objectives = (Objective("near"), Objective("far"))

    def __init__(self) -> None:
        super().__init__(n_var=2, xl=0.0, xu=1.0)
        self.offset = 0.0
        self.offsets = np.zeros(3)

    def begin_run(self, rng):
        self.offsets = rng.random(3)

    def begin_generation(self, n_gen):
        self.offset = self.offsets[n_gen % 3]
        return True

    def end_search(self):
        self.offset = float(self.offsets.mean())
        return True

    def evaluate(self, X):
        return np.column_stack([(X**2).sum(axis=1) + self.offset, ((1 - X) ** 2).sum(axis=1) * (1 + self.offset)])


class DriftingSteps(Drifting):
    """The same on integers."""

    def __init__(self) -> None:
        CompressionProblem.__init__(self, n_var=2, representation="integer", xl=0, xu=30)
        self.offset, self.offsets = 0.0, np.zeros(3)

    def evaluate(self, X):
        assert X.dtype == np.int64
        return super().evaluate(X / 30)


class Acting(CompressionProblem):
    """Candidates of more than .5 do something before they are evaluated.

    Args:
        action: Called without arguments.
    """

    objectives = (Objective("a"),)

    def __init__(self, action) -> None:
        super().__init__(n_var=1, xl=0, xu=1)
        self.action = action

    def evaluate(self, X):
        if (X > 0.5).any():
            self.action()
        return X


class _Corners(CompressionProblem):
    """Two objectives on reals: the way from one corner of the box, and that to the other."""

    objectives = (Objective("a"), Objective("b"))
    n_constraints = 0

    def __init__(self) -> None:
        super().__init__(n_var=3, xl=0.0, xu=1.0, n_ieq_constr=self.n_constraints)

    def evaluate(self, X):
        return np.column_stack([X.sum(axis=1), ((1 - X) ** 2).sum(axis=1)])


class Flaky(_Corners):
    """Two objectives on reals; some candidates raise, some are NaN or infinite."""

    def evaluate(self, X):
        if (X[:, 1] > 0.9).any():
            raise ArithmeticError("second variable above 0.9")
        F = super().evaluate(X)
        F[X[:, 2] > 0.9, 0] = np.nan
        F[X[:, 2] < 0.1, 1] = np.inf
        return F


class Flagged(_Corners):
    """Two objectives on reals and a constraint that says only yes or no: most violations are equal."""

    n_constraints = 2

    def evaluate(self, X):
        return super().evaluate(X), np.column_stack([X[:, 0] > 0.4, X[:, 1] < 0.5]).astype(float)


class Level(CompressionProblem):
    """Two objectives on integers that are the same for all candidates."""

    objectives = (Objective("a"), Objective("b"))

    def __init__(self) -> None:
        super().__init__(n_var=5, representation="integer", xl=0, xu=30)

    def evaluate(self, X):
        return np.ones((len(X), 2))


class Halved(_Corners):
    """Two objectives on reals, of which half of the box cannot be evaluated, with a constraint."""

    n_constraints = 1

    def evaluate(self, X):
        F = super().evaluate(X)
        F[X[:, 0] > 0.5] = np.nan
        return F, (X[:, 1:2] > 0.6).astype(float)


class HalvedFree(_Corners):
    """The same without a constraint, and failing by an exception."""

    def evaluate(self, X):
        if (X[:, 0] > 0.5).any():
            raise ArithmeticError("first variable above 0.5")
        return super().evaluate(X)


class Parts(ElementwiseProblem):
    """A plain pymoo problem with variables of four types."""

    def __init__(self) -> None:
        variables = {
            "share": Real(bounds=(0.0, 1.0)),
            "count": Integer(bounds=(1, 9)),
            "doubled": Binary(),
            "kind": Choice(options=["plain", "twisted", "woven"]),
        }
        super().__init__(vars=variables, n_obj=2)

    def _evaluate(self, X, out, *args, **kwargs):
        out["F"] = [X["share"] * (1 + X["doubled"]) + X["count"], 10 - X["count"] + (X["kind"] == "twisted")]


class Broken(CompressionProblem):
    """Fails for every candidate."""

    objectives = (Objective("a"), Objective("b"))

    def __init__(self) -> None:
        super().__init__(n_var=2, xl=0.0, xu=1.0)

    def evaluate(self, X):
        raise RuntimeError(f"no such file\nin process {bool(os.getpid())}")

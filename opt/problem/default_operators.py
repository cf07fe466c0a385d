"""Operators for plain variables, where a problem brings none of its own.

Real: Deb and Agrawal 1995 (simulated binary crossover, eta 15) and Deb and Goyal 1996 (polynomial
mutation, eta 20), as pymoo implements them. Integer: the same, rounded. Binary: two-point crossover
and bit flips with probability 1/n. Permutation: order crossover (Davis 1985) and inversion.
Mixed: `opt.problem.mixed_variables`.
"""

from __future__ import annotations

import numpy as np
from pymoo.operators.crossover.sbx import cross_sbx
from pymoo.operators.mutation.pm import mut_pm

from opt.console.errors import UsageError
from opt.problem import CompressionProblem, Move, Operators
from opt.problem.bounds import has_finite_bounds

SBX_ETA = 15.0
PM_ETA = 20.0


def default_operators(problem: CompressionProblem) -> Operators:
    """Operators for `problem`'s representation, from its bounds.

    Raises:
        UsageError: An object genome, for which only the problem itself can know operators, or numbers without bounds.
    """
    if problem.representation in ("real", "integer") and not has_finite_bounds(problem.xl, problem.xu):
        wanted = f"{problem.representation} variables and needs finite bounds xl and xu, or operators of its own"
        raise UsageError(f"{type(problem.plain or problem).__name__} has {wanted}")
    if problem.representation == "real":
        return real_operators(problem.xl, problem.xu)
    if problem.representation == "integer":
        return integer_operators(problem.xl, problem.xu)
    if problem.representation == "binary":
        return binary_operators(problem.n_var)
    if problem.representation == "permutation":
        return permutation_operators(problem.n_var)
    raise UsageError(f"{type(problem).__name__} has object genomes and must override operators().")


def real_operators(xl: np.ndarray, xu: np.ndarray) -> Operators:
    """Uniform sampling, SBX and polynomial mutation within [xl, xu], each (n_var,)."""

    def sampling(n: int, rng: np.random.Generator) -> np.ndarray:
        return xl + rng.random((n, len(xl))) * (xu - xl)

    def crossover(A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        column = np.ones((len(A), 1))
        X = np.stack([A, B]).astype(float)
        Q = cross_sbx(X, xl, xu, SBX_ETA * column, 0.5 * column, 0.5 * column, random_state=rng)
        return Q[0], Q[1]

    def mutation(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n, n_var = X.shape
        prob = np.full(n, min(0.5, 1.0 / n_var))
        return mut_pm(X.astype(float), xl, xu, np.full(n, PM_ETA), prob, at_least_once=True, random_state=rng)

    free = np.flatnonzero(xu > xl)

    def coordinate(X: np.ndarray, step: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        moved = X.astype(float)
        if not len(free):
            return moved
        rows, chosen = np.arange(len(X)), free[rng.integers(0, len(free), size=len(X))]
        low, high = xl[chosen], xu[chosen]
        value = moved[rows, chosen] + step * (high - low) * rng.uniform(-1.0, 1.0, size=len(X))
        # a step beyond a bound is reflected by it; it is one side long at most
        value = np.where(value < low, 2 * low - value, np.where(value > high, 2 * high - value, value))
        moved[rows, chosen] = np.clip(value, low, high)
        return moved

    return Operators(
        sampling, crossover, mutation, moves={"mutation": Move(mutation), "coordinate": Move(coordinate, has_step=True)}
    )


def integer_operators(xl: np.ndarray, xu: np.ndarray) -> Operators:
    """As for reals on cells of width one, rounded to the integers xl, ..., xu."""
    inner = real_operators(xl - 0.5, xu + 0.5)

    def to_integers(X: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(X), xl, xu).astype(np.int64)

    def sampling(n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(xl.astype(np.int64), xu.astype(np.int64) + 1, size=(n, len(xl)))

    def crossover(A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        assert inner.crossover is not None
        C, D = inner.crossover(A, B, rng)
        return to_integers(C), to_integers(D)

    def mutation(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        assert inner.mutation is not None
        return nudged(X, to_integers(inner.mutation(X, rng)), rng)

    def coordinate(X: np.ndarray, step: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return nudged(X, to_integers(inner.moves["coordinate"].apply(X, step, rng)), rng)

    def nudged(X: np.ndarray, mutated: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        # rounding can undo a small step: such rows move one variable by one, where there is room
        for i in np.flatnonzero((mutated == X).all(axis=1)):
            free = np.flatnonzero(xu > xl)
            if len(free):
                j = rng.choice(free)
                step = 1 if X[i, j] <= xl[j] else -1 if X[i, j] >= xu[j] else rng.choice([-1, 1])
                mutated[i, j] = X[i, j] + step
        return mutated

    return Operators(
        sampling, crossover, mutation, moves={"mutation": Move(mutation), "coordinate": Move(coordinate, has_step=True)}
    )


def binary_operators(n_var: int) -> Operators:
    """Fair bits, two-point crossover, at least one flipped bit."""

    def sampling(n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.random((n, n_var)) < 0.5

    def crossover(A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        cuts = np.sort(rng.integers(0, n_var + 1, size=(len(A), 2)), axis=1)
        position = np.arange(n_var)
        inside = (position >= cuts[:, :1]) & (position < cuts[:, 1:])
        return np.where(inside, B, A), np.where(inside, A, B)

    def mutation(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        flip = rng.random(X.shape) < 1.0 / n_var
        unflipped = np.flatnonzero(~flip.any(axis=1))
        flip[unflipped, rng.integers(0, n_var, size=len(unflipped))] = True
        return X.astype(bool) ^ flip

    def swap(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        swapped = X.astype(bool)
        for row in swapped:
            ones, zeros = np.flatnonzero(row), np.flatnonzero(~row)
            if len(ones) and len(zeros):
                row[[rng.choice(ones), rng.choice(zeros)]] = [False, True]
            else:
                row[rng.integers(0, n_var)] ^= True
        return swapped

    return Operators(sampling, crossover, mutation, moves={"mutation": Move(mutation), "swap": Move(swap)})


def permutation_operators(n_var: int) -> Operators:
    """Random orders, order crossover, inversion of a random section."""

    def sampling(n: int, rng: np.random.Generator) -> np.ndarray:
        return np.array([rng.permutation(n_var) for _ in range(n)]).reshape(n, n_var)

    def fill(kept: np.ndarray, other: np.ndarray, lo: int, hi: int) -> np.ndarray:
        child = np.empty_like(kept)
        child[lo:hi] = kept[lo:hi]
        rest = other[~np.isin(other, kept[lo:hi])]
        child[:lo], child[hi:] = rest[:lo], rest[lo:]
        return child

    def crossover(A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        C, D = np.empty_like(A), np.empty_like(B)
        for i, (a, b) in enumerate(zip(A, B, strict=True)):
            lo, hi = np.sort(rng.integers(0, n_var + 1, size=2))
            C[i], D[i] = fill(a, b, lo, hi), fill(b, a, lo, hi)
        return C, D

    def mutation(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        mutated = X.copy()
        if n_var < 2:
            return mutated
        for row in mutated:
            lo, hi = np.sort(rng.choice(n_var + 1, size=2, replace=False))
            if hi - lo < 2:
                lo, hi = (lo, lo + 2) if lo + 2 <= n_var else (n_var - 2, n_var)
            row[lo:hi] = row[lo:hi][::-1].copy()
        return mutated

    def swap(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        swapped = X.copy()
        if n_var > 1:
            for row in swapped:
                i, j = rng.choice(n_var, size=2, replace=False)
                row[i], row[j] = row[j], row[i]
        return swapped

    def insertion(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        shifted = X.copy()
        if n_var > 1:
            for k, row in enumerate(X):
                i, j = rng.choice(n_var, size=2, replace=False)
                shifted[k] = np.insert(np.delete(row, i), j, row[i])
        return shifted

    moves = {"inversion": Move(mutation), "swap": Move(swap), "insertion": Move(insertion)}
    return Operators(sampling, crossover, mutation, moves=moves)

"""Repeated searches: runs from different seeds, with mean, median and extremes of what they found."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from native.circuits.genome import Genome


@dataclass(frozen=True)
class Runs:
    """The best genome of each run, in the order of their seeds."""

    genomes: tuple[Genome, ...]

    def _scores(self, name: str) -> np.ndarray:
        return np.array([genome.score[name] for genome in self.genomes], dtype=np.float64)

    def _counts(self, name: str) -> np.ndarray:
        counts = [genome.counts for genome in self.genomes]
        return np.array([getattr(c, name) for c in counts if c is not None], dtype=np.float64)

    @property
    def errors(self) -> np.ndarray:
        """(n_runs,) errors."""
        return self._scores("error")

    @property
    def energies_pj(self) -> np.ndarray:
        """(n_runs,) energies."""
        return self._scores("energy_pj")

    @property
    def n_active(self) -> np.ndarray:
        """(n_runs,) active gates."""
        return self._counts("n_active")

    @property
    def n_gen(self) -> np.ndarray:
        """(n_runs,) generations."""
        return self._counts("n_gen")

    @property
    def best(self) -> Genome:
        """The run of least error, among equals of least energy."""
        return min(self.genomes, key=lambda genome: (genome.score["error"], genome.score["energy_pj"]))

    def table(self) -> dict[str, dict[str, float]]:
        """Mean, median, least and greatest of error, energy, active gates and generations."""
        columns = {"error": self.errors, "energy_pj": self.energies_pj, "n_active": self.n_active, "n_gen": self.n_gen}
        return {
            name: {
                "mean": float(values.mean()),
                "median": float(np.median(values)),
                "min": float(values.min()),
                "max": float(values.max()),
            }
            for name, values in columns.items()
        }

    def __str__(self) -> str:
        lines = [f"{'':<10} {'mean':>12} {'median':>12} {'min':>12} {'max':>12}"]
        for name, row in self.table().items():
            lines.append(f"{name:<10} " + " ".join(f"{row[key]:>12.5g}" for key in ("mean", "median", "min", "max")))
        return "\n".join(lines)

    def __len__(self) -> int:
        return len(self.genomes)


def repeat(
    search: Callable[[np.random.SeedSequence], Genome],
    *,
    n_runs: int,
    seed: int | np.random.SeedSequence,
    n_threads: int = 1,
) -> Runs:
    """Runs a search `n_runs` times, each with a seed spawned from `seed`; the results do not depend on `n_threads`.

    Args:
        search: Seed to best genome, such as `lambda s: evolve(grid, functions, data, seed=s, n_gen=10_000)`.
        n_runs: At least 1.
        seed: Of all runs.
        n_threads: Runs at a time; the C library releases the GIL.
    """
    if n_runs < 1 or n_threads < 1:
        raise ValueError(f"n_runs and n_threads must be at least 1, got {n_runs} and {n_threads}")
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    with ThreadPoolExecutor(n_threads) as pool:
        return Runs(tuple(pool.map(search, root.spawn(n_runs))))

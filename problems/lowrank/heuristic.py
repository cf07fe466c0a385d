"""The published heuristic: a common error for all layers, then better slices for each, from many starts."""

from __future__ import annotations

import numpy as np

from problems.lowrank.choices import ChoiceTable, Size

N_STARTS = 15
N_ITERATIONS = 4
FIRST_SLICES = (3, 5, 7, 9)


class PublishedHeuristic:
    """One start at a time; ranks of a layer by one error for all layers, slices by the least error at equal size.

    Args:
        table: The choices; its options of scheme 0 are used, as published.
        size: What budgets are in; parameters, as published.
        n_iterations: Rounds of global and local step a start.

    Source: Liebenwein et al. 2021, arXiv:2107.11442, algorithm 1. Differs: the published code reads the error of the
    local step one rank too early; here it is that of the rank that is kept. The published budget is met about;
    here the last global step takes the least error that stays within it.
    """

    def __init__(self, table: ChoiceTable, size: Size = "parameters", *, n_iterations: int = N_ITERATIONS) -> None:
        self.table, self.size, self.n_iterations = table, size, n_iterations
        # by layer: number of slices, errors by rank and size of a rank of each option of scheme 0
        self._k: list[np.ndarray] = []
        self._numbers: list[np.ndarray] = []
        self._errors: list[list[np.ndarray]] = []
        for i, pairs in enumerate(table.options):
            own = [o for o, (scheme, _) in enumerate(pairs) if scheme == 0]
            self._numbers.append(np.array(own))
            self._k.append(np.array([pairs[o][1] for o in own]))
            flat_option, flat_rank, flat_error, _ = table.flat(i, size)
            del flat_rank
            self._errors.append([flat_error[:-1][flat_option[:-1] == o] for o in own])

    def start(self, budget: float, number: int, rng: np.random.Generator) -> np.ndarray | None:
        """One start's allocation, (2 layers,) int64, within the budget; None where it finds none.

        Args:
            budget: Of the whole network.
            number: The first four take 3, 5, 7, 9 slices, or the nearest divisor, for all layers; later ones draw.
            rng: Drawn from for the others.
        """
        if number < len(FIRST_SLICES):
            chosen = np.array([_nearest(k, FIRST_SLICES[number]) for k in self._k])
        else:
            chosen = np.array([int(rng.integers(max(1, len(k)))) for k in self._k])
        while self._row(chosen, np.inf, budget) is None:
            if not chosen.any():
                return None
            # halved where no valid allocation exists
            chosen = np.array(
                [_nearest(k, int(k[c]) // 2) if len(k) else 0 for k, c in zip(self._k, chosen, strict=True)]
            )
        x = self._global(chosen, budget)
        for _ in range(self.n_iterations):
            chosen = self._local(x)
            better = self._global(chosen, budget) if self._row(chosen, np.inf, budget) is not None else None
            if better is None:
                break
            if self.table.errors(better[None]).max() < self.table.errors(x[None]).max():
                x = better
        return x

    def allocate(self, budget: float, rng: np.random.Generator, *, n_starts: int = N_STARTS) -> np.ndarray | None:
        """The best of all starts, or None."""
        found = [x for i in range(n_starts) if (x := self.start(budget, i, rng)) is not None]
        return min(found, key=lambda x: float(self.table.errors(x[None]).max())) if found else None

    def _global(self, chosen: np.ndarray, budget: float) -> np.ndarray:
        """For given slices: the least common error whose allocation stays within the budget."""
        values = np.unique(
            np.concatenate([e[c] for e, c in zip(self._errors, chosen, strict=True) if e] + [np.zeros(1)])
        )
        low, high = -1, len(values) - 1
        best = self._row(chosen, float(values[high]), budget)
        while high - low > 1:
            middle = (low + high) // 2
            row = self._row(chosen, float(values[middle]), budget)
            if row is None:
                low = middle
            else:
                high, best = middle, row
        assert best is not None, "checked by the caller"
        return best

    def _row(self, chosen: np.ndarray, error: float, budget: float) -> np.ndarray | None:
        x = self.table.whole_row()
        for i, c in enumerate(chosen.tolist()):
            if not self._errors[i]:
                continue  # no slices make this layer smaller
            # ranks whose own error is above: one rank more than the last of them is needed; at least one is kept
            x[2 * i] = self._numbers[i][c]
            x[2 * i + 1] = 1 + int((self._errors[i][c] > error).sum())
        x = self.table.canonical(x[None])[0]
        return x if self.table.sizes(x[None], self.size)[0] <= budget else None

    def _local(self, x: np.ndarray) -> np.ndarray:
        """For each layer the slices of least error at its present size."""
        sizes = self.table.layer_sizes(x[None], self.size)[0]
        chosen = np.zeros(self.table.n_layers, dtype=np.int64)
        for i in range(self.table.n_layers):
            least = np.inf
            for c, option in enumerate(self._numbers[i].tolist()):
                errors = self._errors[i][c]
                rank = int(np.clip(np.floor(sizes[i] / self.table.rank_size[self.size][i, option] + 0.5), 1, None))
                error = errors[rank - 1] if rank <= len(errors) else 0.0
                if error < least:
                    chosen[i], least = c, float(error)
        return chosen


def _nearest(k: np.ndarray, wanted: int) -> int:
    """Place of the number of slices nearest to `wanted`; 0 where there is none."""
    return int(np.abs(k - wanted).argmin()) if len(k) else 0

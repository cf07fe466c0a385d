"""From several objectives to one, for single-objective algorithms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from opt.console.errors import UsageError
from opt.fronts.archive import LARGEST
from opt.problem import Objective

ASF_RHO = 1e-4


@dataclass(frozen=True)
class Scalariser:
    """A scalar value, to be minimised, of each row of F.

    Args:
        kind: "sum" for sum_i w_i F_i; "asf" for the achievement scalarising function
            max_i w_i (F_i - ref_i) + 1e-4 sum_i w_i (F_i - ref_i); "problem" for the problem's own.
        weights: (n_obj,) weights.
        ref: (n_obj,) reference point, minimised; only for "asf".
        own: The problem's `scalarise`; only for "problem".

    Source of "asf": Wierzbicki 1980, doi:10.1007/978-3-642-48782-8_32, augmented form.
    """

    kind: Literal["sum", "asf", "problem"]
    weights: tuple[float, ...]
    ref: tuple[float, ...] | None = None
    own: Callable[[np.ndarray], np.ndarray] | None = None

    @classmethod
    def of(
        cls,
        objectives: Sequence[Objective],
        *,
        kind: str = "sum",
        weights: Sequence[float] | None = None,
        ref: Sequence[float] | None = None,
        own: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Scalariser:
        """A scalariser from what a user gave, the problem's own weights where nothing was given.

        Raises:
            UsageError: Wrong kind, wrong lengths, all weights zero, "asf" without a reference point, or
                "problem" for a problem without a scalar value of its own.
        """
        _check_kind(kind, objectives, weights=weights, ref=ref, has_own=own is not None)
        for flag, values in (("--weights", weights), ("--ref", ref)):
            if values is not None:
                _check_values(flag, values, objectives)
        if weights is not None:
            used = list(weights)
        else:  # the reference point already says what matters how much
            used = [1.0] * len(objectives) if kind == "asf" else [o.weight for o in objectives]
        if any(w < 0 for w in used) or not any(used):
            raise UsageError(f"--weights must be 0 or more and not all 0, got {','.join(map(str, used))}")
        point = None if ref is None else tuple(o.sign * v for o, v in zip(objectives, ref, strict=True))
        function = own if kind == "problem" else None
        return cls(kind, tuple(float(w) for w in used), point, function)  # type: ignore[arg-type]

    def __call__(self, F: np.ndarray) -> np.ndarray:
        """(n, n_obj) minimised objectives to (n, 1) scalar values."""
        if self.own is not None:
            return np.asarray(self.own(F), dtype=np.float64).reshape(len(F), 1)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.kind == "sum":
                value = F @ np.array(self.weights)[:, None]
            else:
                gap = (F - np.array(self.ref)) * np.array(self.weights)
                value = (gap.max(axis=1) + ASF_RHO * gap.sum(axis=1))[:, None]
        # beyond the greatest number all are alike
        return value if np.isfinite(value).all() else np.nan_to_num(value, nan=LARGEST, posinf=LARGEST, neginf=-LARGEST)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the manifest."""
        return {"kind": self.kind, "weights": list(self.weights), "ref": None if self.ref is None else list(self.ref)}


def _check_kind(kind: str, objectives: Sequence[Objective], *, weights: Any, ref: Any, has_own: bool) -> None:
    """Refuse a kind that is none, or that lacks or does not take what is given beside it."""
    names = ",".join(o.name for o in objectives)
    if kind not in ("sum", "asf", "problem"):
        raise UsageError(f"--scalarise must be sum, asf or problem, got {kind!r}")
    if kind == "problem" and not has_own:
        raise UsageError("--scalarise problem needs a problem that overrides scalarise(F); use sum or asf")
    if kind == "problem" and weights is not None:
        raise UsageError("--weights are for --scalarise sum and asf; leave them out, or --scalarise problem")
    if kind == "asf" and ref is None:
        raise UsageError(f"--scalarise asf needs a reference point: --ref with one value each of {names}")
    if kind != "asf" and ref is not None:
        raise UsageError("--ref is the reference point of --scalarise asf; add that, or leave --ref out")


def _check_values(flag: str, values: Sequence[float], objectives: Sequence[Objective]) -> None:
    """Refuse values that are not one finite number an objective."""
    if len(values) != len(objectives):
        names = ",".join(o.name for o in objectives)
        raise UsageError(f"{flag} needs {len(objectives)} values ({names}), got {len(values)}")
    if not np.isfinite(values).all():
        raise UsageError(f"{flag} needs finite numbers, got {','.join(map(str, values))}")

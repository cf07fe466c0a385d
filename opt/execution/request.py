"""The request of a search: algorithm, parameters, seed and budget as plain data, checked before anything is written."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from opt.algorithms import AlgorithmSpec, build_algorithm, find_algorithm
from opt.algorithms.interface.warm_start import Start, offering
from opt.console.errors import UsageError
from opt.flags.search_options import CommandOptions, SearchOptions, check_option
from opt.problem import CompressionProblem
from opt.problem.hooks import scalarise_of
from opt.search.budget import Budget
from opt.search.evaluation_process import check_apart
from opt.search.scalarise import Scalariser


@dataclass(frozen=True)
class SearchRequest:
    """How one problem is searched, as plain data.

    Args:
        algo: Name of the algorithm.
        parameters: Its parameters by name.
        seed: The run's seed, 0 or more.
        budget: When to stop.
        scalarise: "sum", "asf" or "problem", for single-objective algorithms.
        weights: One weight per objective, or None for the problem's own.
        ref: Reference point of "asf", in the objectives' own senses.
        threads: Threads of linear algebra; 1 unless told, so that runs side by side agree with runs alone.
        keep: Most solutions saved as safetensors.
        cache_size: Distinct candidates whose values are remembered.
        fail_fast: Stop on the first candidate that cannot be evaluated.
        eval_seconds: Most wall-clock seconds that one candidate's evaluation may take; it fails beyond.
        start: Path of a saved run whose front are the first candidates, or None.
        no_verify: Leave out the problem's proof that it evaluates truly.
    """

    algo: str = CommandOptions.algo
    parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = CommandOptions.seed
    budget: Budget = field(default_factory=Budget.of)
    scalarise: str = SearchOptions.scalarise
    weights: tuple[float, ...] | None = None
    ref: tuple[float, ...] | None = None
    threads: int = SearchOptions.threads
    keep: int = SearchOptions.keep
    cache_size: int = SearchOptions.cache_size
    fail_fast: bool = False
    eval_seconds: float | None = None
    start: str | None = None
    no_verify: bool = False

    def __post_init__(self) -> None:
        for name in ("seed", "threads", "keep", "cache-size"):
            check_option(name, getattr(self, name.replace("-", "_")))
        if self.eval_seconds is not None and not 0 < self.eval_seconds < math.inf:
            raise UsageError(f"--eval-time must be longer than 0 and finite, got {self.eval_seconds:g} s")

    @classmethod
    def from_manifest(cls, manifest: dict[str, Any]) -> SearchRequest:
        """The request that a run was made from.

        Raises:
            UsageError: It lacks something, or has what this program does not know.
        """
        try:
            fields = dict(manifest["request"])
            for name in ("weights", "ref"):
                fields[name] = None if fields[name] is None else tuple(fields[name])
            return cls(**(fields | {"budget": Budget(**fields["budget"])}))
        except (KeyError, TypeError) as error:
            raise UsageError(f"a request cannot be read ({error}); open it with the release that wrote it") from None


def check_request(
    problem: CompressionProblem,
    request: SearchRequest,
    *,
    spec: AlgorithmSpec | None = None,
    start: Start | None = None,
) -> Scalariser:
    """Refuse what cannot work before anything is written; the scalariser that the request names.

    Args:
        problem: What is searched.
        request: How.
        spec: The algorithm, where it is none that the request can name.
        start: Candidates to begin with, or None.
    """
    spec = spec or find_algorithm(request.algo, problem)
    if request.eval_seconds is not None:
        check_apart()
    if problem.representation == "object" and type(problem).fingerprint is CompressionProblem.fingerprint:
        raise UsageError(f"{type(problem).__name__} has object genomes and must override fingerprint(x)")
    with offering(problem, None if start is None else start.X, spec.name):
        build_algorithm(spec, problem, request.parameters)
    if spec.objectives != "one" and (request.weights or request.ref or request.scalarise != "sum"):
        raise UsageError(f"{request.algo} optimises every objective; --weights, --scalarise and --ref are not for it")
    own = scalarise_of(problem)
    return Scalariser.of(problem.objectives, kind=request.scalarise, weights=request.weights, ref=request.ref, own=own)

"""Search algorithms by name; importing this package registers all of them."""

from opt.algorithms import (  # noqa: F401 - imported for their registration
    annealing,
    deap_algorithms,
    evolution_strategy,
    generational,
    pymoo_builtin,
    random_search,
    truncation,
)
from opt.algorithms.interface.checked_operators import operators_of
from opt.algorithms.interface.registry import (
    AlgorithmSpec,
    algorithm,
    algorithms,
    build_algorithm,
    check_fit,
    find_algorithm,
)
from opt.algorithms.interface.search_algorithm import SearchAlgorithm

__all__ = [
    "AlgorithmSpec",
    "SearchAlgorithm",
    "algorithm",
    "algorithms",
    "build_algorithm",
    "check_fit",
    "find_algorithm",
    "operators_of",
]

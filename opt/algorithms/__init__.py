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
from opt.algorithms.interface.registry import (
    AlgorithmSpec,
    algorithm,
    algorithms,
    build_algorithm,
    check_fit,
    find_algorithm,
)

__all__ = ["AlgorithmSpec", "algorithm", "algorithms", "build_algorithm", "check_fit", "find_algorithm"]

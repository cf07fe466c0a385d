"""Masks as genomes: packed bits, their sampling, moves, crossover and repair."""

from operators.masks.crossover_uniform import UniformMaskCrossover
from operators.masks.genome import MaskGenome, as_population, hamming_distance
from operators.masks.layout import MaskLayout, draw_places
from operators.masks.move_flip import Flip
from operators.masks.move_guided import Guide, GuidedSwap
from operators.masks.move_swap import Swap
from operators.masks.mutation import MixedMutation
from operators.masks.repair_least import KeepLeast
from operators.masks.sampling import MasksAround, RandomMasks, shares

__all__ = [
    "Flip",
    "Guide",
    "GuidedSwap",
    "KeepLeast",
    "MaskGenome",
    "MaskLayout",
    "MasksAround",
    "MixedMutation",
    "RandomMasks",
    "Swap",
    "UniformMaskCrossover",
    "as_population",
    "draw_places",
    "hamming_distance",
    "shares",
]

"""Types of algorithms' parameters with the numbers that they take."""

from __future__ import annotations

from typing import Annotated

from opt.console.ranges import Range, Share

MOST_CANDIDATES = 100_000
MOST_ROUNDS = 1_000_000

PopulationSize = Annotated[int, Range(1, MOST_CANDIDATES)]
"""Candidates, parents, offspring, chains, neighbours: how many of something that takes room."""
AtLeastTwo = Annotated[int, Range(2, MOST_CANDIDATES)]
Rounds = Annotated[int, Range(0, MOST_ROUNDS)]
"""Repetitions, which may be none."""
StepCount = Annotated[int, Range(1)]
Probability = Share
OpenShare = Annotated[float, Range(0.0, 1.0, is_above=True, is_below=True)]
"""A share that is neither nothing nor all."""
Factor = Annotated[float, Range(0.0, 1.0, is_above=True)]
"""What shrinks something, or leaves it as it is."""
Positive = Annotated[float, Range(0.0, is_above=True)]
Temperature = Annotated[float, Range(1e-100, 1e100)]
"""Its product with an end ratio is a temperature too, and must not vanish."""
EndRatio = Annotated[float, Range(1e-100, 1.0)]

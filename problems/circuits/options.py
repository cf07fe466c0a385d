"""Options of the circuit tasks: the int8 network, which weights, the grid, its gates, the goal, variation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from torch import nn

from native.cgp import CostTable, FunctionSet
from opt.console.option_groups import option_group
from opt.console.ranges import COUNT, Count, Range, Seed
from problems.circuits.energy import memory_pj_per_byte
from problems.circuits.grid import GRID_SIDE, PUBLISHED, WEIGHT_ERROR, cost_table, function_set
from problems.circuits.network import Width, int8_network
from problems.circuits.tasks import TaskName
from problems.circuits.variation import CrossoverName, MutationName
from problems.data.sets.example_set import ExampleSet
from problems.workloads.network_options import TrainedNetworkOptions

ErrorName = Literal["se", "mse", "ae", "mae"]
GridSide = Annotated[int, GRID_SIDE]


@option_group
class Int8NetworkOptions(TrainedNetworkOptions):
    """The network whose weights are computed: int8, trained quantisation-aware and then kept.

    Args:
        width: Multiplier of MobileNetV2's channels; by default 0.25.
        checkpoint: File with its weights, of safetensors or of torch.save; they are rounded to int8. By default it is
            trained.
        epochs: Epochs of training; by default 20 (lenet-5-valid) or 5 (others), thrice as many on digits.
    """

    FORMER_NETWORKS: ClassVar[Mapping[str, str]] = {"lenet5": "lenet-5-valid", "mobilenetv2": "mobilenet-v2"}

    network: str = "lenet-5-valid"
    width: Width | None = None

    def network_on(self, data: ExampleSet) -> nn.Module:
        """The network, with int8 weights.

        Raises:
            UsageError: As `int8_network`.
        """
        return int8_network(
            data,
            network=self.network,
            width=self.width,
            checkpoint=self.checkpoint,
            seed=self.network_seed,
            epochs=self.epochs,
        )

    @classmethod
    def of_former(cls, recorded: dict[str, Any]) -> dict[str, Any]:
        """Recorded options under the names of now; every network had a width, and one used it."""
        present = super().of_former(recorded)
        if "model" in recorded and present.get("network") != "mobilenet-v2":
            present["width"] = None
        return present


@option_group
class WeightOptions:
    """Which weights are computed, and from which.

    Args:
        task: Which weights are computed from which: the published data sets by name; grid_size is single_filter.
        layer: Layer whose weights are computed; by default the task's own choice.
        source: Layer that layer_bypass computes from; by default the convolution before.
        kernel: Which kernel of the layer (single_filter and its like); for single_channel which input channel.
        collapse: Whether equal weights share one output of the circuit.
    """

    task: TaskName = "single_filter"
    layer: str | None = None
    source: str | None = None
    kernel: Annotated[int, Range(0, COUNT.high)] = 0
    collapse: bool = True


@option_group
class GridOptions:
    """The grid of gates.

    Args:
        rows: Gates in a column of the grid; by default the task's published grid, the smallest of several.
        cols: Columns of the grid; likewise.
        levels_back: Columns that a gate can look back; by default cols + 1, which reaches everything.
    """

    rows: GridSide | None = None
    cols: GridSide | None = None
    levels_back: Count | None = None


@option_group
class GateOptions:
    """What gates compute and cost, and what reading a weight would cost instead.

    Args:
        functions: Gate functions: int8 for all, or names separated by commas; a leading minus leaves names out.
        costs: File with one row a function (energy in pJ, area, delay); published for the published relative
            energies; by default derived from Horowitz 2014.
        memory: Where the weights would be read from: sram-8k, sram-32k, sram-1m or another size, dram, dram-high, or
            pJ a byte.
    """

    functions: str = "int8"
    costs: str | None = None
    memory: str = "sram-32k"

    def function_set(self, *, multiplexer: bool = False) -> FunctionSet:
        """The gate functions in the library's form; see `grid.function_set`."""
        return function_set(self.functions, multiplexer=multiplexer)

    def cost_table(self) -> CostTable:
        """The costs in the library's form; see `grid.cost_table`."""
        return cost_table(self.costs)

    @property
    def is_relative(self) -> bool:
        """Whether energies are in the published relative units instead of pJ."""
        return self.costs == PUBLISHED

    @property
    def pj_per_byte(self) -> float:
        """Energy of reading a byte of weights."""
        return memory_pj_per_byte(self.memory)


@option_group
class GoalOptions:
    """What circuits are judged by.

    Args:
        error: Sum of squares, mean square, sum or mean of absolutes, over all weights that are computed.
        threshold: Root mean squared error an output up to which error counts before energy, for cgp-es and
            --scalarise problem; by default the task's published one, the least of several.
        objectives: Of error, energy, delay, gates, area, depth; separated by commas.
    """

    error: ErrorName = "se"
    threshold: Annotated[float, WEIGHT_ERROR] | None = None
    objectives: str = "error,energy"


@option_group
class VariationOptions:
    """How genomes change.

    Args:
        mutation: One gene that counts (single), genes that count (active), or any genes: published, point,
            probabilistic.
        rate: Share of the genes that mutations other than single redraw.
        crossover: A run of gates (block), all behind a point (one_point), or gate by gate (uniform).
    """

    mutation: MutationName = "single"
    rate: Annotated[float, Range(0.0, 1.0, is_above=True)] = 0.01
    crossover: CrossoverName = "block"


@option_group
class LayerSearchOptions:
    """The search for each layer's circuits.

    Args:
        rows: Gates in a column of each circuit's grid.
        cols: Columns of each circuit's grid.
        generations: Generations of (1 + 4) for each circuit.
        circuit_seed: Seed of the circuits' searches.
    """

    rows: GridSide = 64
    cols: GridSide = 16
    generations: Annotated[int, Range(1, 10**8)] = 50_000
    circuit_seed: Seed = 0

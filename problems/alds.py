"""ALDS: low-rank decomposition of convolutions and linear layers, one budget shared among the layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from operators.ranks import BudgetRepair, BudgetSampling, LayerCrossover, RankMutation
from opt.console.errors import UsageError
from opt.console.option_groups import flat_options
from opt.problem import Objective, Operators, Reference
from opt.runs.front_files import EXACT_FRONT
from problems.data.examples import ImageExamples, Inputs, call, mapped
from problems.data.sets.data_options import DataOptions
from problems.lowrank.algorithms.alds import OWN_ALGORITHMS, rounded_up
from problems.lowrank.choices import SIZES, Choice, ChoiceTable, in_words
from problems.lowrank.decomposed_network import DecomposableNetwork, Decomposition
from problems.lowrank.goals import objectives_of
from problems.lowrank.judging import Judge
from problems.lowrank.ladder import Aggregate, Ladder
from problems.lowrank.materialise import with_pairs
from problems.lowrank.options.alds_options import (
    DecomposedNetworkOptions,
    DecompositionOptions,
    JudgingOptions,
    RetrainingOptions,
    RivalOptions,
)
from problems.lowrank.proof import counted_sizes, layer_bounds
from problems.lowrank.retraining.retraining import Retrained
from problems.lowrank.rivals.pruned_network import layer_errors, output_errors
from problems.lowrank.rivals.rivals import Rival, rival_curves
from problems.networks.storage.checkpoints import as_numpy
from problems.workloads.network_problem import NetworkProblem
from problems.workloads.plain_network import tensors_of
from problems.workloads.verifying import Disagreement
from problems.workloads.workload import Workload

UNCOMPRESSED = "uncompressed network"

_RECENT_BYTES = 400_000_000
# Examples that candidates are proved on before a search, and that show how the network computes.
_PROVED, _FEW = 300, 32
# Of answers; and of errors on data, whose squares are sums in single precision.
_TOLERANCE, _ON_DATA = 1e-3, 0.03


class ALDS(NetworkProblem):
    """Slices and ranks of every layer's low-rank decomposition: how large the network is, how much it loses.

    A layer's input channels are cut into k slices, and each slice's part of the weight is replaced by two factors of
    rank j: a grouped convolution and a 1 x 1 convolution. Two integer variables a layer, its number of slices (from
    those that divide its channels) and its rank, the highest of which leaves the layer as it is. Errors of all choices
    are looked up in a table; the optimum of the largest error for every size is known and stands beside every
    search. `--algo alds` is the published heuristic, `--algo alds-exact` that optimum.

    Args:
        data: The data set, `DataOptions`.
        network: The network to compress, or a workload of the user's, `DecomposedNetworkOptions`.
        decomposition: How layers are decomposed, `DecompositionOptions`.
        judging: What a search sees, `JudgingOptions`.
        retraining: How every network is trained further, `RetrainingOptions`.
        comparison: Which known methods stand beside it, `RivalOptions`.
    """

    own_algorithms = OWN_ALGORITHMS

    objectives: Sequence[Objective] = objectives_of("bound", ("parameters",))

    @flat_options
    def __init__(
        self,
        *,
        data: DataOptions,
        network: DecomposedNetworkOptions,
        decomposition: DecompositionOptions,
        judging: JudgingOptions,
        retraining: RetrainingOptions,
        comparison: RivalOptions,
    ) -> None:
        if retraining.retrain and judging.goal == "bound":
            raise UsageError("retrain is for the goals accuracy, loss and both; a bound needs no network")
        self.workload: Workload = network.workload_on(data)
        # factors are made on the processor; networks are judged where the workload lies
        here = self.workload if self.workload.device.type == "cpu" else self.workload.to("cpu")
        self.model = here.network
        self.goal, self.decomposition = judging.goal, decomposition
        self._retraining = retraining.of(network, here)
        self.lowrank = DecomposableNetwork(
            self.model,
            here.train.subset(slice(0, decomposition.n_calibration)).inputs,
            patterns=decomposition.layers,
            answers=self._answers,
            changes_itself=self.workload.changes_itself,
        )
        self.table = self.lowrank.table(decomposition.measure, decomposition.numbers)
        if not self.table.n_layers:
            raise UsageError("no layer is smaller when decomposed; choose others with --problem.layers")
        self.sizes, self.budget_size = judging.sizes, judging.sizes[0]
        self.ladder = Ladder(self.table, self.budget_size)
        self.budget = None if judging.budget is None else self._checked_budget(judging.budget)
        self.objectives = objectives_of(judging.goal, self.sizes, self.workload)
        is_named = isinstance(self.workload.train, ImageExamples)
        self._search = Judge(self.workload, self.workload.search, self.lowrank.laid_out)
        self._test = Judge(self.workload, self.workload.test, self.lowrank.laid_out, is_counted=is_named)
        self._n_rivals = comparison.n
        # what the search has evaluated is tested, described and saved soon after
        self._recent: dict[bytes, Decomposition | Retrained] = {}
        self._n_recent = max(1, _RECENT_BYTES // (12 * self.lowrank.whole.parameters))
        n_options = np.array([len(options) for options in self.table.options])
        super().__init__(
            n_var=2 * self.table.n_layers,
            representation="integer",
            xl=np.tile([0, 1], self.table.n_layers),
            xu=np.column_stack([n_options - 1, self.table.top.max(axis=1)]).reshape(-1),
            n_ieq_constr=0 if self.budget is None else 1,
        )

    def _answers(self, network: nn.Module, inputs: Inputs) -> Tensor:
        return self.workload.picked(call(network, mapped(inputs, Tensor.clone)))

    def _checked_budget(self, budget: float) -> int:
        total, least = self.table.total(self.budget_size), self.ladder.smallest
        if not least / total <= budget <= 1:
            raise UsageError(
                f"budget must be a fraction of the {self.budget_size} from {rounded_up(least / total):.4f}, the "
                f"smallest decomposition of these layers, to 1, got {budget}"
            )
        return int(budget * total)

    # -- search -------------------------------------------------------------------------------------

    def operators(self) -> Operators:
        """Optima of random budgets, crossover by layer, steps of ranks and slices, repair to the budget."""
        # a search of accuracy looks where networks are neither whole nor useless, or just below its budget
        high = self.ladder.largest if self.goal == "bound" else self._between(0.8)
        if self.budget is not None:
            high = self.budget
        low = min(high, max(self.ladder.smallest, 0.6 * high if self.budget is not None else self._between(0.01)))
        ways = [self._way(self.table, "max" if self.goal == "bound" else "sum")]
        if self.goal != "bound":
            # what the accuracy prefers is not known beforehand: the sum of errors, or the largest of the paper's
            schemes = sorted({scheme for options in self.table.options for scheme, _ in options})
            ways.append(self._way(self.lowrank.table("spectral", schemes), "max"))
        sampling = BudgetSampling(ways, low, high, self.table.n_layers)
        mutation = RankMutation(self.table.top, self.table.rank_size[self.budget_size])
        repair = None
        if self.budget is not None:
            rest = self.table.rest[self.budget_size]
            repair = BudgetRepair(self._layer_sizes, self.table.top, self.budget - rest)
        return Operators(sampling=sampling, crossover=LayerCrossover(), mutation=mutation, repair=repair)

    def _between(self, share: float) -> float:
        """A size, `share` of the way from the smallest decomposition to the whole network."""
        return self.ladder.smallest + share * (self.ladder.largest - self.ladder.smallest)

    def _way(self, table: ChoiceTable, aggregate: Aggregate) -> Callable[[float, np.ndarray | None], np.ndarray]:
        plain = Ladder(table, self.budget_size, aggregate=aggregate)

        def allocate(budget: float, weights: np.ndarray | None) -> np.ndarray:
            if weights is None:
                return plain.allocate(budget)
            return Ladder(table, self.budget_size, aggregate=aggregate, weights=weights).allocate(budget)

        return allocate

    def _layer_sizes(self, X: np.ndarray) -> np.ndarray:
        return self.table.layer_sizes(X, self.budget_size)

    def evaluate(self, X: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        """Objectives of (n, n_var) allocations, (n, n_obj) float64; with a budget also (n, 1) constraint values."""
        X = np.asarray(X, dtype=np.int64)
        F = self.objectives_of(X)
        if self.budget is None:
            return F
        return F, (self.table.sizes(X, self.budget_size)[:, None] - self.budget) / self.table.total(self.budget_size)

    def fast(self, X: np.ndarray) -> np.ndarray:
        """Objectives from the table of choices, and of networks with the weights that factors multiply to."""
        sizes = [self.table.sizes(X, s) / self.table.total(s) for s in self.sizes]
        bounds = self.table.errors(X).max(axis=1)
        if self.goal == "bound":
            return np.column_stack([bounds, *sizes])
        values = np.array([self._seen(self._search(self.compressed(x).dense)) for x in X])
        return np.column_stack([values, *([bounds] if self.goal == "both" else []), *sizes])

    def _seen(self, values: Mapping[str, float]) -> float:
        """What a search sees of a network's measures."""
        return values["loss"] if self.goal == "loss" else self.workload.quality(values)

    def compressed(self, x: np.ndarray) -> Decomposition | Retrained:
        """The decomposition of an allocation, (n_var,), compensated and retrained as the problem asks."""
        key = self.fingerprint(x)
        if key not in self._recent:
            if len(self._recent) >= self._n_recent:
                del self._recent[next(iter(self._recent))]
            self._recent[key] = self._made(self.table.choices(x))
        return self._recent[key]

    def _made(self, choices: Mapping[str, Choice | None]) -> Decomposition | Retrained:
        if not any(choices.values()):
            return self.lowrank.compress({})  # nothing is decomposed: the original, neither compensated nor retrained
        made = self.lowrank.compress(
            choices, on_data=self.decomposition.measure == "data", compensation=self.decomposition.compensation
        )
        return made if self._retraining is None else self._retraining.decomposed(made)

    # -- solutions ----------------------------------------------------------------------------------

    def fingerprint(self, x: np.ndarray) -> bytes:
        """The network's identity: ranks no higher than needed, one option for a layer left as it is."""
        return self.table.identity(np.asarray(x, dtype=np.int64)[None])[0].tobytes()

    def data_fingerprint(self) -> str:
        """Digest of the examples, and of what else the workload is."""
        return self.workload.data_fingerprint

    def describe(self, x: np.ndarray) -> dict[str, Any]:
        """Sizes of the network, and of each layer its slices and rank, "k x j", or "whole"."""
        X = np.asarray(x, dtype=np.int64)[None]
        row: dict[str, Any] = {f"n_{s}": int(self.table.sizes(X, s)[0]) for s in SIZES}
        if self.goal in ("accuracy", "loss"):
            row["bound"] = float(self.table.errors(X).max())
        row["decomposed"] = int((~self.table.is_whole(self.table.canonical(X))).sum())
        return row | {f"ranks_{name}": in_words(c) for name, c in self.table.choices(x).items()}

    def decode(self, x: np.ndarray) -> nn.Module:
        """The decomposed network: ordinary layers, two in place of one."""
        return self.compressed(x).materialise()

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The state of `decode(x)`; `load_decomposed` makes the network of it again."""
        return {name: as_numpy(tensor) for name, tensor in tensors_of(self.decode(x)).items()}

    def test(self, x: np.ndarray) -> dict[str, float]:
        """Accuracy and loss, or the workload's metrics, on the test set."""
        return self._test(self.decode(x) if self.is_whole else self.compressed(x).dense)

    # -- proof --------------------------------------------------------------------------------------

    def to_verify(self, sample: np.ndarray) -> np.ndarray:
        """As in `NetworkProblem`; where each candidate is trained, two."""
        return super().to_verify(sample) if self._retraining is None else sample[:2]

    def extremes(self) -> np.ndarray:
        """(4, n_var) candidates: whole, least, and with the last of each layer's options at one and at most ranks."""
        last = [len(options) - 1 for options in self.table.options]
        ones, most = self.table.whole_row(), self.table.whole_row()
        ones[0::2] = most[0::2] = last
        ones[1::2] = 1
        most[1::2] = np.maximum(1, self.table.top[np.arange(self.table.n_layers), last] - 1)
        return np.array([self.table.whole_row(), self.ladder.allocate(self.ladder.smallest), ones, most])

    def judged(self, network: nn.Module, x: np.ndarray) -> np.ndarray:
        """(n_obj,) objectives of a decoded network: by a plain loop, and by counting on its modules."""
        values = []
        if self.goal != "bound":
            values.append(self._seen(self._search.plainly(network)))
        if self.goal in ("bound", "both"):
            # the bound is that of the factors before anything is given back or trained
            choices, on_data = self.table.choices(x), self.decomposition.measure == "data"
            plain = self.lowrank.compress(choices, on_data=on_data).materialise()
            errors = layer_bounds(self.lowrank, plain, choices, self.decomposition.measure)
            values.append(max(errors.values(), default=0.0))
        few = mapped(self.lowrank.calibration, lambda tensor: tensor[:_FEW])
        sizes = counted_sizes(network, few, self.lowrank.answers)
        return np.array(values + [sizes[s] / self.table.total(s) for s in self.sizes])

    def rebuilt(self, state: dict[str, Tensor], x: np.ndarray) -> nn.Module:
        """The network with the layers that the saved tensors stand for."""
        network = with_pairs(self.model, state, source="the saved solution")
        others = {name: part for name, part in network.state_dict().items() if not isinstance(part, Tensor)}
        network.load_state_dict({**state, **others})
        network.eval()
        return network

    def tolerances(self) -> np.ndarray:
        """As in `NetworkProblem`, for the examples that are judged."""
        one = 1.0 / self._search.examples.targets.numel() + 1e-9
        of = {"error": one}
        if self.decomposition.measure == "data":
            of["bound"] = _ON_DATA
        return np.array([of.get(o.name, 1e-4 * max(1.0, abs(o.worst or 1.0))) for o in self.objectives])

    def about(self) -> list[str]:
        """The whole network's own measures, and what share of it can be decomposed."""
        few = self.workload.search.subset(slice(0, 500))
        measures = self.workload.judge(self.workload.network, few)
        values = ", ".join(f"{name} {value:.4g}" for name, value in measures.items())
        where = "the search split" if len(few) == len(self.workload.search) else f"{len(few)} search examples"
        left = {layer.name for layer in self.lowrank.layers} - {layer.name for layer in self.table.layers}
        known = self.lowrank.compressible
        layers = {name: module for name, module in known.layers.items() if name not in left}
        share = sum(m.weight.numel() for m in layers.values()) / self.lowrank.whole.parameters
        why = known.left_out | dict.fromkeys(sorted(left), "no two factors are smaller")
        known = dataclasses.replace(known, layers=layers, left_out=why, share=share)
        return [f"whole, on {where}: {values}", known.summary()]

    def _disagreements(self, X: np.ndarray) -> list[Disagreement]:
        """On some of the search examples; whatever the goal, saved networks answer as those that are judged."""
        everything = self._search
        self._search = everything.first(_PROVED)
        try:
            found = super()._disagreements(X)
            if not found and not self.is_whole:
                found = self._otherwise(X)
            return found
        finally:
            self._search = everything

    def _otherwise(self, X: np.ndarray) -> list[Disagreement]:
        """Candidates whose decoded network answers otherwise than the one with the weights that its factors make."""
        few = mapped(self.lowrank.calibration, lambda tensor: tensor[:_FEW])
        for x in X:
            made = self.compressed(x)
            with torch.no_grad():
                a, b = (self.lowrank.answers(n, few).double() for n in (made.dense, made.materialise()))
            scale = max(1.0, float(a.abs().nan_to_num(posinf=0.0).max()))
            if a.shape != b.shape or not torch.allclose(a, b, rtol=0, atol=_TOLERANCE * scale, equal_nan=True):
                return [Disagreement("two layers in place of one answer otherwise than one with their weights")]
        return []

    # -- what is known ------------------------------------------------------------------------------

    def _calc_pareto_front(self, *args: Any, **kwargs: Any) -> np.ndarray | None:
        """Every optimum of the largest error over one size, (m, 2); None where accuracy or two sizes count."""
        if self.goal != "bound" or len(self.sizes) > 1:
            return None
        errors, sizes = self.ladder.front()
        is_within = sizes <= (self.ladder.largest if self.budget is None else self.budget)
        return np.column_stack([errors, sizes / self.table.total(self.budget_size)])[is_within]

    def references(self) -> list[Reference]:
        """The uncompressed network, optima of the largest error, and rival methods over budgets."""
        known = [Reference(UNCOMPRESSED, X=self.table.whole_row()[None])]
        if self.budget is not None:
            known = []
        high = self.ladder.largest if self.budget is None else self.budget
        low = min(high, max(self.ladder.smallest, 0.05 * self.ladder.largest))
        if self.goal != "bound" or len(self.sizes) > 1:
            budgets = np.geomspace(low, high, max(2, self._n_rivals)).clip(low, high)
            known.append(Reference("least largest error", X=np.unique(self.ladder.allocate_many(budgets), axis=0)))
        else:
            sizes = self.ladder.front()[1]
            X = self.ladder.allocate_many(sizes[sizes <= high], spend=False)
            F = self.evaluate(X)
            known.append(Reference(EXACT_FRONT, F=F if self.budget is None else F[0]))
        if not self._n_rivals:
            return known
        top = max(low, min(high, self._between(0.9)))
        curves = rival_curves(
            self.lowrank,
            np.geomspace(low, top, self._n_rivals).clip(low, top),
            size=self.budget_size,
            with_pruning=self.goal != "bound",
        )
        if self._retraining is not None:
            curves = {name: [self._retrained(rival) for rival in rivals] for name, rivals in curves.items()}
        return known + [self._rival_reference(name, rivals) for name, rivals in curves.items() if rivals]

    def _retrained(self, rival: Rival) -> Rival:
        assert self._retraining is not None
        if rival.decomposition is None:
            model = self._retraining.pruned(rival.model)
        else:
            model = self._retraining.decomposed(rival.decomposition).dense
        return dataclasses.replace(rival, model=model)

    def _rival_reference(self, name: str, rivals: Sequence[Rival]) -> Reference:
        F, tests, rows = [], [], []
        for rival in rivals:
            values: list[float] = []
            if self.goal != "bound":
                values.append(self._seen(self._search(rival.model)))
                tests.append(self._test(rival.model))
            if self.goal in ("bound", "both"):
                values.append(self._bound(rival))
            F.append(values + [rival.sizes[s] / self.table.total(s) for s in self.sizes])
            rows.append({f"n_{s}": int(rival.sizes[s]) for s in SIZES})
        return Reference(name, F=np.array(F), test=tests or None, parameters=rows)

    def _bound(self, rival: Rival) -> float:
        """The largest error of a layer by the problem's measure; of other factors than the table's, by the paper's."""
        if self.decomposition.measure == "data":
            return float(max(output_errors(self.lowrank, rival.model).values()))
        if rival.choices is not None and not rival.on_data:
            return float(self.table.errors(self.table.row(rival.choices)[None]).max())
        return float(max(layer_errors(self.lowrank, rival.model).values()))

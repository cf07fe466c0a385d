"""Trial of groups: half of each is cut out of a network of drawn weights, which must answer as the masked one does."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from problems.data.examples import Inputs, call, mapped
from problems.networks.channels.cutting import cut, kept_entries, masked, statistics_of_kept
from problems.networks.channels.groups import Group
from problems.networks.channels.layout import Kept
from problems.networks.channels.tracing import step_by_step, tensors_in

TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-4}
"""Largest differences between answers, relative to the largest answer, by the precision that the network takes."""

_ROUGH = 3e-2
_SPREAD = 0.1
_MOST_DRAWS = 4
_FEWEST_TIMES = 10


@dataclass(frozen=True)
class Run:
    """How a network is run to see its channels.

    Attributes:
        inputs: Of some examples; left as they are.
        pick: Takes what is judged from the outputs.
    """

    inputs: Inputs
    pick: Callable[[Any], Any] = lambda outputs: outputs

    def __call__(self, network: nn.Module) -> Any:
        """What is judged of the network's outputs."""
        return self.pick(call(network, mapped(self.inputs, Tensor.clone)))

    def double(self) -> Run:
        """The same examples in double precision."""
        return Run(mapped(self.inputs, lambda t: t.double() if t.is_floating_point() else t), self.pick)


class Trial:
    """Networks with drawn weights and statistics, on which groups are tried.

    The weights are drawn, since zero biases or equal norms would hide channels that do not belong together. Where half
    of a group makes no difference to the answers, as behind rectifiers that are all shut, another network is drawn.

    Args:
        network: In evaluation mode; left as it is.
        run: Runs it.
    """

    def __init__(self, network: nn.Module, run: Run) -> None:
        self._rng = np.random.default_rng(0)
        self._network, self._run = network, run
        self._draws: list[_Draw] = []

    def failure(self, groups: Sequence[Group]) -> str:
        """Why the groups cannot be cut truly; "" where they can."""
        if not groups:
            return ""
        for number in range(_MOST_DRAWS):
            reason = self._draw(number).failure(kept_entries(groups, self._some(groups)))
            if reason is not None:
                return reason
        return "without half of it, the network answers as before, so that it cannot be tried"

    def keeps_zero(self, groups: Sequence[Group], rows: Callable[[np.ndarray], Mapping[str, np.ndarray]]) -> bool:
        """Whether the network with zeros in rows of parameters answers as the cut one.

        Args:
            groups: That are cut.
            rows: Bool masks of parameters, by name, of a mask of all places of the groups.
        """
        for number in range(2):
            masks = self._some(groups)
            if not self._draw(number).keeps_zero(kept_entries(groups, masks), rows(np.concatenate(masks))):
                return False
        return True

    def _draw(self, number: int) -> _Draw:
        while len(self._draws) <= number:
            self._draws.append(_Draw(self._network, self._run, seed=len(self._draws)))
        return self._draws[number]

    def _some(self, groups: Sequence[Group]) -> list[np.ndarray]:
        """Half of a group; of several, a number of each that is drawn, so that they do not fit each other by chance."""
        masks = []
        for group in groups:
            n = group.size // 2 if len(groups) == 1 else self._rng.integers(1, group.size)
            masks.append(np.isin(np.arange(group.size), self._rng.choice(group.size, n, replace=False)))
        return masks


class _Draw:
    """A network with drawn weights, in double precision if it takes that, and its answers."""

    def __init__(self, network: nn.Module, run: Run, *, seed: int) -> None:
        drawn = _drawn(network, seed=seed)
        self._network, self._run, self._tolerance = drawn, run, TOLERANCES[torch.float32]
        kinds = {p.dtype for p in network.parameters() if p.is_floating_point()}
        if kinds - {torch.float32, torch.float64}:
            self._tolerance = _ROUGH
        try:
            double = copy.deepcopy(drawn).double()
            outputs = self._answers(double, run.double())
            if all(t.dtype == torch.float64 for t in outputs if t.is_floating_point()):
                self._network, self._run, self._tolerance = double, run.double(), TOLERANCES[torch.float64]
        except Exception:  # a network that casts its inputs, or makes numbers of its own, need not take doubles
            pass
        with step_by_step():
            self._whole = self._answers(copy.deepcopy(self._network), self._run)

    def failure(self, kept: Kept) -> str | None:
        """Why a cut is not true; "" where it is, None where it shows nothing."""
        try:
            got = self._answers(cut(self._network, kept), self._run)
        except Exception as error:  # a forward of the user's may be bound to its widths in any way
            return f"cut by half, the network fails with {type(error).__name__}: {' '.join(str(error).split())[:120]}"
        whole = masked(self._network, kept)
        try:
            with statistics_of_kept(whole, kept), step_by_step():
                expected = self._answers(whole, self._run)
        except Exception as error:  # the masked network may divide by what is zero
            return f"its masked network fails with {type(error).__name__}"
        if not all(bool(t.isfinite().any()) for t in expected):
            return "its masked network gives no finite answers"
        if worst := self._difference(got, expected, self._tolerance):
            return f"cut by half, the network answers otherwise than masked, by {worst:.1g} of the largest answer"
        return "" if self._difference(self._whole, expected, _FEWEST_TIMES * self._tolerance) else None

    def keeps_zero(self, kept: Kept, rows: Mapping[str, np.ndarray]) -> bool:
        """Whether zeros in rows of parameters alone do what the cut does."""
        zeroed = copy.deepcopy(self._network)
        parameters = dict(zeroed.named_parameters())
        with torch.no_grad():
            for name, mask in rows.items():
                parameters[name].mul_(torch.from_numpy(mask).to(parameters[name].device))
            for name, buffer in zeroed.named_buffers():
                if name.endswith("running_mean") and 0 in kept.get(name, {}):
                    # in the search norms take the statistics of the images at hand: of a channel of zeros they are zero
                    stays = torch.from_numpy(np.isin(np.arange(len(buffer)), kept[name][0]))
                    buffer.mul_(stays.to(buffer.device))
        got = self._answers(cut(self._network, kept), self._run)
        return not self._difference(got, self._answers(zeroed, self._run), self._tolerance)

    def _answers(self, network: nn.Module, run: Run) -> list[Tensor]:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return [t.detach() for t in tensors_in(run(network))]

    def _difference(self, got: list[Tensor], expected: list[Tensor], tolerance: float) -> float:
        """The largest difference relative to the largest answer; 0 where all are within the tolerance."""
        for a, b in zip(got, expected, strict=True):
            if a.shape != b.shape:
                return float("inf")
            a, b = a.double(), b.double()
            scale = float(b.nan_to_num(0, 0, 0).abs().max())
            same = ((a - b).abs() <= tolerance * scale) | (a == b) | (a.isnan() & b.isnan())
            if not bool(same.all()):
                return float((a - b).abs().nan_to_num(torch.inf).max()) / max(scale, 1e-300)
        return 0.0


def _drawn(network: nn.Module, *, seed: int) -> nn.Module:
    """A copy with weights near a network's own, none of which is like another; farther away with a higher seed."""
    drawn = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(1 + seed)
    far = _SPREAD * 3**seed
    statistics = [(n, t) for n, t in drawn.named_buffers() if n.rpartition(".")[2] in ("running_mean", "running_var")]
    new: dict[int, Tensor] = {}
    for name, tensor in [*drawn.named_parameters(), *statistics]:
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        values = tensor.detach().float()
        spread = float(values.std()) if values.numel() > 1 else 0.0
        spread = spread if 0 < spread < float("inf") else _SPREAD
        noise = torch.randn(values.shape, generator=generator)
        if name.endswith("running_var"):
            values = values.abs() * (1 + far * noise.abs()) + far * noise.abs() + 0.05
        else:
            values = values * (1 + far * noise) + far * spread * torch.randn(values.shape, generator=generator)
        new[id(tensor)] = values.to(tensor.dtype)
    with torch.no_grad():
        for tensor in [*drawn.parameters(), *drawn.buffers()]:
            if id(tensor) in new:
                tensor.data = tensor.data.clone() if tensor.is_inference() else tensor.data
                tensor.data.copy_(new[id(tensor)])
    return drawn

"""Cuttable channels of a network: groups that were found, tried, and can be cut out of it whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.data.examples import len_of
from problems.networks.channels.attributes import with_attributes
from problems.networks.channels.cost import Uses, counted, uses_of
from problems.networks.channels.cutting import cut, kept_entries
from problems.networks.channels.groups import Group, LeftOut, groups_of, overlap
from problems.networks.channels.layout import Kept
from problems.networks.channels.operations import Splitting
from problems.networks.channels.tracing import Trace, step_by_step, traced
from problems.networks.channels.trial import Run, Trial

_SPLITTINGS: tuple[Splitting, ...] = ("last", "middle", "first")
_LONGEST = 8


class Cuttable:
    """The groups of channels of a network that can be cut truly, and what is left out.

    Args:
        network: In evaluation mode, with computed weights baked in; left as it is.
        run: Runs it on some examples.
        is_chosen: Whether a group of these layers is asked for; by default all are.

    Attributes:
        groups: In the order in which their roots run.
        left_out: Layers whose channels stay, with reasons.
        uses: How often weights are used, for costs.

    Raises:
        UsageError: Nothing can be cut, with the reasons.
    """

    def __init__(
        self, network: nn.Module, run: Run, is_chosen: Callable[[Sequence[str]], bool] = lambda layers: True
    ) -> None:
        self._network, self._run, self._is_chosen = network, run, is_chosen
        self.groups: list[Group] = []
        self._reasons: dict[str, str] = {}
        self._order: dict[str, int] = {}
        self._trial = Trial(network, run)
        self._choose(self._candidates())
        self.groups.sort(key=lambda group: self._order.get(group.root, len(self._order)))
        self.left_out = self._left_out()
        if not self.groups:
            raise UsageError(f"no channels of this network can go: {self.reasons() or 'it has no layers of channels'}")
        with step_by_step():
            self.uses: Uses = uses_of(copy.deepcopy(network), run, len_of(run.inputs))
        kept = kept_entries(self.groups, [np.arange(group.size) % 2 == 0 for group in self.groups])
        # weights of a layer that runs along an axis of channels are used less often in a smaller network
        self._is_counted = self.uses.cost(kept) != self._counted(kept)

    @property
    def order(self) -> list[str]:
        """Names of modules that own tensors, in the order in which they run."""
        return list(self._order)

    def cost(self, kept: Kept) -> tuple[int, int]:
        """Parameters, and multiply-adds for one example, of the network that is left."""
        return self._counted(kept) if self._is_counted else self.uses.cost(kept)

    def _counted(self, kept: Kept) -> tuple[int, int]:
        with step_by_step():
            return counted(cut(self._network, kept), self._run, len_of(self._run.inputs))

    def keeps_zero(self, rows: Callable[[np.ndarray], Mapping[str, np.ndarray]]) -> bool:
        """Whether zeros in rows of layers and norms alone make the network that is left.

        Args:
            rows: Bool masks of parameters, by name, of a mask of all places.
        """
        return self._trial.keeps_zero(self.groups, rows)

    def _traced(self, splitting: Splitting) -> Trace:
        try:
            return traced(copy.deepcopy(self._network), self._run, splitting)
        except Exception as error:  # a user's network may defy tracing in any way: the reason is passed on
            reason = " ".join(str(error).split())[:200]
            raise UsageError(
                f"the network's channels cannot be traced: {type(error).__name__}: {reason}; "
                "search --problem.level weights"
            ) from None

    def _candidates(self) -> list[Group]:
        """Groups by every way of splitting, those of most parameters first, each once."""
        found: dict[bytes, Group] = {}
        for splitting in _SPLITTINGS:
            trace = self._traced(splitting)
            groups, reasons = groups_of(self._network, trace)
            self._order = self._order or {name: k for k, name in enumerate(trace.running)}
            self._check_ways(trace)
            for group in groups:
                if self._is_chosen(group.layers):
                    found.setdefault(group.key, group)
            for layer, reason in reasons.items():
                self._reasons.setdefault(layer, reason)
            if not trace.n_splits:
                break
        return sorted(found.values(), key=lambda g: (-sum(map(self._numel, g.layers)), -g.size))

    def _check_ways(self, trace: Trace) -> None:
        """Refuse a network of which only one way was seen, where other values may take another."""
        if trace.is_decided_by_values:
            raise UsageError(
                "no channels of this network can go: its forward decides by values which way it takes, and only one "
                f"was seen ({', '.join(trace.running[:_LONGEST])}); search --problem.level weights"
            )

    def _choose(self, candidates: Sequence[Group]) -> None:
        """Take groups in their order, each that can be cut and holds nothing of one before."""
        for group in candidates:
            if not any(overlap(group, other) for other in self.groups):
                form, reason = self._tried(group)
                if form is not None:
                    self.groups.append(form)
                else:
                    self._reasons.update(dict.fromkeys(group.layers, reason))
        self._settle()

    def _tried(self, group: Group) -> tuple[Group | None, str]:
        """A form of a group that can be cut by itself, or the reason why there is none."""
        reason = self._trial.failure([group])
        if not reason:
            return group, ""
        for form in with_attributes(self._network, group):
            if not any(overlap(form, other) for other in self.groups) and not self._trial.failure([form]):
                return form, ""
        return None, reason

    def _settle(self) -> None:
        """Groups that can be cut one by one may not go together: then later ones are left out."""
        if not self.groups or not self._trial.failure(self.groups):
            return
        settled: list[Group] = []
        for group in self.groups:
            if reason := self._trial.failure([*settled, group]):
                self._reasons.update(dict.fromkeys(group.layers, f"beside the groups before it, {reason}"))
            else:
                settled.append(group)
        self.groups = settled

    def _left_out(self) -> list[LeftOut]:
        served = {layer for group in self.groups for layer in group.layers}
        n = sum(p.numel() for p in self._network.parameters())
        return [
            LeftOut(layer, reason, self._numel(layer) / max(n, 1))
            for layer, reason in self._reasons.items()
            if layer not in served and self._is_chosen([layer])
        ]

    def _numel(self, layer: str) -> int:
        tensors = dict(self._network.named_parameters(remove_duplicate=False))
        own = [t for name, t in tensors.items() if name == layer or name.rpartition(".")[0] == layer]
        return sum(t.numel() for t in own)

    def summary(self) -> str:
        """One line: the share of the parameters that hang on channels that can go, and what is left out."""
        tensors = dict(self._network.named_parameters())
        n = sum(p.numel() for p in tensors.values())
        held = sum(tensors[name].numel() for name in {k for g in self.groups for k in g.places} & set(tensors))
        text = f"channels that can be cut hold {held / max(n, 1):.1%} of the parameters, in {len(self.groups)} groups"
        return text + (f"; left as they are: {self.reasons()}" if self.left_out else "")

    def reasons(self) -> str:
        """Layers that are left out, with shares of the parameters, in a line."""
        by_reason: dict[str, list[LeftOut]] = {}
        for item in self.left_out:
            by_reason.setdefault(item.reason, []).append(item)
        parts = []
        for reason, items in by_reason.items():
            names = ", ".join(item.layer for item in items[:_LONGEST]) + (" ..." if len(items) > _LONGEST else "")
            parts.append(f"{names} ({sum(item.share for item in items):.1%} of the parameters: {reason})")
        return "; ".join(parts)

    def parameter(self, name: str) -> Tensor:
        """A tensor of the network by its name."""
        return dict([*self._network.named_parameters(), *self._network.named_buffers()])[name]

"""How good decomposed networks are on one split of a workload, by whichever way is fastest for what is judged."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import nn

from problems.data.examples import Examples, ImageExamples, Inputs
from problems.networks.training.training import evaluate
from problems.workloads.layerwise_quality import counts_right_classes
from problems.workloads.workload import Workload

_BATCH = 100


class Judge:
    """Measures of networks on examples.

    Args:
        workload: What is compressed and how it is judged.
        examples: On what.
        laid_out: Brings inputs into the layout in which the network is fastest.
        is_counted: Whether right classes and their cross-entropy are all that is asked, where the workload is judged by
            them; else all its metrics are.
    """

    def __init__(
        self, workload: Workload, examples: Examples, laid_out: Callable[[Inputs], Inputs], *, is_counted: bool = True
    ) -> None:
        self.workload, self.examples = workload, examples
        self._laid_out, self._is_counted = laid_out, is_counted
        is_plain = workload.loss == "cross-entropy" and counts_right_classes(workload, examples)
        self._is_fast = is_counted and is_plain
        if self._is_fast:
            # of a named data set only the layout that is used is kept
            inputs = examples.split.images if isinstance(examples, ImageExamples) else examples.inputs
            self._images = laid_out(inputs)

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Metrics and loss of a network by name."""
        if not self._is_fast:
            return self.plainly(network)
        loss, accuracy = evaluate(self._moved(network), self._images, self.examples.targets, batch_size=_BATCH)  # type: ignore[arg-type]
        return {"accuracy": accuracy, "loss": loss}

    def plainly(self, network: nn.Module) -> dict[str, float]:
        """The workload's metrics and loss, by a plain loop."""
        return self.workload.judge(self._moved(network), self.examples)

    def _moved(self, network: nn.Module) -> nn.Module:
        """The network where the examples are."""
        device = self.workload.device
        return network if device.type == "cpu" else copy.deepcopy(network).to(device)

    def first(self, n: int) -> Judge:
        """The same on the first examples."""
        few = self.examples.subset(slice(0, n))
        return Judge(self.workload, few, self._laid_out, is_counted=self._is_counted)

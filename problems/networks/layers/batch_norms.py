"""Batch norms: which modules they are, and the recalibration of their statistics on images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def batch_norms(model: nn.Module) -> list[Any]:
    """The batch norms of a network, in the order of its modules."""
    return [module for module in model.modules() if isinstance(module, BATCH_NORMS)]


@contextmanager
def recalibration(model: nn.Module, *, is_biased: bool = False) -> Iterator[None]:
    """While open, a pass of images gives batch norms the statistics of what they meet; behind it they are fixed.

    Each norm normalises what it meets by its own statistics, so that those behind it meet what they will meet later.
    One that runs several times takes the mean over its runs; one that does not run, or keeps no statistics, stays as
    it is.

    Args:
        model: In evaluation mode, and again behind it.
        is_biased: Whether variances are over n, by which a norm normalises a batch in training; else over n - 1, which
            is what torch keeps.
    """
    norms = [norm for norm in batch_norms(model) if norm.running_mean is not None and norm.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    n_values: dict[Any, int] = {}

    def meet(norm: Any, arguments: tuple[Tensor, ...]) -> None:
        if norm not in n_values:
            norm.reset_running_stats()
        n_values[norm] = arguments[0].numel() // arguments[0].shape[1]

    handles = [norm.register_forward_pre_hook(meet) for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain mean over what it meets
        norm.train()
    try:
        yield
    finally:
        for norm, momentum, handle in zip(norms, momenta, handles, strict=True):
            handle.remove()
            norm.momentum = momentum
            norm.eval()
    if is_biased:
        for norm, n in n_values.items():
            norm.running_var.mul_((n - 1) / n)


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """While open, batch norms normalise by the statistics of what they meet, and leave their own as they are."""
    norms = batch_norms(model)
    before = [(norm.training, norm.track_running_stats) for norm in norms]
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, (is_training, tracks) in zip(norms, before, strict=True):
            norm.training, norm.track_running_stats = is_training, tracks

"""Norms of every kind, with and without statistics."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from odd_networks.case import N_CLASSES, chain, convolution, odd, rows, small_mlp, wired

BATCH = "depend on the batch"


def _around(norm: nn.Module) -> nn.Module:
    return chain(
        convolution(3, 6), norm, nn.ReLU(), convolution(6, 4), nn.ReLU(), nn.Flatten(), nn.Linear(256, N_CLASSES)
    )


@odd()
def group_norm() -> nn.Module:
    """Statistics over groups of channels."""
    return _around(nn.GroupNorm(3, 6))


@odd()
def instance_norm() -> nn.Module:
    """Statistics of each image and channel, with parameters."""
    return _around(nn.InstanceNorm2d(6, affine=True))


@odd()
def instance_norm_with_statistics() -> nn.Module:
    """An instance norm that keeps running statistics."""
    return _around(nn.InstanceNorm2d(6, affine=True, track_running_stats=True))


@odd()
def local_response_norm() -> nn.Module:
    """Without parameters, over neighbouring channels."""
    return _around(nn.LocalResponseNorm(3))


@odd()
def layer_norm_over_images() -> nn.Module:
    """A layer norm with a parameter a pixel."""
    return _around(nn.LayerNorm([6, 8, 8]))


@odd(rows)
def rms_norm() -> nn.Module:
    """Scaled, not centred."""
    return chain(nn.Linear(12, 16), nn.RMSNorm(16), nn.SiLU(), nn.Linear(16, N_CLASSES))


@odd()
def batch_norm_without_parameters() -> nn.Module:
    """Running statistics, no scale and no shift."""
    norm = nn.BatchNorm2d(6, affine=False)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return _around(norm)


@odd()
def batch_norm_of_dead_channels() -> nn.Module:
    """Running variances of zero, as channels leave that never fire."""
    norm = nn.BatchNorm2d(6)
    norm.running_var[:2] = 0
    return _around(norm)


@odd()
def sync_batch_norm() -> nn.Module:
    """As training on several GPUs leaves it."""
    return _around(nn.SyncBatchNorm(6))


@odd(noted=BATCH)
def batch_norm_without_statistics() -> nn.Module:
    """Normalises by the batch at hand, in evaluation too."""
    return _around(nn.BatchNorm2d(6, track_running_stats=False))


@odd(rows, noted=BATCH)
def vector_batch_norm_without_statistics() -> nn.Module:
    """The same on vectors: it cannot answer a single example."""
    norm = nn.BatchNorm1d(16, track_running_stats=False)
    return chain(nn.Linear(12, 16), norm, nn.ReLU(), nn.Linear(16, N_CLASSES))


@odd(rows, noted=BATCH)
def centred_over_the_batch() -> nn.Module:
    """Takes the mean of the batch away."""
    return wired(lambda self, x: self.inner(x - x.mean(0)), inner=small_mlp())


@odd(rows, noted=BATCH)
def order_of_the_batch() -> nn.Module:
    """Each example sees the one before it, as where batch and time are swapped."""
    return wired(lambda self, x: self.inner(x + x.roll(1, 0)), inner=small_mlp())


@odd(noted="own buffers")
def statistics_that_go_on() -> nn.Module:
    """A batch norm that its forward puts back into training: it changes its statistics in evaluation."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = functional.batch_norm(self.first(x), self.norm.running_mean, self.norm.running_var, training=True)
        return self.out(functional.relu(x).flatten(1))

    return wired(forward, first=convolution(3, 6), norm=nn.BatchNorm2d(6), out=nn.Linear(384, N_CLASSES))


@odd()
def norms_that_do_not_run() -> nn.Module:
    """A batch norm and a layer that forward does not use."""
    return wired(
        lambda self, x: self.out(functional.relu(self.first(x)).flatten(1)),
        first=convolution(3, 6),
        spare=nn.Linear(7, 3),
        spare_norm=nn.BatchNorm2d(6),
        out=nn.Linear(384, N_CLASSES),
    )


@odd()
def frozen_batch_norm() -> nn.Module:
    """`train` keeps the norms in evaluation, and returns nothing."""

    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> None:  # type: ignore[override]
            super().train(mode)
            self[1].eval()

    return Frozen(*_around(nn.BatchNorm2d(6)))

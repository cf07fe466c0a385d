"""A network's weights along its training, trained once for each seed and then kept."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.data.data import Dataset
from problems.masking.masked_sgd import train_masked
from problems.networks.storage.checkpoints import read_safetensors
from problems.networks.storage.kept import cache_file, cache_key, kept
from problems.networks.training.schedule import Schedule

# Part of the key of every kept trajectory: raise it when training changes what it makes.
_VERSION = 1

State = dict[str, Tensor]


def digest_of(model: nn.Module) -> str:
    """Hex digest of a network's names, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def trained_states(
    model: nn.Module, dataset: Dataset, *, epochs: Sequence[int], schedule: Schedule, seed: int
) -> dict[int, State]:
    """State dicts of a network after some epochs of one training, from the cache where they are.

    Args:
        model: At its initial weights; left as it is.
        dataset: Its train split is trained on.
        epochs: Epochs wanted, 0 = initial; none beyond the schedule's.
        schedule: The whole training; epochs before its end are states on the way.
        seed: Of the training.
    """
    wanted = tuple(sorted({int(e) for e in epochs}))
    if wanted and (wanted[0] < 0 or wanted[-1] > schedule.epochs):
        raise ValueError(f"epochs must lie from 0 to the schedule's {schedule.epochs}, got {list(wanted)}.")
    initial = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    made_by = {
        "version": _VERSION,
        "data": dataset.fingerprint,
        "initial": digest_of(model),
        "schedule": asdict(schedule),
        "seed": seed,
    }
    key = cache_key(made_by)

    @functools.cache  # one training gives the states of all epochs that are not kept
    def trajectory() -> dict[int, State]:
        trained = train_masked(model, dataset.train, schedule=schedule, seed=seed, keep_epochs=wanted)
        model.load_state_dict(initial)
        return trained.states

    def state_after(epoch: int) -> State:
        file = cache_file("trajectories", f"{key}-{epoch}", name=dataset.name)
        make = lambda: trajectory()[epoch]  # noqa: E731 - as short as its use
        return kept(file, make, read=lambda path: _read(path, initial), encode=_encode).value

    return {epoch: state_after(epoch) if epoch else initial for epoch in wanted}


def _encode(state: State) -> bytes:
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in state.items()})


def _read(file: Path, like: State) -> State:
    state, _ = read_safetensors(file)
    if {k: t.shape for k, t in state.items()} != {k: t.shape for k, t in like.items()}:
        raise UsageError(f"{file} holds another network's weights")
    return state

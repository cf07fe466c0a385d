"""A network's weights along its training, trained once for each seed and then kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.data.data import Dataset
from problems.data.sources import cache_folder
from problems.masking.masked_sgd import train_masked
from problems.networks.storage.checkpoints import read_safetensors, write_whole
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
    model: nn.Module, dataset: Dataset, *, epochs: Sequence[int], schedule: Schedule, seed: int, keep: bool = True
) -> dict[int, State]:
    """State dicts of a network after some epochs of one training, from the cache where they are.

    Args:
        model: At its initial weights; left as it is.
        dataset: Its train split is trained on.
        epochs: Epochs wanted, 0 = initial; none beyond the schedule's.
        schedule: The whole training; epochs before its end are states on the way.
        seed: Of the training.
        keep: Whether the cache is used; a cache that can't be written costs a training the next time.
    """
    wanted = tuple(sorted({int(e) for e in epochs}))
    if wanted and (wanted[0] < 0 or wanted[-1] > schedule.epochs):
        raise ValueError(f"epochs must lie from 0 to the schedule's {schedule.epochs}, got {list(wanted)}.")
    initial = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    if wanted in ((), (0,)):
        return {0: initial} if wanted else {}
    asked = {
        "version": _VERSION,
        "data": dataset.fingerprint,
        "initial": digest_of(model),
        "schedule": asdict(schedule),
        "seed": seed,
    }
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:20]
    folder = cache_folder() / "trajectories"
    states = {0: initial}
    files = {epoch: folder / f"{Path(dataset.name).name[:50]}-{key}-{epoch}.safetensors" for epoch in wanted if epoch}
    if keep and all(file.is_file() for file in files.values()):
        try:
            return {e: s for e, s in states.items() if e in wanted} | {e: _read(f, initial) for e, f in files.items()}
        except UsageError:
            pass  # a damaged file is trained anew
    trained = train_masked(model, dataset.train, schedule=schedule, seed=seed, keep_epochs=wanted)
    model.load_state_dict(initial)
    states |= trained.states
    if keep:
        try:
            for epoch, file in files.items():
                write_whole(file, safetensors.torch.save({k: t.contiguous() for k, t in states[epoch].items()}))
        except UsageError:
            pass
    return {epoch: states[epoch] for epoch in wanted}


def _read(file: Path, like: State) -> State:
    state, _ = read_safetensors(file)
    if {k: t.shape for k, t in state.items()} != {k: t.shape for k, t in like.items()}:
        raise UsageError(f"{file} is of another network; remove it.")
    return state

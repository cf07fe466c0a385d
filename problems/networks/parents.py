"""Trained parent networks, trained once and kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from opt.errors import UsageError
from problems.networks.data import Dataset
from problems.networks.models import FullyConnected, load_fully_connected, load_metadata, save_fully_connected
from problems.networks.sources import cache_folder
from problems.networks.training import evaluate, train

# Part of the key of every cached parent: raise it when training changes what it makes.
_VERSION = 2


def trained_parent(
    dataset: Dataset,
    *,
    widths: Sequence[int] = (256, 256),
    seed: int = 0,
    epochs: int = 10,
    batch_size: int = 100,
    lr: float = 1e-3,
    patience: int = 3,
    validation: float = 0.1,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> tuple[FullyConnected, dict[str, object]]:
    """A fully connected network trained on the train split, from the cache if the same one was trained before.

    Args:
        dataset: Its train split is trained on.
        widths: Neurons of each hidden layer.
        seed: Of the initial weights and of the training.
        epochs: As in `train`.
        batch_size: As in `train`.
        lr: As in `train`.
        patience: As in `train`.
        validation: As in `train`.
        cache_dir: Folder of trained parents; None takes `parents` in the cache folder
            (`$OPT_CACHE_DIR`, else ~/.cache/opt-compress).
        progress: As in `train`.

    Returns:
        The network, and its info: `key`, `path`, `from_cache`, `accuracy` and `loss` on the search split,
        `n_epochs`, `best_epoch`, and `asked` with everything that made it. A cache that can't be written
        costs a training the next time and is told in `info["path"]` as None; a damaged cached file is trained anew.

    Raises:
        ValueError: an option out of range.
    """
    asked: dict[str, object] = {
        "version": _VERSION,
        "fingerprint": dataset.fingerprint,
        "widths": [dataset.n_inputs, *(int(w) for w in widths), dataset.n_classes],
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "patience": patience,
        "validation": validation,
    }
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:20]
    folder = Path(cache_dir).expanduser() if cache_dir is not None else cache_folder() / "parents"
    path = folder / f"{Path(dataset.name).name}-{key}.safetensors"
    cached = _read_cached(path, asked)
    if cached is not None:
        model, info = cached
        return model, {**info, "path": str(path), "from_cache": True}
    model = FullyConnected((dataset.n_inputs, *widths, dataset.n_classes), seed=seed)
    history = train(
        model,
        dataset.train,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        patience=patience,
        validation=validation,
        progress=progress,
    )
    loss, accuracy = evaluate(model, dataset.search.images, dataset.search.labels)
    info = {
        "key": key,
        "asked": asked,
        "accuracy": accuracy,
        "loss": loss,
        "n_epochs": len(history.epochs),
        "best_epoch": history.best,
    }
    written: str | None = str(path)
    try:
        save_fully_connected(model, path, metadata=info)
    except UsageError:
        written = None  # the network itself is there; a full disk must not cost it
    return model, {**info, "path": written, "from_cache": False}


def _read_cached(path: Path, asked: dict[str, object]) -> tuple[FullyConnected, dict[str, object]] | None:
    if not path.is_file():
        return None
    try:
        model, info = load_fully_connected(path), load_metadata(path)
    except UsageError:
        return None
    # The stored description is compared too: a file renamed or cut by hand is not what its name says.
    return (model, info) if info.get("asked") == asked and list(model.widths) == asked["widths"] else None

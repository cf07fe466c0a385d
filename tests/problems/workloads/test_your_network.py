"""The examples of docs/your-network.md: from a trained network and arrays to a front."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opt import UsageError, load_run
from problems.data.picture_folder import picture_folder

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "your_network"


def draw_pictures(folder: Path, *, n: int = 60, side: int = 20) -> Path:
    """Circles and crosses of many sizes, as PNG files."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    for name in ("circle", "cross"):
        (folder / name).mkdir(parents=True)
        for k in range(n):
            size = rng.uniform(3, 8)
            distance = np.hypot(rows, columns) - size
            shape = np.abs(distance) < 1.2 if name == "circle" else (np.abs(rows) < 1.2) | (np.abs(columns) < 1.2)
            pixels = 200 * shape + rng.integers(0, 40, shape.shape)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{k:03d}.png")
    return folder


@pytest.mark.parametrize("name", ["table", "tokens", "pictures"])
def test_examples_end_with_a_front(name, tmp_path):
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    if name == "pictures":
        env["PICTURES"] = str(draw_pictures(tmp_path / "pictures"))
    small = ("--n-eval", "30", "--algo.pop_size", "10", "--quiet", "--out", str(tmp_path / "runs"))
    command = [sys.executable, "-m", "opt.solve", str(ROOT / "problems/threshold.py"), *small]
    command += ["--problem.workload", str(FOLDER / f"{name}.py"), "--problem.layers", "*"]
    answer = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    run = load_run(next((tmp_path / "runs").iterdir()))
    assert len(run.front) and any(
        n.startswith("unpruned, on the search split: loss ") for n in run.manifest["verified"]
    )
    measures = {"table": ["test_rmse", "test_r2"], "tokens": ["test_accuracy"], "pictures": ["test_accuracy"]}[name]
    assert all(math.isfinite(value) for column in measures for value in run.front[column])
    again = subprocess.run(
        [sys.executable, "-m", "opt.solve", "--resume", str(run.path)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert again.returncode == 0 and "nothing was changed" in again.stdout, again.stderr


@pytest.mark.parametrize("name", ["table", "tokens", "pictures"])
def test_examples_are_short(name):
    assert len((FOLDER / f"{name}.py").read_text().splitlines()) <= 40


def test_pictures_have_their_pixels_and_classes(tmp_path):
    for name, value in (("a", 0), ("b", 255)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((4, 6, 3), value, dtype=np.uint8)).save(tmp_path / name / "one.png")
    examples, names = picture_folder(tmp_path)
    assert names == ["a", "b"] and examples.inputs.shape == (2, 3, 4, 6)
    assert examples.inputs[0].max() == 0 and examples.inputs[1].min() == 1 and examples.targets.tolist() == [0, 1]
    grey, _ = picture_folder(tmp_path, size=(2, 3), channels=1)
    assert grey.inputs.shape == (2, 1, 2, 3)


def test_pictures_that_do_not_fit_are_one_line(tmp_path):
    with pytest.raises(UsageError, match="not a folder"):
        picture_folder(tmp_path / "none")
    with pytest.raises(UsageError, match="no pictures"):
        picture_folder(tmp_path)
    (tmp_path / "a").mkdir()
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / "a" / "1.png")
    Image.fromarray(np.zeros((5, 4), dtype=np.uint8)).save(tmp_path / "a" / "2.png")
    with pytest.raises(UsageError, match="one size, got 4 x 4 and 5 x 4"):
        picture_folder(tmp_path)
    (tmp_path / "a" / "2.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"2\.png cannot be read"):
        picture_folder(tmp_path)

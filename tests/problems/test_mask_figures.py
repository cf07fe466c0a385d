"""Analyses of saved mask runs: similarity, structure, training, and the commands that write them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from opt.console.errors import UsageError
from opt.runs.run import load_run
from opt.solve import main as solve
from problems.figures.mask_runs import NamedMask, best_mask, problem_of
from problems.figures.mask_training import curves_figure
from problems.figures.mask_training import main as train
from problems.figures.masks import main, similarity_figure
from problems.masking.mask_overlap import (
    cosine_matrix,
    excess_matrix,
    jacobian_singular_values,
    kept_energy,
    mean_orthogonality,
    orthogonality,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of the command on one small network, and one on another."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        common = [str(ROOT / "problems/masks.py"), "--algo", "sa", "--algo.n_chains", "2", "--n-eval", "30"]
        common += ["--problem.width", "0.1", "--problem.references", "none", "--problem.final_epochs", "2"]
        for k, more in enumerate((["--seed", "1"], ["--seed", "2"], ["--problem.layers", "fc1"])):
            assert solve([*common, *more, "--out", str(folder / str(k)), "--quiet"]) == 0
        yield [str(next((folder / str(k)).iterdir())) for k in range(3)]


def test_random_masks_have_a_cosine_of_the_keep_fraction_and_no_excess():
    rng = np.random.default_rng(0)
    masks = [rng.random(40_000) < keep for keep in (0.2, 0.2, 0.5)]
    np.testing.assert_allclose(np.diag(cosine_matrix(masks)), 1.0)
    assert cosine_matrix(masks)[0, 1] == pytest.approx(0.2, abs=0.02)
    assert np.abs(excess_matrix(masks)[[0, 0, 1], [1, 2, 2]]).max() < 0.02
    half = np.arange(8) < 4
    np.testing.assert_allclose(cosine_matrix([half, ~half, half]), [[1, 0, 1], [0, 1, 0], [1, 0, 1]])
    np.testing.assert_allclose(excess_matrix([half, ~half]), [[0.5, -0.5], [-0.5, 0.5]])


def test_orthogonality_scores():
    assert orthogonality([np.eye(3), np.eye(2)]) == 0 == mean_orthogonality([np.eye(3)])
    double = 2 * np.eye(2)  # the Gram matrix is 4 I, 3 I above
    assert orthogonality([double]) == pytest.approx(3 * np.sqrt(2))
    assert mean_orthogonality([double, np.eye(2)]) == pytest.approx((9 / 2 + 0) / 2)
    assert kept_energy([double, np.eye(2)]) == 10


def test_jacobian_of_a_linear_network_is_its_matrix():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    images = torch.rand(4, 1, 2, 3)
    values = jacobian_singular_values(model, model.state_dict(), images, chunk=3)
    expected = np.linalg.svd(model[1].weight.detach().numpy(), compute_uv=False)
    np.testing.assert_allclose(values, np.tile(expected, (4, 1)), rtol=1e-5)
    masked = {**model.state_dict(), "1.weight": torch.zeros(3, 6)}
    assert not jacobian_singular_values(model, masked, images).any()


def test_problem_and_mask_come_back_from_a_run(runs):
    run = load_run(runs[0])
    problem = problem_of(run)
    found = best_mask(run, problem)
    assert found.mask.sum() == problem.n_kept and found.name == "sa seed 1" and found.is_searched


def test_analyses_are_written(runs, tmp_path, capsys):
    assert main([*runs[:2], "--out", str(tmp_path), "--criteria", "random,magnitude"]) == 0
    assert capsys.readouterr().out.count("wrote") == 4
    similarity = pd.read_csv(tmp_path / "similarity.csv")
    assert len(similarity) == 16 and set(similarity["first"]) == {"sa seed 1", "sa seed 2", "random", "magnitude"}
    structure = pd.read_csv(tmp_path / "structure.csv")
    assert structure["searched"].tolist() == [True, True, False, False]
    assert np.isfinite(structure.drop(columns=["mask", "searched"]).to_numpy(float)).all()
    assert structure["parameters"].nunique() == 1
    for name in ("similarity.png", "structure.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"


def test_masks_of_different_networks_are_not_compared(runs, tmp_path):
    with pytest.raises(UsageError, match="layers"):
        main([runs[0], runs[2], "--out", str(tmp_path), "--criteria", "none"])
    with pytest.raises(UsageError, match="magnitude"):
        main([runs[0], "--out", str(tmp_path), "--criteria", "magnitudes"])


def test_runs_without_parameters_are_refused(runs, tmp_path):
    manifest = json.loads((Path(runs[0]) / "manifest.json").read_text())
    for change, message in (({"parameters": None}, "from Python"), ({"class": "EComp"}, "masks.py")):
        manifest["problem"] |= change
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(UsageError, match=message):
            problem_of(load_run(tmp_path))


def test_heat_map_names_every_mask_and_writes_every_number():
    masks = [NamedMask(f"m{k}", np.arange(12) % (k + 2) == 0, k == 0) for k in range(3)]
    figure = similarity_figure(masks)
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["m0", "m1", "m2"]
    assert sum(bool(t.get_text()) for t in ax.texts) == 6


def test_masks_are_trained_and_a_second_call_goes_on_from_the_checkpoints(runs, tmp_path, capsys):
    options = [runs[0], "--out", str(tmp_path), "--criteria", "magsign", "--epochs", "2", "--lr", "0.05"]
    assert train(options) == 0
    curves = pd.read_csv(tmp_path / "curves.csv")
    assert curves["mask"].tolist() == ["sa seed 1"] * 2 + ["magsign"] * 2
    files = sorted(p.name for p in tmp_path.glob("*.safetensors"))
    assert files == ["magsign-rewind-zero.safetensors", "sa-seed-1-rewind-zero.safetensors"]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    assert train(options) == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "curves.csv"), curves)
    assert len(curves_figure(curves).axes[0].lines) == 2
    with pytest.raises(UsageError, match="rewind"):
        train([*options, "--kept", "rewound"])


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--epochs", "0", "--epochs must be at least 1"),
        ("--epochs", "1000000000", "--epochs must be at most"),
        ("--lr", "nan", "--lr must be"),
        ("--lr", "inf", "--lr must be at most"),
        ("--lr", "-0.1", "--lr must be above 0"),
        ("--seed", "-1", "--seed must be at least 0"),
        ("--seed", "1" + "0" * 30, "--seed must be at most"),
    ],
)
def test_training_in_numbers_without_sense_is_refused(option, value, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        train(["nowhere", "--out", str(tmp_path), option, value])

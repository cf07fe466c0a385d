import pytest
import torch
from torch import nn

from problems.data.data import load_dataset
from problems.networks.architectures.fully_connected import FullyConnected, load_fully_connected
from problems.networks.architectures.initial_weights import draw_weights
from problems.networks.training.schedule import Schedule
from problems.networks.training.sgd import train_sgd
from problems.networks.training.training import evaluate, train
from problems.workloads.parents import trained_parent


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_train_learns_and_reports_its_epochs(digits):
    model = FullyConnected((64, 32, 10), seed=1)
    history = train(model, digits.train, seed=1, epochs=8, lr=3e-3, progress=False)
    assert evaluate(model, digits.test.images, digits.test.labels)[1] > 0.88
    assert len(history.epochs) == 8 and 1 <= history.best <= 8
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss


def test_train_is_fixed_by_its_seed_and_leaves_torch_alone(digits):
    before = torch.get_rng_state()
    runs = []
    for seed in (1, 1, 2):
        model = FullyConnected((64, 16, 10), seed=0)
        train(model, digits.train, seed=seed, epochs=2, progress=False)
        runs.append(weights_of(model))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_train_does_not_depend_on_the_number_of_threads(digits):
    before, runs = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            model = FullyConnected((64, 128, 10), seed=0)
            train(model, digits.train, seed=0, epochs=2, progress=False)
            assert torch.get_num_threads() == n_threads
            runs.append(weights_of(model))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*runs)


def test_train_stops_early_and_keeps_the_best_epoch(digits):
    small = digits.train.subset(slice(0, 60))
    model = FullyConnected((64, 64, 10), seed=0)
    history = train(
        model, small, seed=0, epochs=200, batch_size=10, lr=0.02, patience=2, validation=0.5, progress=False
    )
    losses = [e.validation_loss for e in history.epochs]
    assert len(losses) < 200 and len(losses) == history.best + 2
    assert losses[history.best - 1] == min(losses)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))[:30]
    loss, _ = evaluate(model, small.images[order], small.labels[order])
    assert loss == pytest.approx(min(losses), rel=1e-5)


def test_train_without_validation_runs_all_epochs(digits):
    history = train(FullyConnected((64, 8, 10)), digits.train, seed=0, epochs=3, validation=0, progress=False)
    assert len(history.epochs) == 3 == history.best


def test_train_prints_plain_lines_when_stderr_is_no_terminal(digits, capsys):
    train(FullyConnected((64, 8, 10)), digits.train, seed=0, epochs=2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("training epoch 1/2") and "\x1b" not in lines[0]
    train(FullyConnected((64, 8, 10)), digits.train, seed=0, epochs=1, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "option", [{"epochs": 0}, {"batch_size": 0}, {"patience": 0}, {"validation": 1.0}, {"lr": 0.0}]
)
def test_train_refuses_options_out_of_range(digits, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        train(FullyConnected((64, 8, 10)), digits.train, seed=0, progress=False, **option)


def test_trained_parent_is_cached_and_reused(digits, tmp_path):
    options = {"widths": (16, 8), "epochs": 2, "cache_dir": tmp_path, "progress": False}
    model, info = trained_parent(digits, **options)
    again, info_again = trained_parent(digits, **options)
    assert not info["from_cache"] and info_again["from_cache"]
    assert torch.equal(weights_of(model), weights_of(again))
    assert {k: v for k, v in info.items() if k != "from_cache"} == {
        k: v for k, v in info_again.items() if k != "from_cache"
    }
    assert load_fully_connected(info["path"]).widths == (64, 16, 8, 10)


def test_trained_parent_key_holds_everything_that_made_it(digits, tmp_path):
    options = {"widths": (8,), "epochs": 1, "cache_dir": tmp_path, "progress": False}
    keys = {trained_parent(digits, **options)[1]["key"]}
    for change in ({"seed": 1}, {"epochs": 2}, {"widths": (9,)}, {"lr": 2e-3}, {"batch_size": 50}, {"validation": 0.2}):
        _, info = trained_parent(digits, **{**options, **change})
        assert not info["from_cache"]
        keys.add(info["key"])
    keys.add(trained_parent(load_dataset("digits", split_seed=1), **options)[1]["key"])
    assert len(keys) == 8


@pytest.mark.parametrize("content", [b"", b"garbage" * 100])
def test_trained_parent_trains_anew_when_the_cached_file_is_damaged(digits, tmp_path, content):
    options = {"widths": (8,), "epochs": 1, "cache_dir": tmp_path, "progress": False}
    model, info = trained_parent(digits, **options)
    with open(info["path"], "wb") as file:
        file.write(content)
    again, info = trained_parent(digits, **options)
    assert not info["from_cache"] and torch.equal(weights_of(model), weights_of(again))
    assert trained_parent(digits, **options)[1]["from_cache"]


def test_trained_parent_survives_a_cache_that_cannot_be_written(digits, tmp_path):
    (tmp_path / "file").write_text("in the way")
    _, info = trained_parent(digits, widths=(8,), epochs=1, cache_dir=tmp_path / "file", progress=False)
    assert info["path"] is None


def test_trained_parent_cache_folder_follows_the_environment(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("OPT_CACHE_DIR", str(tmp_path))
    _, info = trained_parent(digits, widths=(8,), epochs=1, progress=False)
    assert info["path"].startswith(str(tmp_path / "parents"))


@pytest.mark.parametrize("trainer", [train, train_sgd])
def test_dropout_follows_the_seed(trainer):
    def trained(seed):
        torch.rand(3)  # what was drawn before does not count
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(), nn.Linear(16, 10))
        draw_weights(network, seed=0, init="uniform")
        before = torch.random.get_rng_state()
        if trainer is train:
            train(network, load_dataset("digits").train.subset(slice(0, 230)), seed=seed, epochs=2, progress=False)
        else:
            train_sgd(network, load_dataset("digits").train.subset(slice(0, 230)), Schedule(epochs=2), seed=seed)
        assert torch.equal(before, torch.random.get_rng_state())
        return network[1].weight

    assert torch.equal(trained(1), trained(1)) and not torch.equal(trained(1), trained(2))


def test_views_of_images_are_trained_on_in_the_usual_layout():
    class Viewed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(1, 3, 3), nn.Linear(108, 10)

        def forward(self, x):
            return self.last(self.conv(x).view(len(x), -1))

    network = Viewed()
    images = load_dataset("digits").row_major().train.subset(slice(0, 230))
    history = train_sgd(network, images, Schedule(epochs=1), seed=0)
    assert len(history) == 1 and not network.training

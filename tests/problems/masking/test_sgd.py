"""Training by SGD: schedules, masks, checkpoints that go on, cached trajectories, beginnings of masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from opt.console.errors import UsageError
from problems.data.data import load_dataset
from problems.masking.channels import ChannelSpace
from problems.masking.mask_training import beginning, train_mask
from problems.masking.masked_sgd import train_masked
from problems.masking.space import WeightSpace, with_signed_constants
from problems.masking.training_plans import trained_states
from problems.networks.architectures.lottery_networks import build_architecture
from problems.networks.training.schedule import Schedule

DATA = load_dataset("digits")
SHORT = Schedule(epochs=4, lr=0.05, batch_size=50, milestones=(2,))


def network(name="strided-cnn", width=0.05):
    return build_architecture(name, DATA.input_shape, 10, width=width)


def flat(model):
    return torch.cat([t.double().ravel() for t in model.state_dict().values()]).numpy()


def test_training_learns_repeats_and_leaves_torchs_generator_alone():
    before = torch.random.get_rng_state()
    models = [network() for _ in range(2)]
    curves = [train_masked(m, DATA.train, schedule=SHORT, seed=1, watched={"test": DATA.test}).curve for m in models]
    assert curves[0] == curves[1]
    np.testing.assert_array_equal(flat(models[0]), flat(models[1]))
    assert curves[0][-1]["test_accuracy"] > 0.5 > curves[0][0]["test_accuracy"] / 3
    other = network()
    train_masked(other, DATA.train, schedule=SHORT, seed=2)
    assert (flat(other) != flat(models[0])).any()
    assert torch.equal(before, torch.random.get_rng_state())


def test_training_that_is_killed_goes_on_to_the_same_weights(tmp_path):
    class Kill(Exception):
        pass

    def kill(row):
        if row["epoch"] == 2:
            raise Kill

    options = {"schedule": SHORT, "seed": 1, "watched": {"test": DATA.test}, "keep_epochs": (0, 1, 4)}
    whole, cut, file = network(), network(), tmp_path / "training.safetensors"
    expected = train_masked(whole, DATA.train, **options)
    with pytest.raises(Kill):
        train_masked(cut, DATA.train, checkpoint=file, on_epoch=kill, **options)
    resumed = network()
    got = train_masked(resumed, DATA.train, checkpoint=file, **options)
    np.testing.assert_array_equal(flat(resumed), flat(whole))
    assert got.curve == expected.curve and set(got.states) == {0, 1, 4}
    for epoch in got.states:
        assert all(torch.equal(got.states[epoch][k], v) for k, v in expected.states[epoch].items())
    with pytest.raises(UsageError, match="another training"):
        train_masked(network(), DATA.train, checkpoint=file, **{**options, "seed": 5})
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UsageError, match="damaged"):
        train_masked(network(), DATA.train, checkpoint=file, **options)


@pytest.mark.parametrize("dropped", ["zero", "frozen"])
def test_dropped_weights_do_not_train(dropped):
    model = network("lenet-300-100", 0.1)
    first = model.fc1.weight.detach().clone()
    mask = np.random.default_rng(0).random(first.shape) < 0.3
    train_masked(model, DATA.train, schedule=SHORT, seed=0, masks={"fc1.weight": mask}, dropped=dropped)
    out = torch.from_numpy(~mask)
    expected = torch.zeros_like(first) if dropped == "zero" else first
    torch.testing.assert_close(model.fc1.weight.detach()[out], expected[out], rtol=0, atol=1e-6)
    assert (model.fc1.weight.detach()[~out] != first[~out]).all()
    with pytest.raises(ValueError, match="no parameter"):
        train_masked(model, DATA.train, schedule=SHORT, seed=0, masks={"fc9.weight": mask})


def test_trajectory_is_trained_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("OPT_CACHE_DIR", str(tmp_path))
    model = network("lenet-300-100", 0.1)
    first = flat(model)
    options = {"epochs": [0, 2, 4], "schedule": SHORT, "seed": 1}
    states = trained_states(model, DATA, **options)
    np.testing.assert_array_equal(flat(model), first)
    files = sorted((tmp_path / "trajectories").iterdir())
    assert len(files) == 2 and set(states) == {0, 2, 4}
    monkeypatch.setattr("problems.masking.training_plans.train_masked", None)  # would fail if it trained again
    again = trained_states(model, DATA, **options)
    assert all(torch.equal(again[e][k], states[e][k]) for e in states for k in states[e])
    monkeypatch.undo()
    monkeypatch.setenv("OPT_CACHE_DIR", str(tmp_path))
    files[0].write_bytes(b"damaged")
    assert set(trained_states(model, DATA, **options)) == {0, 2, 4}
    with pytest.raises(ValueError, match="epochs"):
        trained_states(model, DATA, epochs=[5], schedule=SHORT, seed=1)


def test_beginnings_of_masks():
    model = network("lenet-300-100", 0.1)
    state = {k: v.detach() for k, v in model.state_dict().items()}
    space = WeightSpace(model, ["fc1", "fc2", "fc3"], DATA.train.images)
    mask = np.random.default_rng(0).random(sum(space.sizes)) < 0.4
    places = torch.from_numpy(space.tensors(mask)["fc1.weight"])
    begin = {
        kind: beginning(model, state, space, mask, kind, seed=3) for kind in ("rewind", "signed", "reshuffle", "reinit")
    }
    assert torch.equal(begin["rewind"]["fc1.weight"], state["fc1.weight"])
    signed = begin["signed"]["fc1.weight"]
    torch.testing.assert_close(signed, state["fc1.weight"].sign() * state["fc1.weight"].std())
    dealt = begin["reshuffle"]["fc1.weight"]
    assert torch.equal(dealt[~places], state["fc1.weight"][~places])
    assert torch.equal(dealt[places].sort().values, state["fc1.weight"][places].sort().values)
    assert (dealt[places] != state["fc1.weight"][places]).any()
    assert (begin["reinit"]["fc1.weight"] != state["fc1.weight"]).any()
    assert set(with_signed_constants(state, ["fc2"])["fc2.weight"].abs().unique().tolist()) == {
        float(state["fc2.weight"].std())
    }


@pytest.mark.parametrize("level", ["weights", "filters"])
def test_masks_are_trained_and_filters_cut_out(level):
    name = "lenet-300-100" if level == "weights" else "strided-cnn"
    model = network(name, 0.1).requires_grad_(False).eval()
    example = DATA.train.images[:2]
    space = (
        WeightSpace(model, ["fc1", "fc2", "fc3"], example) if level == "weights" else ChannelSpace(model, None, example)
    )
    mask = np.arange(sum(space.sizes)) % 2 == 0
    trained, done = train_mask(model, model.state_dict(), space, mask, DATA, schedule=SHORT, seed=0)
    assert done.curve[-1]["test_accuracy"] > 0.4
    parameters, _ = space.cost(mask)
    values = torch.cat([p.ravel() for p in trained.parameters()])
    assert (values.numel() if level == "filters" else int((values != 0).sum())) == parameters

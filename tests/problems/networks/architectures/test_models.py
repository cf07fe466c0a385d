import numpy as np
import pytest
import safetensors.numpy
import torch

from opt.console.errors import UsageError
from problems.networks.architectures.fully_connected import FullyConnected, load_fully_connected, save_fully_connected
from problems.networks.storage.checkpoints import load_metadata


def test_fully_connected_has_the_published_names_and_shapes():
    state = FullyConnected((7, 5, 4, 3)).state_dict()
    assert {k: tuple(v.shape) for k, v in state.items()} == {
        "layer_1_linear.weight": (5, 7),
        "layer_1_linear.bias": (5,),
        "layer_2_linear.weight": (4, 5),
        "layer_2_linear.bias": (4,),
        "output.weight": (3, 4),
        "output.bias": (3,),
    }


def test_fully_connected_computes_linear_relu_layers():
    model = FullyConnected((6, 5, 4, 3))
    x = torch.rand(8, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    (w1, w2, w3), (b1, b2, b3) = model.to_arrays()
    h1 = np.maximum(x.flatten(1).numpy() @ w1.T + b1, 0)
    h2 = np.maximum(h1 @ w2.T + b2, 0)
    hidden = [h.detach().numpy() for h in model.hidden(x)]
    np.testing.assert_allclose(hidden[0], h1, atol=1e-6)
    np.testing.assert_allclose(hidden[1], h2, atol=1e-6)
    np.testing.assert_allclose(model(x).detach().numpy(), h2 @ w3.T + b3, atol=1e-6)


def test_fully_connected_is_seeded_and_leaves_torch_alone():
    before = torch.get_rng_state()
    one, same, other = FullyConnected((5, 4, 3), seed=1), FullyConnected((5, 4, 3), seed=1), FullyConnected((5, 4, 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.output.weight, same.output.weight)
    assert not torch.equal(one.output.weight, other.output.weight)
    assert float(one.layer_1_linear.weight.detach().abs().max()) <= 5**-0.5


def test_from_arrays_returns_to_arrays():
    weights, biases = FullyConnected((5, 4, 3, 2), seed=3).to_arrays()
    model = FullyConnected.from_arrays(weights, biases)
    again = model.to_arrays()
    assert model.widths == (5, 4, 3, 2) and model.hidden_widths == (4, 3)
    for a, b in zip(weights + biases, again[0] + again[1], strict=True):
        np.testing.assert_array_equal(a, b)
    again[0][0][:] = 0
    assert float(model.layer_1_linear.weight.detach().abs().sum()) > 0, "arrays must be copies"


@pytest.mark.parametrize("widths", [(5,), (), (5, 0, 3)])
def test_impossible_widths_are_refused(widths):
    with pytest.raises(ValueError, match="widths"):
        FullyConnected(widths)


def test_arrays_that_do_not_chain_are_refused():
    with pytest.raises(ValueError, match="chain"):
        FullyConnected.from_arrays([np.zeros((4, 5)), np.zeros((3, 5))], [np.zeros(4), np.zeros(3)])


def test_saved_network_is_read_back_with_its_metadata(tmp_path):
    model = FullyConnected((5, 4, 3), seed=2)
    path = tmp_path / "new" / "net.safetensors"
    save_fully_connected(model, path, metadata={"accuracy": 0.5, "widths": [5, 4, 3]})
    again = load_fully_connected(path)
    for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert load_metadata(path) == {"accuracy": 0.5, "widths": [5, 4, 3]}
    assert [p.name for p in path.parent.iterdir()] == ["net.safetensors"], "no partial file may be left"


def test_file_without_our_metadata_is_read(tmp_path):
    weights, biases = FullyConnected((5, 4, 3)).to_arrays()
    path = tmp_path / "net.safetensors"
    names = ("layer_1_linear", "output")
    tensors = {f"{n}.weight": w.astype(np.float64) for n, w in zip(names, weights, strict=True)}
    safetensors.numpy.save_file(tensors | {f"{n}.bias": b for n, b in zip(names, biases, strict=True)}, path)
    assert load_fully_connected(path).output.weight.dtype == torch.float32
    assert load_metadata(path) == {}


def test_unwritable_file_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="cannot write"):
        save_fully_connected(FullyConnected((3, 2)), tmp_path / "file" / "net.safetensors")


def test_missing_checkpoint_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        load_fully_connected(tmp_path / "none.safetensors")


def test_folder_as_checkpoint_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=str(tmp_path)):
        load_fully_connected(tmp_path)


@pytest.mark.parametrize("n_bytes", [0, 5, 100, -1])
def test_truncated_checkpoint_is_a_usage_error(tmp_path, n_bytes):
    path = tmp_path / "net.safetensors"
    save_fully_connected(FullyConnected((5, 4, 3)), path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(UsageError, match="damaged"):
        load_fully_connected(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("output.bias"), r"output\.bias"),
        (lambda t: t.update(extra=np.zeros(3, np.float32)), "extra"),
        (lambda t: t.update({"output.weight": np.zeros((3, 9), np.float32)}), "chain"),
        (lambda t: t.update({"output.bias": np.zeros(4, np.float32)}), "chain"),
        (lambda t: t.update({"output.bias": np.full(3, np.nan, np.float32)}), "not finite"),
        (lambda t: t.update({"output.bias": np.zeros(3, np.int64)}), "not finite"),
    ],
)
def test_checkpoint_of_another_kind_is_a_usage_error(tmp_path, change, message):
    path = tmp_path / "net.safetensors"
    tensors = {k: v.numpy() for k, v in FullyConnected((5, 4, 3)).state_dict().items()}
    change(tensors)
    safetensors.numpy.save_file(tensors, path)
    with pytest.raises(UsageError, match=message) as caught:
        load_fully_connected(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)

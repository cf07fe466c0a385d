"""A workload: what it takes, how it judges, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, r2_score
from torch import nn

from opt import UsageError
from problems.data.splits import split_off
from problems.workloads.losses import LOSSES, METRICS, Metric
from problems.workloads.workload import Workload

GENERATOR = torch.Generator().manual_seed(3)
X = torch.randn(120, 5, generator=GENERATOR)
CLASSES = torch.arange(120) % 3
NUMBERS = X @ torch.randn(5, 2, generator=GENERATOR)


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def regressor() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(5, 2)


def test_splits_are_disjoint_of_the_sizes_asked_and_follow_the_seed():
    work = Workload(classifier(), (X, CLASSES), n_search=30, n_test=0.25)
    sizes = {name: len(split) for name, split in work.splits()}
    assert sizes == {"train": 60, "search": 30, "test": 30}
    rows = torch.cat([split.inputs for _, split in work.splits()])
    assert len(torch.unique(rows, dim=0)) == 120
    for _, split in work.splits():
        assert split.targets.bincount().tolist() == [len(split) // 3] * 3
    again = Workload(classifier(), (X, CLASSES), n_search=30, n_test=0.25)
    other = Workload(classifier(), (X, CLASSES), n_search=30, n_test=0.25, split_seed=1)
    assert torch.equal(again.search.inputs, work.search.inputs)
    assert not torch.equal(other.search.inputs, work.search.inputs)


def test_a_rare_class_is_in_both_parts():
    targets = torch.tensor([0] * 96 + [1] * 4)
    rest, part = split_off(Workload(classifier(), (X, CLASSES)).train.__class__(X[:100], targets), 25, seed=0, name="x")
    assert part.targets.sum() == 1 and rest.targets.sum() == 3


def test_metrics_agree_with_scikit_learn():
    outputs = torch.randn(50, 4, generator=GENERATOR)
    targets = torch.randint(0, 4, (50,), generator=GENERATOR)
    expected = f1_score(targets, outputs.argmax(1), average="macro")
    assert METRICS["macro_f1"].function(outputs, targets) == pytest.approx(expected)
    labels = (torch.rand(50, 4, generator=GENERATOR) > 0.5).long()
    expected = f1_score(labels, outputs > 0, average="macro")
    assert METRICS["macro_f1"].function(outputs, labels) == pytest.approx(expected)
    numbers = torch.randn(50, 4, generator=GENERATOR)
    assert METRICS["r2"].function(outputs, numbers) == pytest.approx(r2_score(numbers, outputs), rel=1e-5)


@pytest.mark.parametrize("shape", [(20,), (20, 1), (20, 3), (20, 2, 3)])
def test_losses_of_numbers_of_any_shape(shape):
    outputs, targets = torch.randn(shape, generator=GENERATOR), torch.randn(shape, generator=GENERATOR)
    assert float(LOSSES["mse"](outputs, targets).mean()) == pytest.approx(float((outputs - targets).square().mean()))
    assert float(LOSSES["mae"](outputs, targets).mean()) == pytest.approx(float((outputs - targets).abs().mean()))


def test_targets_say_which_loss_and_metrics():
    assert Workload(classifier(), (X, CLASSES)).loss_name == "cross-entropy"
    assert Workload(regressor(), (X, NUMBERS)).loss_name == "mse"
    labels = torch.stack([k == CLASSES for k in range(3)], dim=1).long()
    work = Workload(classifier(), (X, labels))
    assert work.loss_name == "binary-cross-entropy" and [m.name for m in work.metrics] == ["label_accuracy", "macro_f1"]


def test_judging_is_the_plain_mean_whatever_the_batches():
    work = Workload(classifier(), (X, CLASSES))
    whole = work.judge(work.network, work.test)
    parts = work.judge(work.network, work.test, batch_size=7)
    with torch.no_grad():
        logits = work.network(work.test.inputs)
    assert whole["accuracy"] == float((logits.argmax(1) == work.test.targets).double().mean())
    assert whole["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, work.test.targets)), rel=1e-6)
    assert parts == pytest.approx(whole)


def test_the_users_network_is_left_as_it_is():
    network = classifier().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    work = Workload(network, (X, CLASSES))
    assert network.training and next(network.parameters()).requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not work.network.training and work.network is not network


def test_equal_tensors_under_another_forward_are_another_workload():
    class Squashed(nn.Module):
        def __init__(self, squash):
            super().__init__()
            self.layer = nn.Linear(5, 3)
            self.squash = squash

        def forward(self, x):
            return self.squash(self.layer(x))

    torch.manual_seed(0)
    first = Workload(Squashed(torch.relu), (X, CLASSES))
    torch.manual_seed(0)
    second = Workload(Squashed(torch.sigmoid), (X, CLASSES))
    assert first.fingerprint != second.fingerprint
    torch.manual_seed(0)
    assert first.fingerprint == Workload(Squashed(torch.relu), (X, CLASSES)).fingerprint


def test_wrappers_are_taken_off_and_said():
    work = Workload(nn.DataParallel(classifier()), (X, CLASSES))
    assert isinstance(work.network, nn.Sequential) and work.notes[0] == "DataParallel was unwrapped"


def test_a_forward_that_changes_its_input_gets_copies():
    class Greedy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x):
            x += 1
            return self.layer(x)

    work = Workload(Greedy(), (X.clone(), CLASSES))
    before = work.search.inputs.clone()
    first = work.judge(work.network, work.search)
    assert torch.equal(work.search.inputs, before) and work.judge(work.network, work.search) == first


def test_outputs_in_a_structure():
    class Labelled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(5, 3)

        def forward(self, x):
            return {"hidden": x, "logits": self.layer(x)}

    assert Workload(Labelled(), (X, CLASSES)).metric.name == "accuracy"
    work = Workload(Labelled(), (X, X), pick=lambda outputs: outputs["hidden"], loss="mse")
    assert work.judge(work.network, work.test)["loss"] == 0


def test_metrics_of_ones_own():
    def bias(outputs, targets):
        return (outputs - targets).mean()

    work = Workload(
        regressor(), (X, NUMBERS), metrics=["rmse", bias, Metric("worst", lambda o, t: (o - t).abs().max())]
    )
    assert list(work.judge(work.network, work.test)) == ["loss", "rmse", "bias", "worst"]


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x):
        return nn.functional.dropout(self.layer(x), 0.5)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def _nan_loss(outputs, targets):
    return outputs.sum() * float("nan")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Workload(classifier(), (X, CLASSES + 1)), "classes from 0 to 2"),
        (lambda: Workload(classifier(), (X, CLASSES), train=(X, CLASSES)), "needs examples"),
        (lambda: Workload(classifier()), "needs examples"),
        (lambda: Workload(classifier(), (X, CLASSES), n_search=120), "n_search must leave"),
        (
            lambda: Workload(classifier(), train=(X, CLASSES), search=(X, CLASSES), test=(X, CLASSES)),
            "test examples too",
        ),
        (lambda: Workload(classifier(), (X[:, :4], CLASSES)), "does not take the examples"),
        (lambda: Workload(classifier(), (X, CLASSES), loss="mes"), "unknown loss 'mes'.*mse"),
        (lambda: Workload(classifier(), (X, CLASSES), metrics="acuracy"), "accuracy"),
        (lambda: Workload(classifier(), (X, CLASSES), loss=_nan_loss), "must be finite"),
        (lambda: Workload(classifier(), (X, CLASSES), loss=lambda o, t: o), "must return a number"),
        (lambda: Workload(classifier(), (X, CLASSES), metrics=lambda o, t: 1 / 0), "ZeroDivisionError"),
        (lambda: Workload(Noisy(), (X, CLASSES)), "differently each time"),
        (lambda: Workload(Pair(), (X, X)), "pick"),
        (lambda: Workload(torch.relu, (X, CLASSES)), "nn.Module"),
        (lambda: Workload(torch.jit.script(classifier()), (X, CLASSES)), "scripted"),
        (lambda: Workload(nn.LazyLinear(3), (X, CLASSES)), "lazy"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(make, told):
    with pytest.raises(UsageError, match=told) as error:
        make()
    assert "\n" not in str(error.value)


def test_numpy_tables_go_in_as_they_are():
    work = Workload(regressor().double().float(), (np.asarray(X, dtype=np.float64), np.asarray(NUMBERS)))
    assert work.train.inputs.dtype == torch.float32


def test_the_sense_of_an_own_metric_is_said():
    def error(outputs, targets):
        return (outputs.argmax(1) != targets).double().mean()

    def right(outputs, targets):
        return (outputs.argmax(1) == targets).double()

    examples = (X, CLASSES)
    network = nn.Linear(X.shape[1], 1 + int(CLASSES.max()))
    with torch.no_grad():  # fits its own targets well
        one_hot = nn.functional.one_hot(torch.as_tensor(CLASSES)).float()
        solved = torch.linalg.lstsq(torch.as_tensor(X), one_hot).solution
        network.weight.copy_(solved.T)
        network.bias.zero_()
    notes = " | ".join(Workload(network, examples, metrics=[error, right, "accuracy"]).notes)
    assert "warning: error is maximised, and it is larger where each example gets another one's answer" in notes
    assert "right is maximised; of an error give Metric('right', right, sense=minimise)" in notes
    assert "accuracy is" not in notes

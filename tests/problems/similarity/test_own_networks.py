"""EComp on workloads of the user's: numbers, several labels, any activation, batch norms, other networks' heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from opt import UsageError
from problems.ecomp import EComp
from problems.networks.embeddings.collect import collect_embeddings
from problems.networks.embeddings.dissimilarity import dissimilarity
from problems.similarity.least_squares import LeastSquaresRefit
from problems.workloads.workload import Workload

pytestmark = pytest.mark.usefixtures("one_thread")

DRAWN = torch.Generator().manual_seed(0)
ROWS = torch.randn(300, 12, generator=DRAWN)
NUMBERS = torch.stack([ROWS[:, :3].sum(1), ROWS[:, 3] * ROWS[:, 4]], dim=1)
LABELS = (ROWS[:, :3] + ROWS[:, 3:6] > 0).long()
CLASSES = ROWS[:, :4].argmax(1)
FEW = {"similarity_points": 30, "perplexity": 8.0, "similarity": "distance"}
GAUSSIAN = FEW | {"similarity": "gaussian"}


class Mine(nn.Module):
    """A user's own: names, functions, a batch norm, no bias in the middle."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.entry, self.norm = nn.Linear(12, 24), nn.BatchNorm1d(24)
        self.middle = nn.Linear(24, 16, bias=False)
        self.exit = nn.Linear(16, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.ndim == 2
        x = torch.sigmoid(self.norm(self.entry(x)))
        return self.exit(nn.functional.gelu(self.middle(nn.functional.dropout(x, 0.2, self.training))) + 1)


def trained(network: nn.Module, targets: torch.Tensor, **options) -> Workload:
    """A workload of a network that was trained for a moment."""
    loss = {"mse": nn.functional.mse_loss, "binary-cross-entropy": nn.functional.binary_cross_entropy_with_logits}
    function = loss.get(options.get("loss", ""), nn.functional.cross_entropy)
    wanted = targets if function is nn.functional.cross_entropy else targets.float()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        outputs = network(ROWS)
        function(outputs.reshape(wanted.shape) if wanted.is_floating_point() else outputs, wanted).backward()
        optimiser.step()
    return Workload(network, (ROWS, targets), **options)


KINDS = {
    "numbers": (2, NUMBERS, {"loss": "mse"}, "rmse"),
    "one number": (1, NUMBERS[:, 0], {"loss": "mse"}, "rmse"),
    "several labels": (3, LABELS, {"loss": "binary-cross-entropy"}, "label_accuracy_loss"),
    "classes": (4, CLASSES, {}, "error"),
    "macro F1": (4, CLASSES, {"metrics": "macro_f1"}, "macro_f1_loss"),
}


@pytest.fixture(scope="module")
def workloads(one_thread):
    torch.manual_seed(0)
    return {name: trained(Mine(m), targets, **options) for name, (m, targets, options, _) in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_any_targets_are_judged_by_the_workloads_own_metric(workloads, kind):
    work = workloads[kind]
    problem = EComp(workload=work, **(GAUSSIAN if kind == "numbers" else FEW))
    assert problem.objectives[0].name == KINDS[kind][3] and problem.objectives[0].weight == 0.0
    notes = " | ".join(problem.verify(np.random.default_rng(0)))
    assert not problem.is_whole and "entry (24), middle (16)" in notes and "folded" in notes
    X = problem.operators().sampling(3, np.random.default_rng(1))
    points = work.search.inputs[:30]
    original = collect_embeddings(problem.chain.network, ["middle", "exit"], points, side="inputs")
    for x, f, test in zip(X, problem.evaluate(X), problem.test_batch(X), strict=True):
        network = problem.decode(x)
        assert isinstance(network, Mine) and network.middle.bias is None and isinstance(network.norm, nn.Identity)
        assert f[0] == pytest.approx(work.quality(work.judge(network, work.search)), rel=1e-4, abs=1e-6)
        assert test == pytest.approx(work.judge(network, work.test), rel=1e-4, abs=1e-5)
        compressed = collect_embeddings(network, ["middle", "exit"], points, side="inputs")
        expected = dissimilarity(original, compressed, loss=problem.comparison.similarity, perplexity=8.0)
        assert f[1] == pytest.approx(expected, rel=1e-3, abs=1e-4)
        state = {name: torch.from_numpy(array.copy()) for name, array in problem.tensors(x).items()}
        torch.testing.assert_close(problem.rebuilt(state, x)(points), network(points))
    if kind == "one number":
        assert {"parent", "L1 pruning", "L1 pruning + refit"} == {r.name for r in problem.references()}


@pytest.mark.parametrize("kind", ["numbers", "several labels", "classes"])
def test_the_refit_makes_pruned_networks_better(workloads, kind):
    values = {
        target: EComp(
            workload=workloads[kind], refit_target=target or "mixture", refit=bool(target), initial="widths", **FEW
        )
        for target in ("", "mixture", "logits", "labels")
    }
    X = values[""].operators().sampling(12, np.random.default_rng(2))
    means = {target: problem.evaluate(X)[:, 0].mean() for target, problem in values.items()}
    assert max(means["mixture"], means["logits"], means["labels"]) < means[""]


def test_targets_that_outputs_cannot_be_fitted_to_leave_the_parents_own():
    network = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1), nn.Sigmoid())
    work = Workload(network, (ROWS, NUMBERS[:, 0].sigmoid()), loss="mse")
    table = EComp(workload=work, **FEW)._refit_table
    mixture, logits = (LeastSquaresRefit(table, target=target).targets[-1] for target in ("mixture", "logits"))
    assert np.array_equal(mixture, logits)
    with pytest.raises(UsageError, match=r"refit_target labels needs .*give logits"):
        EComp(workload=work, refit_target="labels", **FEW)


def test_gradient_steps_on_the_workloads_loss_are_for_solutions_alone(workloads):
    work = workloads["numbers"]
    plain, tuned = (EComp(workload=work, refit=False, finetune_steps=n, **FEW) for n in (0, 200))
    X = plain.operators().sampling(4, np.random.default_rng(0))
    np.testing.assert_array_equal(plain.evaluate(X), tuned.evaluate(X))
    tuned.verify(np.random.default_rng(0))
    assert not tuned.is_whole
    rmse = [np.mean([row["rmse"] for row in problem.test_batch(X)]) for problem in (plain, tuned)]
    assert rmse[1] < rmse[0]
    network = tuned.decode(X[0])
    assert work.judge(network, work.test) == pytest.approx(tuned.test(X[0]), rel=1e-4)
    assert network.middle.bias is None


def test_several_batches_of_rows_are_judged_as_their_mean(workloads):
    problem = EComp(workload=workloads["one number"], batch_size=20, **FEW)
    problem.verify(np.random.default_rng(0))
    assert not problem.is_whole
    problem.begin_run(np.random.default_rng(0))
    problem.begin_generation(1)
    X = problem.operators().sampling(2, np.random.default_rng(0))
    np.testing.assert_allclose(problem.evaluate(X)[0], problem.judged(problem.decode(X[0]), X[0]), rtol=1e-3)


def test_the_linear_layers_behind_convolutions_are_made_smaller(workloads):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(40, 10), nn.ReLU(), nn.Linear(10, 4))
    problem = EComp(workload=Workload(network, (ROWS[:, None], CLASSES)), **FEW)
    notes = problem.verify(np.random.default_rng(0))
    assert not problem.is_whole and any("the linear layers hold 96.6% of the parameters" in note for note in notes)
    x = problem.operators().sampling(1, np.random.default_rng(0))[0]
    parameters = sum(p.numel() for p in problem.decode(x).parameters())
    assert problem.describe(x)["parameters"] == parameters
    assert problem.evaluate(x[None])[0, 2] == parameters / sum(p.numel() for p in network.parameters())


class TakesAnotherWay(nn.Module):
    """Seldom."""

    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)

    def forward(self, x):
        h = self.act(self.first(x))
        return self.last(torch.where(x[:, :1] > 2.2, -h, h))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear(12, 4), "EComp needs hidden layers to take embeddings from"),
        (nn.Sequential(nn.Linear(12, 8), nn.LayerNorm(8), nn.Linear(8, 4)), "between layers '0' and '2' neurons"),
        (nn.Sequential(nn.Linear(12, 40_000), nn.ReLU(), nn.Linear(40_000, 4)), "at most 32767 neurons a layer"),
        (TakesAnotherWay(), "what layer 'last' gets does not come from layer 'first' alone"),
    ],
)
def test_other_networks_are_refused_before_anything_is_trained(network, message):
    with pytest.raises(UsageError, match=message):
        EComp(workload=Workload(network, (ROWS, CLASSES)), **FEW)


def test_a_workload_stands_in_place_of_the_parent(workloads):
    with pytest.raises(UsageError, match=r"leave out --problem\.network"):
        EComp(workload=workloads["classes"], network="mlp-8")
    with pytest.raises(UsageError, match=r"leave out --problem\.data"):
        EComp(workload=workloads["classes"], data="mnist")

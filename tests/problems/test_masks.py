"""The mask search as a problem: what is judged, and what becomes of a mask."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import opt
from operators.masks import MaskGenome, as_population
from opt.console.errors import UsageError
from opt.search.evaluation import evaluate_batch
from problems.masking.dense import MaskedDense, dense_layers
from problems.masking.graph import MaskedGraph
from problems.masks import MASK_BITS, Masks
from problems.networks.architectures.fully_connected import FullyConnected

SMALL = {"width": 0.1, "final_epochs": 2, "n_images": 150, "references": "none"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def sample(problem, n=4, seed=0):
    return problem.operators().sampling(n, np.random.default_rng(seed))


def own_network():
    """A network of a user's own: two convolutions, one residual sum."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.head = nn.Linear(4, 10)

        def forward(self, x):
            x = torch.relu(self.one(x))
            return self.head(torch.relu(x + self.two(x)).mean((2, 3)))

    return Own()


# -- what is judged ---------------------------------------------------------------------------


def test_thesis_network_has_266200_places_and_the_thesis_number_of_ones():
    problem = Masks(width=1.0, references="none", n_images=50)
    assert problem.layout.sizes == (64 * 300, 30_000, 1000)  # 784 * 300 on 28 x 28 images
    n = problem.layout.n
    assert problem.n_kept == n - int(n * 0.8)
    assert all(g.n_kept == problem.n_kept for g in sample(problem)[:, 0])


@pytest.mark.parametrize("loss", ["scaled", "cross-entropy", "error"])
@pytest.mark.parametrize("weights", ["given", "signed"])
def test_objective_is_that_of_the_decoded_network(loss, weights):
    problem = Masks(loss=loss, weights=weights, epochs=1, **SMALL)
    X = sample(problem)
    F = problem.evaluate(X)
    split = problem.dataset.search.subset(slice(0, 150))
    for x, f in zip(X, F[:, 0], strict=True):
        logits = problem.decode(x)(split.images)
        if loss == "error":
            expected = float((logits.argmax(1) != split.labels).float().mean())
        else:
            logits = logits * (4 / logits.std(unbiased=False)) if loss == "scaled" else logits
            expected = float(nn.functional.cross_entropy(logits, split.labels))
        assert f == pytest.approx(expected, rel=1e-4)


def test_networks_are_judged_by_the_way_that_fits_them():
    assert isinstance(Masks(**SMALL)._network_on, MaskedDense)
    assert isinstance(Masks(layers="fc1", **SMALL)._network_on, MaskedGraph)
    assert isinstance(Masks(level="filters", sparsity=0.5, **SMALL)._network_on, MaskedGraph)
    assert dense_layers(FullyConnected((4, 3, 2))) == ["layer_1_linear", "output"]
    assert dense_layers(nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2))) is None
    assert dense_layers(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2, bias=False))) is None


def test_both_ways_agree_on_fully_connected_networks():
    problem = Masks(bias=True, epochs=1, **SMALL)
    graph = MaskedGraph(problem.model, problem.space, problem.state, problem._shown)
    genomes = list(sample(problem)[:, 0])
    d = np.random.default_rng(0).normal(size=(10, 150)).astype(np.float32)
    for genome, a, b in zip(genomes, problem._network_on.logits(genomes), graph.logits(genomes), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
        np.testing.assert_allclose(
            problem._network_on.slope(genome, lambda z: d), graph.slope(genome, lambda z: d), atol=1e-3
        )


def test_epochs_judge_other_weights():
    first, later = Masks(**SMALL), Masks(epochs=2, **SMALL)
    X = sample(first)
    assert (first.evaluate(X) != later.evaluate(X)).all()
    ones = as_population([MaskGenome.from_mask(np.ones(first.layout.n, dtype=bool))])
    assert later.evaluate(ones)[0, 0] < first.evaluate(ones)[0, 0]


def test_short_training_of_each_candidate_is_repeatable_and_helps():
    plain, trained = Masks(sparsity=0.5, **SMALL), Masks(sparsity=0.5, train_steps=400, **SMALL)
    X = sample(plain, 2)
    F = trained.evaluate(X)
    assert (plain.evaluate(X) > F).all() and trained.evaluate(X[::-1])[0, 0] == F[1, 0]
    assert trained.test(X[0])["accuracy"] > plain.test(X[0])["accuracy"]
    assert "guided" not in trained.operators().moves
    zeros = sum(int((v == 0).sum()) for k, v in trained.decode(X[0]).state_dict().items())
    assert zeros >= plain.layout.n - plain.n_kept


def test_free_sparsity_has_a_size_objective_and_moves_that_change_it():
    sizes = {}
    for size in ("kept", "parameters", "macs"):
        problem = Masks(sparsity=None, size=size, **SMALL)
        assert [o.name for o in problem.objectives] == ["loss", size]
        assert set(problem.operators().moves) == {"swap", "add", "remove", "guided"}
        sizes[size] = problem.evaluate(sample(problem, 6))[:, 1]
        assert (sizes[size] > 0).all() and (sizes[size] <= 1).all()
    np.testing.assert_allclose(sizes["kept"], sizes["parameters"], rtol=1e-6)  # without biases
    assert len(np.unique(sizes["kept"])) == 6


def test_filters_are_cut_out_with_equal_outputs():
    problem = Masks(network="strided-cnn", level="filters", sparsity=0.6, **SMALL)
    x = sample(problem, 1)[0]
    whole, pruned = problem.decode(x), problem.pruned(x)
    images = problem.dataset.test.images
    torch.testing.assert_close(pruned(images), whole(images), rtol=1e-5, atol=1e-5)
    row = problem.describe(x)
    assert row["parameters"] == sum(p.numel() for p in pruned.parameters())
    assert row["filters_kept"] == problem.n_kept
    with pytest.raises(UsageError, match="filters"):
        Masks(**SMALL).pruned(sample(Masks(**SMALL))[0])


def test_own_network_is_masked_in_both_ways(monkeypatch):
    import sys
    import types

    module = types.ModuleType("own_nets")
    module.build = own_network
    monkeypatch.setitem(sys.modules, "own_nets", module)
    problem = Masks(network="own_nets:build", level="filters", sparsity=0.5, **SMALL | {"width": None})
    assert problem.space.labels == ["one"] and problem.layout.n == 4, "a residual sum shares its channels"
    assert np.isfinite(problem.evaluate(sample(problem))).all()
    problem = Masks(network="own_nets:build", sparsity=0.5, layers="two", **SMALL | {"width": None})
    assert problem.layout.n == 4 * 4 * 9 and np.isfinite(problem.evaluate(sample(problem))).all()


# -- search -----------------------------------------------------------------------------------


@pytest.mark.parametrize("moves", ["swap", "guided", "all"])
def test_annealing_lowers_the_loss(moves, tmp_path, no_plots):
    problem = Masks(**SMALL)
    before = problem.evaluate(sample(problem, 10)).min()
    run = opt.minimize(problem, "sa", n_eval=300, seed=1, out=tmp_path, n_chains=1, moves=moves, start_temperature=0.01)
    assert run.front["loss"][0] < before - 0.1
    genome = MaskGenome.from_mask(
        np.unpackbits(run.solution(run.front["id"][0])[MASK_BITS], count=problem.layout.n).astype(bool)
    )
    assert problem.evaluate(as_population([genome]))[0, 0] == run.front["loss"][0], "bit by bit, from nothing"
    assert run.front["weights_kept"][0] == problem.n_kept


def test_guided_search_with_fresh_images_resumes_to_the_same_run(tmp_path, no_plots):
    def build():
        return Masks(resample=7, momentum=0.5, **SMALL)

    options = {"n_gen": 40, "n_chains": 2, "seed": 3, "out": tmp_path, "start_temperature": 0.01}
    whole = opt.minimize(build(), "sa", **options)
    journal = (whole.path / "journal.jsonl").read_bytes()
    for n_kept in (5, 23):
        cut = tmp_path / f"cut-{n_kept}"
        shutil.copytree(whole.path, cut)
        (cut / "journal.jsonl").write_bytes(b"".join(journal.splitlines(keepends=True)[:n_kept]))
        (cut / "manifest.json").write_text(json.dumps(whole.manifest | {"status": "interrupted"}))
        resumed = opt.minimize(build(), resume=cut)
        assert (resumed.path / "journal.jsonl").read_bytes() == journal
        assert (resumed.path / "front.csv").read_bytes() == (whole.path / "front.csv").read_bytes()


def test_fresh_images_end_with_the_whole_search_split():
    problem = Masks(resample=2, images_from="train", **SMALL)
    X = sample(problem)
    problem.begin_run(np.random.default_rng(0))
    assert [problem.begin_generation(k) for k in (1, 2, 3, 4, 5)] == [False, False, True, False, True]
    fresh = problem.evaluate(X)
    assert problem.end_search()
    assert len(problem._shown) == len(problem.dataset.search) and (problem.evaluate(X) != fresh).all()
    problem.begin_run(np.random.default_rng(0))
    assert len(problem._shown) == 150 and not problem.end_search()


@pytest.mark.parametrize("start", ["magsign", "snip"])
def test_start_begins_with_the_criterions_mask(start):
    problem = Masks(start=start, **SMALL)
    X = sample(problem, 5)
    np.testing.assert_array_equal(X[0, 0].mask(), problem.criteria.mask(start, problem.n_kept))
    away = problem.distance(X, as_population([X[0, 0]] * 5))
    assert away[0] == 0 and (np.diff(away) >= 0).all() and away[-1] > 0


def test_references_are_masks_of_the_number_asked_for():
    problem = Masks(**{**SMALL, "references": "all"})
    references = {r.name: r.X for r in problem.references()}
    assert {"random", "large_final", "large_final_same_sign", "lth", "snip", "grasp", "synflow"} <= set(references)
    assert all(X[0, 0].n_kept == problem.n_kept for X in references.values())
    assert len({X[0, 0].key for X in references.values()}) == len(references)
    assert np.isfinite(evaluate_batch(problem, references["lth"])[0]).all()


def test_solution_holds_masks_and_the_packed_mask():
    problem = Masks(**SMALL)
    x = sample(problem, 1)[0]
    tensors = problem.tensors(x)
    np.testing.assert_array_equal(tensors[MASK_BITS], x[0].bits)
    assert not tensors["fc1.weight"][~tensors["fc1.weight_mask"]].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "sparsity"),
        ({"network": "lenet-3-100"}, "lenet-300-100"),
        ({"start": "magsing"}, "magsign"),
        ({"references": "snap"}, "snip"),
        ({"momentum": 1.0}, "momentum"),
        ({"largest_move": 0.0}, "largest_move"),
        ({"n_images": 0}, "n_images"),
        ({"layers": "conv*"}, "fits no layer"),
        ({"network": "strided-cnn", "level": "filters", "sparsity": 0.99}, "must stay"),
        ({"width": 0.0}, "width"),
    ],
)
def test_bad_options_are_refused_with_what_is_expected(options, message):
    with pytest.raises(UsageError, match=message):
        Masks(**{**SMALL, **options})


def test_published_search_runs_from_its_configuration(tmp_path, no_plots, monkeypatch):
    import yaml

    with open("problems/configs/masks-published.yaml") as file:
        config = yaml.safe_load(file)
    options = {**config["problem"], "data": "digits", "width": 0.1, "n_images": 100}
    run = opt.minimize(Masks(**options), config["algo"], n_eval=60, seed=0, out=tmp_path)
    assert run.front["error"][0] < 0.95 and run.manifest["n_eval"] == 60

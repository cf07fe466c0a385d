"""EComp: evaluation, refit, solutions, references and the published setting, on the digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from operators.networks import AlignedCrossover, BlockCrossover, NetworkGenome, WeightNoise, as_population
from opt.console.errors import UsageError
from problems.data.data import load_dataset
from problems.ecomp import EComp
from problems.networks.architectures.fully_connected import FullyConnected, save_fully_connected
from problems.networks.embeddings.similarities import GaussianSimilarity
from problems.networks.training.training import evaluate, train
from problems.similarity.least_squares import greedy_rankings
from problems.similarity.refit import SequentialRefit

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def parent_path(tmp_path_factory, one_thread):
    """A 64-24-20-10 parent, trained for a moment."""
    dataset = load_dataset("digits")
    model = FullyConnected((64, 24, 20, 10), seed=1)
    train(model, dataset.train, seed=0, epochs=8, batch_size=16, validation=0.0, progress=False)
    path = tmp_path_factory.mktemp("parent") / "parent.safetensors"
    save_fully_connected(model, path)
    return str(path)


def make(parent_path, **options):
    return EComp(checkpoint=parent_path, similarity_points=60, perplexity=10.0, **options)


PLAIN = {"refit": False}
PUBLISHED = {
    "refit": False,
    "crossover": "block",
    "mutation": "noise",
    "initial": "l1",
    "size": "width",
    "batch_size": 40,
}


def parent_of(problem):
    return FullyConnected.from_arrays(
        [weight.copy() for weight in problem.network.weights], [bias.copy() for bias in problem.network.biases]
    )


def one_by_one(problem, X, images, labels, n_points):
    """Error and dissimilarity of every decoded network by itself, in float64."""
    parent = parent_of(problem)
    rows = []
    with torch.no_grad():
        wanted = [layer[:n_points].double() for layer in parent.hidden(images)]
        for x in X:
            model = problem.decode(x)
            _, accuracy = evaluate(model, images, labels)
            loss = sum(
                float(GaussianSimilarity(theirs, perplexity=problem._measure_options["perplexity"])(layer.double()))
                for theirs, layer in zip(wanted, (layer[:n_points] for layer in model.hidden(images)), strict=True)
            )
            rows.append((1 - accuracy, loss))
    return np.array(rows)


def mixed_population(problem, rng):
    """Compact genomes, explicit corners, explicit everything."""
    X = problem.operators().sampling(12, rng)
    C, D = BlockCrossover(problem.network)(X[:6], X[6:], rng)
    noisy = WeightNoise(problem.network, probability=1.0)(X[:4], rng)
    E, F = AlignedCrossover(problem.network)(C[:4], noisy, rng)
    return np.concatenate([X, C, D, noisy, E, F])


@pytest.mark.parametrize("options", [{}, PLAIN, {**PUBLISHED, "batch_size": None}])
def test_evaluate_as_a_batch_equals_network_by_network(parent_path, options):
    problem = make(parent_path, **options)
    X = mixed_population(problem, np.random.default_rng(0))
    before = [x[0].fingerprint() for x in X]
    F = problem.evaluate(X)
    search = problem.workload.search.split
    expected = one_by_one(problem, X, search.flat, search.labels, 60)
    assert F.shape == (len(X), 3) and F.dtype == np.float64
    np.testing.assert_allclose(F[:, 0], expected[:, 0], atol=1e-9)
    np.testing.assert_allclose(F[:, 1], expected[:, 1], rtol=1e-4, atol=1e-5)
    assert ((F[:, [0, 2]] >= 0) & (F[:, [0, 2]] <= 1)).all() and (F[:, 1] >= -1e-6).all()
    assert [x[0].fingerprint() for x in X] == before
    np.testing.assert_allclose(problem.evaluate(X[3:5]), F[3:5], rtol=1e-4, atol=1e-6)


def test_evaluate_knows_the_parent(parent_path):
    problem = make(parent_path, **PLAIN)
    F = problem.evaluate(as_population([problem.network.genome()]))
    assert F[0, 1] < 1e-6 and F[0, 2] == 1.0


@pytest.mark.parametrize("similarity", ["student", "distance", "pair-distance"])
def test_every_similarity_is_zero_or_more_and_ranks_a_ruin_last(parent_path, similarity):
    problem = make(parent_path, refit=False, similarity=similarity)
    network = problem.network
    genomes = [network.genome([np.arange(w) for w in widths]) for widths in ((24, 20), (20, 16), (2, 1))]
    loss = problem.evaluate(as_population(genomes))[:, 1]
    assert (loss >= 0).all() and np.argmax(loss) == 2


@pytest.mark.parametrize("size", ["parameters", "width", "macs", "bytes"])
def test_size_counts_what_it_says(parent_path, size):
    problem = make(parent_path, size=size, **PLAIN)
    genome = problem.network.genome([np.arange(12), np.arange(5)])
    x = np.array([genome], dtype=object)
    model = problem.decode(x)
    parameters = sum(p.numel() for p in model.parameters())
    whole = 64 * 24 + 24 + 24 * 20 + 20 + 20 * 10 + 10
    macs = (64 * 12 + 12 * 5 + 5 * 10) / (64 * 24 + 24 * 20 + 20 * 10)
    expected = {"parameters": parameters / whole, "bytes": parameters / whole, "width": 0.375, "macs": macs}[size]
    assert problem.evaluate(x[None])[0, 2] == pytest.approx(expected)
    row = problem.describe(x)
    assert row["width"] == 0.375 and row["width_1"] == 12 and row["width_2"] == 5
    assert row["parameters"] == parameters and row["size_bytes"] == 4 * parameters


def test_refit_lowers_the_error_of_pruned_networks(parent_path):
    refitted, plain = make(parent_path), make(parent_path, **PLAIN)
    X = plain.operators().sampling(30, np.random.default_rng(2))
    assert refitted.evaluate(X)[:, 0].mean() < plain.evaluate(X)[:, 0].mean() - 0.1


def test_refit_towards_logits_equals_the_sequential_refit(parent_path):
    problem = make(parent_path, refit_target="logits")
    parent = parent_of(problem)
    refit = SequentialRefit(parent, problem.workload.train.split.flat)
    for x in problem.operators().sampling(6, np.random.default_rng(0)):
        ours = problem.decode(x)(problem.workload.search.split.flat)
        theirs = refit.refit([ids.astype(np.int64) for ids in x[0].ids])(problem.workload.search.split.flat)
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)


def test_refit_of_a_layer_of_dead_neurons_is_finite(parent_path):
    problem = make(parent_path)
    biases = (np.full(24, -1e3, dtype=np.float32), *problem.network.biases[1:])
    dead = NetworkGenome(problem.network.genome().ids, problem.network.weights, biases)
    F = problem.evaluate(as_population([dead]))
    assert np.isfinite(F).all()


def test_greedy_seeds_are_better_than_random_neurons(parent_path):
    greedy, random = (make(parent_path, initial=kind) for kind in ("greedy", "random"))
    means = [p.evaluate(p.operators().sampling(30, np.random.default_rng(0)))[:, 0].mean() for p in (greedy, random)]
    assert means[0] < means[1]
    for ranking, width in zip(greedy_rankings(greedy._refit_table), (24, 20), strict=True):
        assert sorted(ranking) == list(range(width))


@pytest.mark.parametrize("initial", ["mixed", "l1", "widths", "greedy", "random"])
def test_initial_populations_are_reproducible(parent_path, initial):
    sampling = make(parent_path, initial=initial).operators().sampling
    prints = [[x[0].fingerprint() for x in sampling(10, np.random.default_rng(seed))] for seed in (0, 0)]
    assert prints[0] == prints[1] and len(prints[0]) == 10


@pytest.mark.parametrize("options", [{}, PLAIN, {"finetune_steps": 20}])
def test_solutions_decode_save_and_test_alike(parent_path, options):
    problem = make(parent_path, **options)
    X = mixed_population(problem, np.random.default_rng(1))[::6]
    test = problem.workload.test.split
    for x, row in zip(X, problem.test_batch(X), strict=True):
        tensors = load(save({name: np.ascontiguousarray(array) for name, array in problem.tensors(x).items()}))
        model = FullyConnected((64, *x[0].widths, 10))
        model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in tensors.items()})
        loss, accuracy = evaluate(model, test.flat, test.labels)
        assert row["accuracy"] == pytest.approx(accuracy) and row["loss"] == pytest.approx(loss, rel=1e-4)
        torch.testing.assert_close(problem.decode(x)(test.flat), model(test.flat))
        assert problem.test(x) == pytest.approx(row, rel=1e-4)


def test_finetuning_helps_and_is_not_part_of_the_search(parent_path):
    plain, tuned = make(parent_path), make(parent_path, finetune_steps=300)
    X = plain.operators().sampling(9, np.random.default_rng(0))
    np.testing.assert_array_equal(plain.evaluate(X), tuned.evaluate(X))
    accuracy = [np.mean([row["accuracy"] for row in p.test_batch(X)]) for p in (plain, tuned)]
    assert accuracy[1] > accuracy[0]


def test_references_are_the_parent_and_two_curves(parent_path):
    problem = make(parent_path)
    references = {reference.name: reference for reference in problem.references()}
    assert list(references) == ["parent", "L1 pruning", "L1 pruning + refit"]
    assert references["parent"].F[0, 1:].tolist() == pytest.approx([0.0, 1.0], abs=1e-6)
    plain, refitted = references["L1 pruning"], references["L1 pruning + refit"]
    assert len(plain.F) >= 15
    np.testing.assert_array_equal(plain.F[:, 2], refitted.F[:, 2])
    assert refitted.F[:, 0].mean() < plain.F[:, 0].mean()
    assert [row["parameter_fraction"] for row in plain.parameters] == pytest.approx(plain.F[:, 2])
    assert all(0 <= row["accuracy"] <= 1 for row in plain.test)


def test_published_setting_moves_to_another_batch_each_generation(parent_path):
    problem = make(parent_path, **PUBLISHED)
    X = problem.operators().sampling(8, np.random.default_rng(0))
    search = problem.workload.search.split
    n_batches = len(search) // 40
    everything = problem.evaluate(X)
    problem.begin_run(np.random.default_rng(3))
    seen = []
    for n_gen in range(1, n_batches + 2):
        assert problem.begin_generation(n_gen)
        seen.append(problem.evaluate(X))
    assert not np.allclose(seen[0], seen[1])
    np.testing.assert_allclose(seen[0], seen[n_batches])
    first = int(np.random.default_rng(3).permutation(n_batches)[0]) * 40
    images, labels = search.flat[first : first + 40], search.labels[first : first + 40]
    expected = one_by_one(problem, X, images, labels, 40)
    np.testing.assert_allclose(seen[0][:, :2], expected, rtol=1e-4, atol=1e-5)
    assert problem.end_search()
    np.testing.assert_allclose(problem.evaluate(X), np.mean(seen[:n_batches], axis=0))
    np.testing.assert_allclose(problem.evaluate(X), everything)


def test_default_setting_keeps_its_batch(parent_path):
    problem = make(parent_path)
    assert not problem.begin_generation(1) and not problem.end_search()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"similarity_points": 2}, "similarity_points must be at least 3"),
        ({"merge": 1.5}, "merge must lie between 0 and 1"),
        ({"batch_size": 100_000}, "batch_size must be at most"),
        ({"network": "mlp-0"}, "must be from 1 to 10000"),
        ({"network": "resnet-20", "checkpoint": None}, "layer"),
        ({"hidden": 8}, r"EComp\(\): hidden is now network mlp-W-W"),
        ({"parent": "parent.safetensors"}, r"EComp\(\): parent is now checkpoint"),
        ({"checkpoint": "/nowhere/parent.safetensors"}, "parent.safetensors"),
        ({"data": "digit"}, "did you mean 'digits'"),
    ],
)
def test_wrong_options_are_one_line(options, message, parent_path):
    with pytest.raises(UsageError, match=message):
        EComp(**{"checkpoint": parent_path, **options})


def test_a_parent_of_another_data_set_is_refused(tmp_path):
    save_fully_connected(FullyConnected((5, 4, 3, 10)), tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="5 inputs to 10 classes"):
        EComp(checkpoint=str(tmp_path / "other.safetensors"))

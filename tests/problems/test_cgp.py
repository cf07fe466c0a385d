"""Circuits that compute weights: what the problem measures, its algorithm in C, and what a user can get wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from refusals import refused

import opt
from native.cgp import CostTable, Genome
from operators.circuits import UniformGenomeSampling
from opt.console.command import execute
from opt.problem.loading import load_problem_class
from opt.runs.run import load_run
from opt.solve import main
from problems.cgp import CGP
from problems.circuits.collapse import CollapsedTask
from problems.circuits.saved import saved_genome
from problems.circuits.strategy import _is_kept
from problems.circuits.tasks import Place, WeightData
from problems.networks.architectures.mobilenet import MobileNetV2
from problems.networks.layers.quantised import int8_weights
from problems.networks.storage.checkpoints import save_network

ROOT = Path(__file__).parents[2]
FILE = str(ROOT / "problems/cgp.py")

pytestmark = pytest.mark.usefixtures("no_plots")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def solve(monkeypatch, capsys):
    """`solve("file.py", "--seed", "1")`: python -m opt.solve, without a process of its own."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["opt.solve", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            execute(main)
        out, err = capsys.readouterr()
        return SimpleNamespace(code=caught.value.code, out=out, err=err)

    return call


def build(**options):
    return CGP(epochs=2, **options)


@pytest.fixture(scope="module")
def bypass(cache):
    return build(task="layer_bypass", rows=10, cols=5)


def sampled(problem, n=6, seed=0):
    return UniformGenomeSampling(problem.layout)(n, np.random.default_rng(seed))


# -- what is measured ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"task": "layer_bypass", "rows": 6, "cols": 4},
        {"task": "layer_bypass", "rows": 6, "cols": 4, "collapse": False},
        {"task": "all_layers", "rows": 6, "cols": 4},
        {"task": "all_layers", "rows": 6, "cols": 4, "error": "mae"},
        {"task": "no_input", "rows": 6, "cols": 4, "error": "mse"},
        {"task": "single_filter", "error": "ae"},
    ],
)
def test_error_is_that_of_the_weights_themselves(options):
    problem = build(**options)
    for x in sampled(problem, 4):
        codes = problem.codes(x)
        difference = np.concatenate(
            [
                (codes[place.layer].ravel()[place.index].astype(float) - part)
                for data in problem.task.data
                for place, part in zip(data.places, np.split(data.outputs.astype(float), _ends(data)), strict=True)
            ]
        )
        power = {"se": 2, "mse": 2, "ae": 1, "mae": 1}[problem.error]
        terms = np.abs(difference) ** power
        expected = terms.sum() if problem.error in ("se", "ae") else terms.mean()
        assert problem.evaluate(x[None])[0, 0] == pytest.approx(expected)
        assert problem.describe(x)["mse"] == pytest.approx((difference**2).mean())


def _ends(data):
    return np.cumsum([len(place.index) for place in data.places])[:-1]


def test_costs_are_the_sum_over_active_gates():
    problem = build(objectives="energy,gates,delay,area,depth,error")
    assert [o.name for o in problem.objectives] == ["energy_pj", "n_gates", "delay", "area", "depth", "error"]
    table = CostTable.default()
    energy = dict(zip(_names(), table.energy_pj, strict=True))
    for x in sampled(problem):
        gates = Genome(problem.grid, problem.functions, x.astype(np.int32)).gates
        F = problem.evaluate(x[None])[0]
        assert F[0] == pytest.approx(sum(energy[gate.function] for gate in gates))
        assert F[1] == sum(gate.function != "wire" for gate in gates)


def _names():
    from native.cgp import function_names

    return function_names("int8")


def test_threshold_is_a_root_mean_square_in_units_of_the_error():
    n = 2400
    for error, expected in (("se", 25 * n), ("mse", 25), ("ae", 5 * n), ("mae", 5)):
        assert build(task="layer_bypass", threshold=5.0, error=error).threshold == expected


def test_computed_weights_go_back_with_the_trained_scales(bypass):
    x = sampled(bypass, 1)[0]
    model = bypass.decode(x)
    codes = bypass.codes(x)
    assert set(codes) == {"conv2"}
    scale = torch.from_numpy(bypass.weights["conv2"].scale)
    assert torch.equal(model.conv2.weight, torch.from_numpy(codes["conv2"].astype(np.float32)) * scale)
    for name in ("conv1", "fc1", "fc2", "fc3"):
        assert torch.equal(getattr(model, name).weight, getattr(bypass.model, name).weight)
    images, labels = bypass.workload.test.split.images, bypass.workload.test.split.labels
    tested = bypass.test(x)
    assert tested["accuracy"] == pytest.approx(float((model(images).argmax(1) == labels).float().mean()))
    assert tested["top5"] >= tested["accuracy"] and tested["loss"] > 0


def test_verdict_counts_bytes_and_runs_of_the_circuit():
    problem = build(task="all_layers", rows=6, cols=4, memory="2.0", functions="int8")
    x = sampled(problem, 1)[0]
    row = problem.describe(x)
    assert row["circuit_pj"] == pytest.approx(2 * row["energy_pj"])
    assert row["loading_pj"] == 2.0 * (96 + 1536)
    assert row["saving"] == pytest.approx(1 - row["circuit_pj"] / row["loading_pj"])
    assert {"mse_conv1", "mse_conv2"} <= set(row)


def test_references_are_the_loaded_weights_and_the_nearest_inputs(bypass):
    loaded, wires = bypass.references()
    assert loaded.F.tolist() == [[0.0, 2400 * bypass.pj_per_byte]]
    base = bypass.model(bypass.workload.test.split.images).argmax(1) == bypass.workload.test.split.labels
    assert loaded.test[0]["accuracy"] == pytest.approx(float(base.float().mean()))
    error, energy = bypass.evaluate(wires.X)[0]
    conv1, conv2 = (bypass.weights[name].codes.astype(int).ravel() for name in ("conv1", "conv2"))
    nearest = np.abs(conv2[:, None] - conv1).min(axis=1)
    assert energy == 0 and error == (nearest**2).sum()


def test_scalarise_puts_error_first_and_energy_behind_the_threshold():
    problem = build(task="layer_bypass", threshold=1.0, rows=6, cols=4)
    F = np.array([[3000.0, 0.0], [2500.0, 50.0], [2400.0, 9.0], [10.0, 3.0], [2300.0, 2.0]])
    values = problem.scalarise(F)
    assert values.argsort().tolist() == [4, 3, 2, 1, 0] and (values[2:] < 0).all() and (values[:2] > 0).all()


def test_equal_circuits_have_one_fingerprint(bypass):
    x = sampled(bypass, 1)[0]
    idle = np.flatnonzero(~bypass.layout.active_genes(x[None])[0])
    other = x.copy()
    other[idle] = bypass.layout.xu[idle]
    assert (other != x).any() and bypass.fingerprint(other) == bypass.fingerprint(x)
    assert (bypass.evaluate(other[None]) == bypass.evaluate(x[None])).all()


def test_collapsed_data_sets_expand_to_what_they_were():
    rng = np.random.default_rng(0)
    data = tuple(
        WeightData(str(n), rng.integers(-128, 128, 3).astype(np.int8), rng.integers(-3, 4, n).astype(np.int8),
                   (Place("layer", np.arange(n)),), n)
        for n in (40, 150)
    )  # fmt: skip
    task = CollapsedTask(data)
    assert task.n_outputs < 60 and task.counts.sum(axis=1).tolist() == [40, 150]
    for expanded, d in zip(task.expand(task.distinct), data, strict=True):
        np.testing.assert_array_equal(expanded, d.outputs)
    whole = CollapsedTask(data, collapse=False)
    assert whole.n_outputs == 150
    for expanded, d in zip(whole.expand(whole.distinct), data, strict=True):
        np.testing.assert_array_equal(expanded, d.outputs)


def test_own_network_and_checkpoint(tmp_path, monkeypatch):
    (tmp_path / "small_net.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    problem = build(network="small_net:build", task="no_input", layer="0", rows=6, cols=4)
    assert problem.task.n_outputs == 100 and problem.test(sampled(problem, 1)[0])["accuracy"] > 0
    file = tmp_path / "net.safetensors"
    save_network(problem.model, file)
    again = build(network="small_net:build", checkpoint=str(file), task="no_input", layer="0", rows=6, cols=4)
    for name, int8 in int8_weights(problem.model).items():
        np.testing.assert_array_equal(again.weights[name].codes, int8.codes)


def test_layer_of_mobilenet(tmp_path):
    file, layer = tmp_path / "mobilenet.safetensors", "features.14.layers.0"
    save_network(MobileNetV2((1, 8, 8), 10, width=0.1), file)
    problem = CGP(
        network="mobilenet-v2", width=0.1, checkpoint=str(file), task="mobilenet", layer=layer, rows=6, cols=4
    )
    n = problem.weights[layer].codes.size
    assert problem.task.n_outputs == n and problem.collapsed.n_inputs == 96


# -- cgp-es -------------------------------------------------------------------------------------


def search(problem=None, **more):
    options = {"n_gen": 20, "seed": 3, "chunk": 300} | more
    return opt.minimize(problem or build(), "cgp-es", **options)


def files(run):
    paths = [run.path / "journal.jsonl", run.path / "front.csv", *sorted((run.path / "solutions").iterdir())]
    return {p.name: p.read_bytes() for p in paths}


def test_strategy_finds_what_it_says_and_saves_the_circuit(tmp_path):
    problem = build(threshold=6.0)
    run = search(problem, n_gen=40, chunk=1000, out=tmp_path)
    row = run.front.sort_values("energy_pj").iloc[0]
    assert row["error"] <= 6.0**2 * 16 and run.manifest["n_inner_eval"] == 40 * 1000 * 4
    genome = saved_genome(run, row["id"])
    (given,) = problem.collapsed.expand(genome(problem.collapsed.data[0].inputs))
    assert ((given.astype(float) - problem.task.data[0].outputs) ** 2).sum() == row["error"]
    assert run.solution(row["id"])["conv1.codes"].dtype == np.int8


@pytest.mark.parametrize("more", [{}, {"mutation": "published", "rate": 0.05}, {"start": "wires", "drift": False}])
def test_same_seed_gives_the_same_run_and_another_seed_another(tmp_path, more):
    first, again, other = (search(out=tmp_path / str(i), **more | {"seed": seed}) for i, seed in enumerate((3, 3, 4)))
    assert files(first) == files(again)
    assert files(first)["journal.jsonl"] != files(other)["journal.jsonl"]


@pytest.mark.parametrize("n_records", [0, 1, 7, 33, 36, 39])
def test_resumed_run_equals_the_uninterrupted_one(tmp_path, n_records):
    whole = search(n_gen=40, out=tmp_path)
    lines = (whole.path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    cut = tmp_path / "cut"
    shutil.copytree(whole.path, cut)
    (cut / "journal.jsonl").write_bytes(b"".join(lines[: n_records + 1]))
    (cut / "manifest.json").write_text(json.dumps(whole.manifest | {"status": "running"}))
    resumed = opt.minimize(build(), resume=cut)
    assert files(resumed) == files(whole)
    assert resumed.manifest["n_inner_eval"] == whole.manifest["n_inner_eval"]


def test_run_killed_at_any_moment_goes_on_to_the_same_end(tmp_path):
    options = ["--problem.epochs", "2", "--algo", "cgp-es", "--algo.chunk", "3000", "--n-gen", "200", "--quiet"]
    command = [sys.executable, "-m", "opt.solve", FILE, *options, "--out"]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    build()  # the network is trained once, outside
    whole = opt.minimize(build(), "cgp-es", chunk=3000, n_gen=200, seed=1, out=tmp_path / "whole")
    process = subprocess.Popen([*command, str(tmp_path / "killed")], cwd=ROOT, env=environment)
    end = time.monotonic() + 120
    while not [j for j in (tmp_path / "killed").glob("*/journal.jsonl") if j.stat().st_size > 60_000]:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (killed,) = (tmp_path / "killed").iterdir()
    assert load_run(killed).status == "interrupted"
    assert files(opt.minimize(build(), resume=killed)) == files(whole)


def test_states_grow_rare_and_a_sixteenth_is_the_most_that_is_repeated():
    kept = [n for n in range(1, 5000) if _is_kept(n)]
    assert kept[:16] == list(range(1, 17))
    gaps = np.diff(kept)
    assert (gaps <= np.maximum(1, np.array(kept[:-1]) / 16)).all()
    assert len(kept) < 16 * 10


def test_it_ends_at_its_generations_and_when_it_stalls(tmp_path):
    run = search(generations=1000, out=tmp_path)
    assert run.manifest["stop_reason"] == "1000 generations of the strategy done"
    assert run.manifest["n_gen"] == 4 and run.manifest["n_inner_eval"] == 4000
    run = search(stall=50, n_gen=1000, out=tmp_path)
    assert run.manifest["stop_reason"] == "the strategy stalled" and run.manifest["n_gen"] < 1000


@pytest.mark.parametrize("algo", ["nsga2", "ga", "sa", "deap-nsga2", "es", "random"])
def test_other_algorithms_search_it_too(tmp_path, algo):
    more = {"scalarise": "problem"} if algo in ("ga", "sa", "es") else {}
    run = opt.minimize(build(), algo, n_eval=300, seed=1, out=tmp_path, **more)
    assert run.manifest["n_eval"] == 300 and len(run.front)


# -- what can be wrong --------------------------------------------------------------------------


def cost_file(tmp_path, change):
    path = tmp_path / "costs.csv"
    CostTable.default().write(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("options", "part"),
    refused("cgp", "wrong_option_is_one_line_with_exit_code_2"),
)
def test_wrong_option_is_one_line_with_exit_code_2(solve, tmp_path, options, part):
    answer = solve(FILE, "--problem.epochs", "2", *options, "--out", tmp_path / "runs")
    assert answer.code == 2 and answer.out == ""
    assert part in answer.err and answer.err.count("\n") == 1 and answer.err.startswith("error: ")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda lines: lines[:5] + lines[6:], "expected"),
        (lambda lines: lines[:-1], "no 'wire'"),
        (lambda lines: [*lines[:2], lines[2].replace(",", ",-", 1), *lines[3:]], "not negative"),
        (lambda lines: [*lines[:2], lines[2].replace(",", ",x", 1), *lines[3:]], "line 3"),
        (lambda lines: lines[1:], "must begin with"),
    ],
)
def test_wrong_cost_table_is_one_line_with_exit_code_2(solve, tmp_path, change, part):
    file = cost_file(tmp_path, change)
    answer = solve(FILE, "--problem.epochs", "2", "--problem.costs", file, "--out", tmp_path / "runs")
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert "costs: cost table" in answer.err and part in answer.err


def test_cost_table_of_a_user_changes_energies_alone(tmp_path):
    file = cost_file(tmp_path, lambda lines: [lines[0], *(f"{line.split(',')[0]},2.5,1,1" for line in lines[1:])])
    ours, theirs = build(), build(costs=file)
    X = sampled(ours)
    active = ours.layout.active(X).sum(axis=1)
    np.testing.assert_allclose(theirs.evaluate(X)[:, 1], 2.5 * active)
    np.testing.assert_array_equal(theirs.evaluate(X)[:, 0], ours.evaluate(X)[:, 0])


def test_network_without_the_layers_of_the_task_is_told_so(solve, tmp_path, monkeypatch):
    (tmp_path / "dense_net.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
        "def empty():\n    return nn.Sequential(nn.Flatten(), nn.ReLU())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for model, part in (("build", "this network has none"), ("empty", "")):
        answer = solve(
            FILE, "--problem.network", f"dense_net:{model}", "--problem.epochs", "1", "--out", tmp_path / "r"
        )
        assert answer.code == 2 and part in answer.err and answer.err.count("error: ") == 1
        assert "Traceback" not in answer.err


def test_problem_is_listed_with_its_algorithm(solve):
    assert "cgp-es" in solve(FILE, "--list").out
    assert load_problem_class(FILE).own_algorithms[0].name == "cgp-es"
    text = " ".join(solve(FILE, "--algo", "cgp-es", "--help").out.split())
    for name in ("chunk", "drift", "generations", "mutation", "stall", "rate", "start", "n_offsprings"):
        assert f"--algo.{name} " in text

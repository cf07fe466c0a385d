"""What can be chosen by name: the options' types and help know what the dictionaries of factories know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from opt.console.errors import UsageError, check_choice
from opt.console.parameters import parameters_of
from opt.problem.loading import load_problem_class
from problems.circuits import variation as circuit_variation
from problems.data.data import DATASETS, load_dataset
from problems.lowrank import choices, goals, spectra
from problems.lowrank.retraining import pipeline
from problems.lowrank.retraining.prune_retrain import PruneRetrainOptions
from problems.masking import criterion_masks, logit_losses, mask_training, selection
from problems.networks.architectures import initial_weights, lottery_networks, named_networks
from problems.networks.architectures.lottery_networks import build_architecture
from problems.networks.embeddings import dissimilarity, similarities
from problems.similarity import least_squares, pruning
from problems.thresholds import scores, threshold_options
from problems.thresholds import variation as threshold_variation
from problems.workloads.reference_networks import NETWORKS, SCHEDULES, NetworkName

ROOT = Path(__file__).parents[2]
TASKS = ("ecomp", "threshold", "masks", "alds", "cgp", "cgp_layers")


def options_of(task):
    return parameters_of(load_problem_class(str(ROOT / "problems" / f"{task}.py")))


@pytest.mark.parametrize(
    ("literal", "factories"),
    [
        (dissimilarity.SimilarityName, similarities.SIMILARITIES),
        (least_squares.RefitTarget, least_squares.REFIT_TARGETS),
        (scores.ScoreName, scores.SCORES),
        (logit_losses.Loss, logit_losses.LOSSES),
        (mask_training.Kept, mask_training.BEGINNINGS),
        (selection.MaskScope, selection.SCOPES),
        (pipeline.Spacing, pipeline.SPACINGS),
        (NetworkName, NETWORKS),
        (circuit_variation.MutationName, circuit_variation.MUTATIONS),
        (circuit_variation.CrossoverName, circuit_variation.CROSSOVERS),
        (threshold_options.Initial, threshold_variation.SAMPLINGS),
        (threshold_options.Crossover, threshold_variation.CROSSOVERS),
        (threshold_options.Mutation, threshold_variation.MUTATIONS),
        (choices.Size, goals.SIZE_OBJECTIVES),
    ],
)
def test_type_of_an_option_names_every_factory(literal, factories):
    assert get_args(literal) == tuple(factories)


def test_types_that_name_some_of_the_factories_or_one_more():
    assert set(get_args(lottery_networks.Init)) < set(initial_weights.INITS)
    assert get_args(spectra.Measure) == (*spectra.WEIGHT_MEASURES, "data")
    assert set(criterion_masks.CRITERIA) == {
        *criterion_masks.AT_ONCE,
        *criterion_masks.IN_ROUNDS,
        *criterion_masks.ALIASES,
    }
    assert set(NETWORKS) == set(SCHEDULES)


@pytest.mark.parametrize("task", TASKS)
def test_help_of_the_data_set_lists_them_all(task):
    words = re.findall(r"[\w-]+", options_of(task)["data"].help)
    assert set(DATASETS) <= set(words)


def test_help_of_the_pipeline_lists_every_allocation():
    words = re.findall(r"[\w-]+", parameters_of(PruneRetrainOptions)["method"].help)
    assert set(pipeline.ALLOCATIONS) <= set(words)


def test_help_of_networks_lists_them_all():
    for task in ("threshold", "masks", "alds", "cgp", "cgp_layers"):
        words = re.findall(r"[\w-]+", options_of(task)["network"].help)
        assert set(named_networks.NETWORKS) <= set(words)


@pytest.mark.parametrize(
    ("task", "was", "now"),
    [("alds", "lenet5", "lenet-5-padded"), ("cgp", "lenet5", "lenet-5-valid"), ("masks", "lenet-5", "lenet-5-same")],
)
def test_a_network_by_its_former_name_is_answered_with_the_task_s_own(task, was, now):
    with pytest.raises(UsageError, match=f"network {was} is now called {now}; give --problem.network {now}"):
        load_problem_class(str(ROOT / "problems" / f"{task}.py"))(network=was)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_takes_network_and_data_by_the_same_options(task):
    names = (
        "workload",
        "network",
        "data",
        "data_dir",
        "checkpoint",
        "network_seed",
        "split_seed",
        "n_search",
        "n_test",
    )
    assert {*names, "epochs", "input_scale", "input_mean", "input_std", "image_size"} <= set(options_of(task))
    assert not {"model", "model_seed", "parent", "hidden", "parent_seed", "parent_epochs"} & set(options_of(task))


@pytest.mark.parametrize(
    ("choose", "wrong", "names"),
    [
        (lambda name: load_dataset(name), "mnistt", DATASETS),
        (lambda name: build_architecture(name, (1, 8, 8), 10), "conv-5", lottery_networks.ARCHITECTURES),
        (criterion_masks.check_criterion, "magnitud", criterion_masks.CRITERIA),
        (lambda name: selection.keep_highest([np.ones(3)], 2, scope=name), "globl", selection.SCOPES),
        (lambda name: pruning.neuron_scores(None, name), "outgoin", pruning.SCORES),
        (lambda name: scores.weight_scores(name, np.ones(3), None), "rmss", scores.SCORES),
        (lambda name: spectra.weight_errors(np.ones(3), None, 0, name), "spektral", spectra.WEIGHT_MEASURES),
        (lambda name: pipeline.keep_ratios(name, 0.5, 0.1, 3), "linea", pipeline.SPACINGS),
        (lambda name: initial_weights.draw_weights(None, seed=0, init=name), "hee", initial_weights.INITS),
        (lambda name: mask_training.beginning(None, {}, None, None, name, seed=0), "rewnd", mask_training.BEGINNINGS),
    ],
)
def test_wrong_name_is_told_with_all_names_and_the_nearest(choose, wrong, names):
    with pytest.raises(UsageError) as error:
        choose(wrong)
    assert repr(wrong) in str(error.value) and "did you mean" in str(error.value)
    assert all(name in str(error.value) for name in names)


def test_choice_itself_is_given_back():
    assert check_choice("kind", "b", {"a": 1, "b": 2}) == "b"
    with pytest.raises(UsageError, match=r"^kind must be one of a, b or a file, got 'x'$"):
        check_choice("kind", "x", ["a", "b"], more=" or a file")

"""Groups of options: flat names and whole groups give the same; what a reader sees is flat."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Annotated

import numpy as np
import pytest
import yaml

import opt
from opt.console.errors import UsageError
from opt.console.option_groups import flat_options, option_group
from opt.console.parameters import parameters_of
from opt.console.ranges import Range, Seed
from opt.problem.provenance import arguments_digest


@option_group
class TrainingOptions:
    """How a network is trained.

    Args:
        epochs: Passes over the data.
        training: What is trained.
    """

    epochs: Annotated[int, Range(1, 100)] = 5
    training: str = "all"


@option_group
class LongTrainingOptions(TrainingOptions):
    """The same for longer.

    Args:
        patience: Epochs without a gain.
    """

    epochs: Annotated[int, Range(1, 1000)] = 500
    patience: int = 3


@option_group
class SeedOptions:
    """Where randomness comes from.

    Args:
        model_seed: Seed of the network.
    """

    model_seed: Seed = 0


class Task(opt.CompressionProblem):
    """A task.

    Args:
        training: How the network is trained, `TrainingOptions`.
        seeds: Of anything random,
            in any part.
        width: Neurons.
    """

    objectives = (opt.Objective("a"),)

    @flat_options
    def __init__(self, *, training: TrainingOptions, seeds: SeedOptions, width: Annotated[int, Range(1, 9)] = 8):
        self.asked = (training.epochs, training.training, seeds.model_seed, width)
        super().__init__(n_var=2, xl=0, xu=1)


class LongTask(Task):
    """A task of its own default."""

    @flat_options
    def __init__(self, *, training: LongTrainingOptions, **rest):
        super().__init__(training=training, **rest)


def test_flat_names_and_groups_give_the_same():
    assert Task().asked == (5, "all", 0, 8)
    assert Task(epochs=3, width=2).asked == (3, "all", 0, 2)
    assert Task(training=TrainingOptions(epochs=3), width=2).asked == (3, "all", 0, 2)
    assert Task(training="head", epochs=3).asked == (3, "head", 0, 8), "an option may have its group's name"
    assert Task(model_seed=4, training=TrainingOptions()).asked == (5, "all", 4, 8)


def test_subclass_of_a_group_has_another_default():
    assert LongTask().asked == (500, "all", 0, 8)
    assert LongTask(epochs=600, patience=2).asked == (600, "all", 0, 8)
    assert parameters_of(LongTask)["epochs"].help == "Passes over the data."
    with pytest.raises(TypeError, match=r"LongTask\(\) takes training as LongTrainingOptions, got TrainingOptions"):
        LongTask(training=TrainingOptions())


def test_signature_documentation_and_parameters_are_flat():
    assert list(inspect.signature(Task).parameters) == ["epochs", "training", "model_seed", "width"]
    found = parameters_of(Task)
    assert found["epochs"].help == "Passes over the data." and found["epochs"].limits == Range(1, 100)
    assert found["training"].help == "What is trained." and found["model_seed"].kind is int
    assert found["width"].help == "Neurons." and found["width"].default == 8
    for line in ("epochs: Passes over the data.", "training: What is trained.", "model_seed: Seed", "width: Neurons."):
        assert line in Task.__doc__
    assert "in any part" not in Task.__doc__


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epoch": 3}, TypeError, r"Task\(\) got an unexpected keyword argument 'epoch'; did you mean 'epochs'\?"),
        ({"epochs": 3, "training": TrainingOptions()}, TypeError, "takes epochs by itself or in training, not both"),
        ({"seeds": 3}, TypeError, "takes seeds as SeedOptions, got int"),
        ({"training": SeedOptions()}, TypeError, "takes training as TrainingOptions, got SeedOptions"),
        ({"epochs": 0}, UsageError, "^epochs must be at least 1, got 0$"),
        ({"width": 10}, UsageError, "^width must be at most 9, got 10$"),
        ({"model_seed": -1}, UsageError, "^model_seed must be at least 0, got -1$"),
    ],
)
def test_wrong_option_is_refused_before_anything_is_built(options, error, words, monkeypatch):
    monkeypatch.setattr(opt.CompressionProblem, "__init__", None)
    with pytest.raises(error, match=words):
        Task(**options)


def test_group_is_frozen_keyword_only_and_checked():
    with pytest.raises(UsageError, match=r"^epochs must be at most 100, got 101$"):
        TrainingOptions(epochs=101)
    assert LongTrainingOptions(epochs=101).epochs == 101
    with pytest.raises(TypeError):
        TrainingOptions(3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingOptions().epochs = 3
    assert TrainingOptions(epochs=3) == TrainingOptions(epochs=3)


def test_what_a_problem_was_built_with_is_the_same_in_either_form():
    digests = {
        arguments_digest(problem)
        for problem in (Task(epochs=3), Task(training=TrainingOptions(epochs=3)), Task(epochs=3, width=8))
    }
    assert len(digests) == 1 and None not in digests
    assert arguments_digest(Task(epochs=4)) not in digests


@option_group
class StepOptions:
    """How far.

    Args:
        size: How large a step is.
    """

    size: float = 1.0


@option_group
class SizeOptions:
    """How many.

    Args:
        step: How many steps.
    """

    step: int = 2


def test_groups_and_options_may_have_each_others_names():
    @flat_options
    def walk(*, size: SizeOptions, step: StepOptions):
        """Walk.

        Args:
            size: Of one kind, `SizeOptions`.
            step: Of another,
                `StepOptions`.
        """
        return size.step, step.size

    assert list(inspect.signature(walk).parameters) == ["step", "size"]
    assert walk(size=3.0) == (2, 3.0) and walk(step=5) == (5, 1.0)
    assert walk(size=SizeOptions(step=7), step=StepOptions(size=0.5)) == (7, 0.5)
    assert "step: How many steps." in walk.__doc__ and "size: How large a step is." in walk.__doc__
    assert {name: p.help for name, p in parameters_of(walk).items()} == {
        "step": "How many steps.",
        "size": "How large a step is.",
    }


def test_group_without_the_decorator_and_names_given_twice_are_refused_at_once():
    with pytest.raises(TypeError, match="takes a group of options, training: add @flat_options"):

        class Forgotten(opt.CompressionProblem):
            def __init__(self, *, training: TrainingOptions):
                pass

    with pytest.raises(TypeError, match="several options of the name epochs"):

        @flat_options
        def twice(*, training: TrainingOptions, epochs: int = 3):
            pass


TASK = '''
from __future__ import annotations
from typing import Annotated
import numpy as np
from opt import CompressionProblem, Objective
from opt.console.option_groups import flat_options, option_group
from opt.console.ranges import Range

@option_group
class ShapeOptions:
    """Of the box.

    Args:
        n_var: Number of variables.
        largest: Upper bound.
    """
    n_var: Annotated[int, Range(1, 20)] = 2
    largest: Annotated[float, Range(0.0, is_above=True)] = 1.0

class Task(CompressionProblem):
    """A task.

    Args:
        shape: The box.
        offset: Added.
    """

    objectives = (Objective("a"), Objective("b"))

    @flat_options
    def __init__(self, *, shape: ShapeOptions, offset: float = 0.0):
        super().__init__(n_var=shape.n_var, xl=0, xu=shape.largest)
        self.offset = offset

    def evaluate(self, X):
        return np.column_stack([X.sum(axis=1) + self.offset, (1 - X).sum(axis=1)])
'''
SMALL = ("--algo.pop_size", "4", "--n-gen", "2", "--quiet")


@pytest.fixture
def task(tmp_path):
    file = tmp_path / "task.py"
    file.write_text(TASK)
    return file


def test_command_line_takes_and_shows_the_options_by_their_own_names(task, tmp_path, solve, no_plots):
    text = " ".join(solve(task, "--help").out.split())
    assert "--problem.n_var N_VAR Number of variables (1 to 20)." in text
    assert "--problem.largest LARGEST Upper bound (above 0)." in text and "--problem.shape" not in text
    options = (task, "--problem.n_var", 3, "--problem.offset", 1, *SMALL, "--out", tmp_path / "runs")
    printed = solve(*options, "--print-config").out
    assert solve(*options).code == 0
    (run,) = opt.list_runs(tmp_path / "runs")
    assert run.manifest["problem"]["parameters"] == {"n_var": 3, "largest": 1.0, "offset": 1.0}
    (tmp_path / "config.yaml").write_text(printed)
    assert solve(task, "--config", tmp_path / "config.yaml", "--print-config").out == printed
    assert solve("--resume", run.path, "--trust", "--quiet").code == 0


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--problem.n_var", 0), "--problem.n_var must be at least 1, got 0"),
        (("--problem.largest", 0), "--problem.largest must be above 0, got 0.0"),
        (("--problem.larges", 1), "unknown option --problem.larges; did you mean '--problem.largest'"),
    ],
)
def test_command_line_refuses_a_wrong_option_of_a_group(task, tmp_path, solve, option, words):
    answer = solve(task, *option, *SMALL, "--out", tmp_path / "runs")
    assert answer.code == 2 and words in answer.err and not (tmp_path / "runs").exists()


def test_study_file_expands_an_option_of_a_group(task, tmp_path, solve, no_plots):

    study = {"problem": {"file": str(task), "n_var": [2, 3]}, "algo": {"name": "nsga2", "pop_size": 4}, "n_gen": 2}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    answer = solve("--study", tmp_path / "study.yaml", "--quiet", "--out", tmp_path / "runs", "--name", "s")
    assert answer.code == 0, answer.err
    sizes = {run.manifest["problem"]["parameters"]["n_var"] for run in opt.list_runs(tmp_path / "runs" / "s")}
    assert sizes == {2, 3}


def test_run_of_a_task_with_groups_goes_on_from_python_in_either_form(tmp_path, no_plots):
    class Flat(Task):
        def evaluate(self, X):
            return X.sum(axis=1, keepdims=True)

    run = opt.minimize(Flat(epochs=3), "random", n_gen=2, pop_size=4, out=tmp_path)
    again = opt.minimize(Flat(training=TrainingOptions(epochs=3)), resume=run)
    assert np.array_equal(again.front, run.front)
    with pytest.raises(opt.UsageError, match="the problem's parameters"):
        import json

        manifest = json.loads((run.path / "manifest.json").read_text())
        (run.path / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
        opt.minimize(Flat(epochs=4), resume=run.path)

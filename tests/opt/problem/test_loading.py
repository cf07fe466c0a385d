"""Problem files: what is found in them, and what is said when nothing is."""

from __future__ import annotations

import pytest

from opt import UsageError
from opt.problem.loading import load_object, load_problem_class, name_of

CLASS = """
from pymoo.core.problem import Problem
class {name}(Problem):
    def __init__(self):
        super().__init__(n_var=2, n_obj=1, xl=0, xu=1)
"""


def written(tmp_path, text, name="task.py"):
    file = tmp_path / name
    file.write_text(text)
    return str(file)


def message(target):
    with pytest.raises(UsageError) as caught:
        load_problem_class(target)
    return str(caught.value)


def test_one_class_is_found(tmp_path):
    assert load_problem_class(written(tmp_path, CLASS.format(name="Mine"))).__name__ == "Mine"


def test_imported_private_and_aliased_classes_do_not_count(tmp_path):
    text = "from opt import CompressionProblem\nfrom pymoo.problems.multi.zdt import ZDT1\n"
    text += CLASS.format(name="_Base") + CLASS.format(name="Mine") + "Alias = Mine\n"
    assert load_problem_class(written(tmp_path, text)).__name__ == "Mine"


def test_one_of_several_is_chosen_by_name(tmp_path):
    file = written(tmp_path, CLASS.format(name="One") + CLASS.format(name="Two"))
    assert load_problem_class(f"{file}:Two").__name__ == "Two"
    assert "defines 2 problem classes (One, Two)" in message(file)
    assert "did you mean 'Two'" in message(f"{file}:Twoo")
    assert "it has One, Two" in message(f"{file}:Absent")


def test_file_may_import_its_neighbours(tmp_path):
    written(tmp_path, "WIDTH = 3\n", "beside_it.py")
    text = "from beside_it import WIDTH\n" + CLASS.format(name="Mine")
    assert load_problem_class(written(tmp_path, text)).__name__ == "Mine"


def test_file_with_an_odd_name_is_loaded(tmp_path):
    assert load_problem_class(written(tmp_path, CLASS.format(name="Mine"), "my task-2.0.py")).__name__ == "Mine"


def test_dataclasses_in_the_file_find_their_module(tmp_path):
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    text += "@dataclass\nclass Options:\n    n: int = 3\n" + CLASS.format(name="Mine")
    assert load_problem_class(written(tmp_path, text)).__name__ == "Mine"


def test_missing_file_offers_the_nearest(tmp_path):
    written(tmp_path, CLASS.format(name="Mine"))
    assert f"did you mean '{tmp_path}/task.py'" in message(str(tmp_path / "tusk.py"))
    assert "does not exist" in message(str(tmp_path / "far" / "away.py"))
    assert "does not exist" in message(str(tmp_path / "away.py:Mine"))


@pytest.mark.parametrize("name", ["task.txt", "task"])
def test_file_that_is_not_python_is_refused(tmp_path, name):
    assert "must be a Python file" in message(written(tmp_path, "x", name))


def test_folder_is_refused(tmp_path):
    assert "does not exist" in message(str(tmp_path))


@pytest.mark.parametrize("text", ["", "x = 1\n", "from opt import CompressionProblem\n"])
def test_file_without_a_problem_class_is_refused(tmp_path, text):
    assert "defines no problem class" in message(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("import no_such_module_anywhere\n", "line 1 fails to load: ModuleNotFoundError"),
        ("x = 1\ny = (\n", "line 2 fails to load: SyntaxError"),
        ("x = 1\n\n1 / 0\n", "line 3 fails to load: ZeroDivisionError"),
        ("def f():\n    raise KeyError('k')\nf()\n", "line 2 fails to load: KeyError"),
        ("import sys\nsys.exit('enough')\n", "line 2 fails to load: SystemExit"),
    ],
)
def test_file_that_fails_to_load_says_where_and_why(tmp_path, text, part):
    assert part in message(written(tmp_path, text))


def test_file_of_bytes_that_are_not_text_is_refused(tmp_path):
    file = tmp_path / "task.py"
    file.write_bytes(b"\xff\xfe\x00x = 1")
    assert "fails to load" in message(str(file))


def doubled(value):
    return 2 * value


class Holder:
    @staticmethod
    def inner():
        return 1


def test_function_is_found_by_its_name_and_named_as_it_is_found():
    name = name_of(doubled, "schedule")
    assert name == f"{__name__}:doubled"
    assert load_object(name, "schedule") is doubled


@pytest.mark.parametrize("function", [lambda x: x, Holder.inner, Holder().inner])
def test_function_that_no_name_leads_to_is_refused(function):
    with pytest.raises(UsageError, match="schedule must be a function at the top of a module"):
        name_of(function, "schedule")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("plain", "model must be package.module:function, got 'plain'"),
        (":name", "package.module:function"),
        ("no_such_package.nets:build", "cannot import no_such_package.nets"),
        (f"{__name__}:dubled", "no function 'dubled'; did you mean 'doubled'?"),
    ],
)
def test_function_that_is_not_there_is_a_usage_error(target, expected):
    with pytest.raises(UsageError) as caught:
        load_object(target, "model")
    assert expected in str(caught.value) and "\n" not in str(caught.value)

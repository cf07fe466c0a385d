"""A stranger's run or study runs no code of theirs until a person has said so: not even an import."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import opt
from opt.execution.named_code import Code, function_digests, named_functions

ROOT = Path(__file__).parents[3]
TASK = """
from pathlib import Path
Path({marker!r}).touch()
import numpy as np
from opt import CompressionProblem, Objective
class Task(CompressionProblem):
    objectives = (Objective("a"), Objective("b"))
    def __init__(self, *, model: str = ""):
        super().__init__(n_var=3, xl=0, xu=1)
    def evaluate(self, X):
        return np.column_stack([X.sum(axis=1), (1 - X).sum(axis=1)])
"""
SCHEDULE = """
from pathlib import Path
Path({marker!r}).touch()
def falling(fraction):
    return 1.0 - fraction
"""
OPTIONS = ("--n-gen", "3", "--algo.pop_size", "6", "--quiet")


class Place:
    """A folder with a problem file, in which commands are given; `marker` is there once it was imported."""

    def __init__(self, folder: Path, solve, monkeypatch) -> None:
        self.folder, self.solve, self.monkeypatch = folder, solve, monkeypatch
        self.home = folder / "home"
        self.home.mkdir()
        self.marker = folder / "imported"
        self.file = self.home / "task.py"
        self.file.write_text(TASK.format(marker=str(self.marker)))
        monkeypatch.chdir(self.home)

    def run(self, *options: object) -> Path:
        """An unfinished run of the problem."""
        answer = self.solve("task.py", *(options or OPTIONS), "--out", "runs")
        assert (answer.code, answer.err) == (0, "")
        (path,) = (self.home / "runs").iterdir()
        self.interrupt(path)
        self.forget()
        return path

    def interrupt(self, path: Path) -> None:
        """As a kill after one generation leaves a run."""
        lines = (path / "journal.jsonl").read_bytes().splitlines(keepends=True)
        (path / "journal.jsonl").write_bytes(b"".join(lines[:2]))
        self.change(path, status="interrupted")

    def change(self, path: Path, **fields: object) -> None:
        manifest = json.loads((path / "manifest.json").read_text())
        (path / "manifest.json").write_text(json.dumps(manifest | fields))

    def forget(self) -> None:
        """As a new process begins: nothing of the problem is loaded."""
        self.marker.unlink(missing_ok=True)
        for name in [n for n, m in sys.modules.items() if str(self.folder) in str(getattr(m, "__file__", ""))]:
            del sys.modules[name]

    def refused(self, *arguments: object, part: str) -> None:
        """Check that a command imports nothing, changes nothing and says why in one line."""
        before = {p: p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}
        answer = self.solve(*arguments)
        assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1), answer
        assert part in answer.err and ("--trust" in answer.err or "--force" in answer.err)
        assert not self.marker.exists(), "the file was imported"
        assert {p: p.read_bytes() for p in self.folder.rglob("*") if p.is_file()} == before


@pytest.fixture
def place(tmp_path, solve, monkeypatch, no_plots):
    return Place(tmp_path, solve, monkeypatch)


def test_a_run_of_a_file_under_the_present_folder_goes_on(place):
    path = place.run()
    assert place.solve("--resume", path).code == 0
    assert place.marker.exists() and opt.load_run(path).status == "finished"


def test_a_file_outside_the_present_folder_is_not_run(place, tmp_path):
    path = place.run()
    (tmp_path / "elsewhere").mkdir()
    place.monkeypatch.chdir(tmp_path / "elsewhere")
    place.refused("--resume", path, part=f"{place.file} (it lies outside the present folder)")
    assert place.solve("--resume", path, "--trust", "--quiet").code == 0
    assert place.marker.exists() and opt.load_run(path).status == "finished"


def test_a_link_out_of_the_present_folder_is_followed(place, tmp_path):
    path = place.run()
    elsewhere = tmp_path / "elsewhere.py"
    place.file.rename(elsewhere)
    place.file.symlink_to(elsewhere)
    place.refused("--resume", path, part=f"{elsewhere} (it lies outside the present folder)")


def test_a_file_that_has_changed_is_not_run(place):
    path = place.run()
    place.file.write_text(place.file.read_text() + "\n# changed\n")
    place.refused("--resume", path, part="it is not, or not on record as, what the run was made with")


@pytest.mark.parametrize("code", [{}, None, {"problem": None}, {"problem": 7}, {"opt": "0.1.0"}])
def test_a_manifest_that_does_not_say_what_the_file_held(code, place):
    path = place.run()
    place.change(path, code=code)
    place.refused("--resume", path, part="not on record")


def test_a_file_that_came_with_the_run_is_not_run_whatever_its_manifest_says(place):
    path = place.run()
    place.file.rename(path / "task.py")
    manifest = json.loads((path / "manifest.json").read_text())
    place.change(path, problem=manifest["problem"] | {"file": str(path / "task.py")})
    place.refused("--resume", path, part="it came with that folder")


def test_a_folder_called_like_a_file_leads_to_no_other_file(place):
    path = place.run()
    evil = place.folder / "evil.py"
    evil.write_text(place.file.read_text())
    folder = place.folder / "evil.py:x"
    folder.mkdir()
    (folder / "task.py").write_text("")
    manifest = json.loads((path / "manifest.json").read_text())
    place.change(path, problem=manifest["problem"] | {"file": f"{folder}/task.py"})
    place.refused("--resume", path, part=f"{evil} (it lies outside the present folder)")
    place.change(path, problem=manifest["problem"] | {"file": "task.py", "folder": str(folder)})
    place.file.unlink()
    answer = place.solve("--resume", path, "--trust")
    assert answer.code == 2 and "has .py: in a folder's name" in answer.err
    assert not place.marker.exists()


def test_problems_of_this_program_are_trusted_from_any_folder(place, tmp_path, solve):
    sys.path_importer_cache.clear()
    answer = solve(ROOT / "problems" / "cgp.py", "--problem.task", "weights", "--help")
    assert answer.code == 0
    from opt.execution.trust import Recorded, check_code
    from opt.problem.provenance import file_digest

    file = ROOT / "problems" / "cgp.py"
    recorded = Recorded({"x": {"problem": file_digest(file)}})
    check_code(tmp_path / "run", [Code("x", file)], recorded, trust=False)
    with pytest.raises(opt.UsageError, match="it is not, or not on record as"):
        check_code(tmp_path / "run", [Code("x", file)], Recorded({"x": {"problem": "0" * 16}}), trust=False)


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("Yes ", 0), ("no", 2), ("y", 2), ("", 2)])
def test_at_a_terminal_it_is_asked(answer, code, place, tmp_path):
    path = place.run()
    (tmp_path / "elsewhere").mkdir()
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "opt.solve", "--resume", str(path), "--quiet"],
        stdin=child,
        stderr=child,
        stdout=subprocess.PIPE,
        cwd=tmp_path / "elsewhere",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    os.close(child)
    told = b""
    while b"Type yes" not in told:
        told += os.read(parent, 4096)
    assert not place.marker.exists()
    os.write(parent, answer.encode() + b"\n")
    assert process.wait(timeout=120) == code
    process.stdout.close()
    os.close(parent)
    assert str(place.file) in told.decode() and "it lies outside the present folder" in told.decode()
    assert place.marker.exists() == (code == 0)


def test_a_study_of_files_elsewhere_is_not_opened(place, tmp_path):
    assert place.solve("task.py", *OPTIONS, "--runs", 2, "--out", "runs", "--name", "s").code == 0
    study = place.home / "runs" / "s"
    for path in study.glob("*/manifest.json"):
        place.interrupt(path.parent)
    place.forget()
    assert place.solve("--resume", study, "--quiet").code == 0, "the digest is on record"
    place.forget()
    (tmp_path / "elsewhere").mkdir()
    place.monkeypatch.chdir(tmp_path / "elsewhere")
    place.refused("--resume", study, part=f"{place.file} (it lies outside the present folder)")
    assert place.solve("--resume", study, "--trust", "--quiet").code == 0
    assert place.marker.exists()


def test_a_study_s_other_tasks_are_not_run_by_adding_to_it(place, sample):
    """The same command again, or one more, opens the study that is there: with tasks that it does not name."""
    assert place.solve("task.py", *OPTIONS, "--runs", 2, "--out", "runs", "--name", "s").code == 0
    place.file.write_text(place.file.read_text() + "\n")
    place.forget()
    more = (sample("Slope"), *OPTIONS, "--runs", 2, "--out", "runs", "--name", "s")
    place.refused(*more, part=f"{place.file} (it is not")
    # what the command names itself is trusted, changed or not
    assert place.solve("task.py", *OPTIONS, "--runs", 3, "--out", "runs", "--name", "s").code == 0
    place.forget()
    assert place.solve(*more).code == 0, "what the file holds now is on record"


def test_functions_that_parameters_name_are_code_too(place, tmp_path):
    marker = tmp_path / "called"
    module = place.home / "mine.py"
    module.write_text(SCHEDULE.format(marker=str(marker)))
    place.monkeypatch.syspath_prepend(str(place.home))
    options = ("--algo", "sa", "--algo.schedule", "mine:falling", "--n-gen", "6", "--quiet")
    path = place.run(*options)
    assert list(json.loads((path / "manifest.json").read_text())["functions"]) == ["mine:falling"]
    marker.unlink()
    assert place.solve("--resume", path, "--quiet").code == 0, "the digest is on record"
    place.interrupt(path)
    place.forget()
    marker.unlink()
    module.write_text(module.read_text() + "# changed\n")
    place.refused("--resume", path, part=f"mine:falling of {module} (it is not")
    assert not marker.exists()
    with pytest.raises(opt.UsageError, match="mine:falling of "):
        _minimize(path)
    assert not marker.exists()
    with pytest.raises(opt.UsageError, match="force=True"):
        _minimize(path, trust=True)
    assert _minimize(path, trust=True, force=True).status == "finished"


def _minimize(path: Path, **options: object) -> opt.Run:
    from opt.problem.loading import load_problem_class

    return opt.minimize(load_problem_class("task.py")(), resume=path, **options)


def test_a_function_in_the_run_s_folder_is_not_called(place):
    path = place.run()
    (path / "evil.py").write_text(SCHEDULE.format(marker=str(place.marker)))
    place.monkeypatch.syspath_prepend(str(place.home))
    manifest = json.loads((path / "manifest.json").read_text())
    name = f"runs.{path.name}.evil:falling"
    codes = [Code(parameters=({"x": [name]},))]
    place.change(
        path,
        problem=manifest["problem"] | {"parameters": {"model": name}},
        functions=function_digests(codes),
    )
    place.refused("--resume", path, part="it came with that folder")


def test_functions_are_found_without_importing_them(tmp_path, monkeypatch):
    marker = tmp_path / "imported"
    for name in ("one/__init__.py", "one/two/__init__.py", "one/two/three.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SCHEDULE.format(marker=str(marker)))
    monkeypatch.syspath_prepend(str(tmp_path))
    texts = ["one.two.three:f", "one.none:f", "none:f", "sys:exit", "math:sqrt", "one:0"]
    others = ["http://x", "torch:0", "sys:0", "9:30", ":", "a:", "one", "one.two", "C:\\x", "a b:c", ".:x", "..a:x"]
    functions = named_functions(Code(parameters=({"p": texts}, {"q": [{"r": tuple(others)}]})))
    files = [tmp_path / "one/__init__.py", tmp_path / "one/two/__init__.py", tmp_path / "one/two/three.py"]
    assert set(functions) == {"one.two.three:f", "sys:exit", "math:sqrt", "one:0"}
    assert functions["one.two.three:f"] == files and functions["one:0"] == files[:1] and functions["sys:exit"] is None
    assert not marker.exists() and "one" not in sys.modules


def test_masks_built_again_from_a_manifest_call_no_stranger_s_model(tmp_path, monkeypatch):
    from problems.figures.mask_runs import problem_of

    marker = tmp_path / "called"
    (tmp_path / "stranger.py").write_text(SCHEDULE.format(marker=str(marker)))
    monkeypatch.syspath_prepend(str(tmp_path))
    manifest = {"problem": {"class": "Masks", "name": "masks", "parameters": {"model": "stranger:falling"}}, "seed": 1}
    with pytest.raises(opt.UsageError, match=r"stranger:falling of .*stranger\.py .it lies outside the present folder"):
        problem_of(opt.Run(tmp_path / "run", manifest))
    assert not marker.exists()


def test_trust_takes_no_value(solve):
    answer = solve("--resume", "x", "--trust=false")
    assert answer.code == 2 and "--trust takes no value" in answer.err

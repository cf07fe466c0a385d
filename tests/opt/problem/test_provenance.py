"""What made a run, and a run that goes on with something else."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import sample_problems as samples
from pymoo.problems import get_problem

import opt
from opt.comparison.validity import validity_warnings
from opt.problem import provenance as module
from opt.problem.adapt import as_compression_problem
from opt.problem.provenance import arguments_digest, changes, provenance
from opt.problem.source_files import source_files

pytestmark = pytest.mark.usefixtures("no_plots")

PROBLEM = """
import numpy as np
from helper import scale
from opt import CompressionProblem, Objective


class Mine(CompressionProblem):
    objectives = (Objective("a"), Objective("b"))

    def __init__(self, *, data: str = "numbers.txt") -> None:
        super().__init__(n_var=3, xl=0.0, xu=1.0)
        self.offset = float(open(data).read())
        self.data = data

    def evaluate(self, X):
        from inner.late import twist
        return scale * np.column_stack([X.sum(axis=1) + self.offset, twist((1 - X) ** 2).sum(axis=1)])

    def data_fingerprint(self):
        return open(self.data).read()
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a problem, a module beside it, a package imported late, data, and an interrupted run."""
    folder = tmp_path / "project"
    (folder / "inner").mkdir(parents=True)
    (folder / "mine.py").write_text(PROBLEM)
    (folder / "helper.py").write_text("scale = 1.0\n")
    (folder / "inner" / "__init__.py").write_text("")
    (folder / "inner" / "late.py").write_text("def twist(x):\n    return x\n")
    (folder / "unrelated.py").write_text("a = 1\n")
    (folder / "numbers.txt").write_text("0.5")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    for name in [name for name in sys.modules if name in ("helper", "inner", "inner.late")]:
        del sys.modules[name]


def interrupted(solve, project):
    answer = solve("mine.py", "--n-gen", 6, "--algo.pop_size", 6, "--out", "runs", "--quiet")
    assert answer.code == 0, answer.err
    (run,) = opt.list_runs("runs")
    lines = (run.path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run.path / "journal.jsonl").write_bytes(b"".join(lines[:4]))
    manifest = {k: v for k, v in run.manifest.items() if k not in ("n_gen", "files", "seal", "digests")}
    (run.path / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    return run.path, b"".join(lines)


CHANGES = {
    "problem": ("mine.py", PROBLEM.replace("return scale", "return 100 * scale"), "the problem's file"),
    "beside": ("helper.py", "scale = 100.0\n", "helper.py"),
    "late import": ("inner/late.py", "def twist(x):\n    return 100 * x\n", "inner/late.py"),
    "data": ("numbers.txt", "50", "the data"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_resume_with_something_else_is_refused_and_forced(what, project, solve):
    """In processes of their own: a module that is imported once stays as it was."""
    run, _ = interrupted(solve, project)
    name, text, told = CHANGES[what]
    (project / name).write_text(text)

    def resume(*more):
        call = [sys.executable, "-m", "opt.solve", "--resume", str(run), "--quiet", *more]
        done = subprocess.run(call, capture_output=True, text=True, cwd=project)
        return done.returncode, done.stderr

    before = (run / "journal.jsonl").read_bytes()
    code, err = resume("--trust")
    assert code == 2 and err.count("\n") == 1, err
    assert "was begun with other code, data or versions" in err and told in err and "--force" in err
    assert (run / "journal.jsonl").read_bytes() == before

    code, err = resume("--trust", "--force")
    assert code == 0, err
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    (entry,) = manifest["resumed"]
    assert told in entry["changed"] and entry["n_gen"] == 3
    assert entry["changed"][told]["was"] != entry["changed"][told]["now"]
    resumed = opt.load_run(run)
    assert any(
        "went on with --force" in text and told in text for text in validity_warnings([resumed], ["a"], by=["algo"])
    )


def test_what_changed_is_told_and_what_did_not_is_not(project, solve):
    run, whole = interrupted(solve, project)
    (project / "unrelated.py").write_text("a = 2\n")
    assert solve("--resume", run, "--quiet").code == 0
    assert (run / "journal.jsonl").read_bytes() == whole


def test_forced_run_goes_on_again_without_force(tmp_path):
    manifest = {"versions": {"numpy": "1"}, "code": {}, "sources": {}, "data": "a", "problem": {"arguments": None}}
    present = {"versions": {"numpy": "2"}, "code": {}, "sources": {}, "data": "a", "arguments": None}
    assert list(changes(manifest, present)) == ["version of numpy"]
    entry = module.check_unchanged(tmp_path, manifest, present, is_forced=True)
    assert changes(manifest | {"resumed": [entry]}, present) == {}
    assert list(changes(manifest | {"resumed": [entry]}, present | {"data": "b"})) == ["the data"]


def test_old_manifests_compare_what_they_hold():
    manifest = {"versions": {"numpy": "1"}, "code": {"problem": "ab"}, "data": None, "problem": {}}
    present = {
        "versions": {"numpy": "1", "torch": "2"},
        "code": {"problem": "ab", "commit": "c", "modules": "d"},
        "sources": {"x.py": "1"},
        "data": "z",
        "arguments": "y",
    }
    assert changes(manifest, present) == {}


def test_versions_commit_and_arguments_count(monkeypatch):
    problem = samples.Slope()
    was = provenance(problem)
    manifest = was | {"problem": {"arguments": was["arguments"]}}
    assert changes(manifest, provenance(samples.Slope())) == {}
    assert list(changes(manifest, provenance(samples.Slope(n_var=5)))) == ["the problem's parameters"]
    assert changes(manifest, provenance(samples.Slope(n_var=4))) == {}
    monkeypatch.setattr(module, "_commit", lambda root: "0123456789abcdef")
    different = changes(manifest | {"code": was["code"] | {"commit": "f" * 40}}, provenance(problem))
    assert list(different) == ["commit of opt"]
    monkeypatch.setattr(module, "versions", lambda: was["versions"] | {"pymoo": "9.9"})
    assert "version of pymoo" in changes(manifest, provenance(problem))


def test_python_run_with_other_parameters_is_refused(tmp_path):
    run = opt.minimize(samples.Bowl(centre=0.25), "ga", n_gen=4, pop_size=6, out=tmp_path)
    lines = (run.path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run.path / "journal.jsonl").write_bytes(b"".join(lines[:3]))
    (run.path / "manifest.json").write_text(json.dumps(run.manifest | {"status": "running"}))
    with pytest.raises(opt.UsageError, match=r"the problem's parameters .*force=True"):
        opt.minimize(samples.Bowl(centre=0.5), resume=run.path)
    assert opt.minimize(samples.Bowl(), resume=run.path).status == "finished"


def test_arguments_are_told_apart():
    class Built(samples.Bowl):
        def __init__(self, table, *, names=("a",), options=None, thing=None):
            super().__init__()

    table = np.arange(6.0)
    first = arguments_digest(Built(table))
    assert first == arguments_digest(Built(table=table.copy(), names=("a",)))
    for other in (
        Built(table + 1),
        Built(table, names=("b",)),
        Built(table, options={"k": 1}),
        Built(table, thing=object()),
    ):
        assert arguments_digest(other) != first
    assert arguments_digest(Built(table, thing=object())) == arguments_digest(Built(table, thing=object()))
    plain = [arguments_digest(as_compression_problem(get_problem("zdt1", n_var=n))) for n in (4, 4, 5)]
    assert plain[0] == plain[1] != plain[2]


def test_sources_are_what_is_imported_from_the_own_package_or_folder(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    write("pack/__init__.py", "")
    write("pack/nets/__init__.py", "from .deep import net")
    write("pack/nets/deep.py", "import pack.shared as s\nfrom .. import other")
    write("pack/shared.py", "import numpy, json\nimport opt.search.engine")
    write("pack/other.py", "import pack.task")  # a circle
    write("pack/unused.py", "")
    write("opt.py", "")
    file = write("pack/task.py", "def f():\n    if True:\n        import pack.nets\n")
    assert set(source_files(file)) == {
        "pack/__init__.py", "pack/task.py", "pack/nets/__init__.py", "pack/nets/deep.py", "pack/shared.py",
        "pack/other.py",
    }  # fmt: skip
    plain = write(
        "loose/search.py", "import near\nfrom sub.deep import x\nimport missing\nimport os\nfrom . import near"
    )
    write("loose/near.py", "not python (")
    write("loose/sub/deep.py", "x = 1")
    assert set(source_files(plain)) == {"search.py", "near.py", "sub/deep.py"}
    assert set(source_files(plain, ["no.such.module", "opt.console.errors"])) >= {"search.py"}


def test_our_own_problems_are_known_by_their_package():
    from opt.problem.provenance import source_of
    from problems.ecomp import EComp

    file = source_of(EComp.__new__(EComp))
    names = set(source_files(file))
    assert "problems/ecomp.py" in names and "problems/__init__.py" in names
    assert any(name.startswith("problems/networks/") for name in names)
    assert not any(name.startswith(("opt/", "native/", "operators/")) for name in names)


def test_commit_is_read_from_gits_own_files(tmp_path):
    assert module._commit(tmp_path) is None
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert module._commit(tmp_path) is None
    (git / "packed-refs").write_text("# pack-refs\n" + "b" * 40 + " refs/heads/main\n")
    assert module._commit(tmp_path) == "b" * 40
    (git / "refs/heads/main").write_text("c" * 40 + "\n")
    assert module._commit(tmp_path) == "c" * 40
    (git / "HEAD").write_text("d" * 40 + "\n")
    assert module._commit(tmp_path) == "d" * 40
    tree = tmp_path / "tree"
    (git / "worktrees/tree").mkdir(parents=True)
    tree.mkdir()
    (tree / ".git").write_text("gitdir: ../.git/worktrees/tree\n")
    (git / "worktrees/tree/HEAD").write_text("ref: refs/heads/main\n")
    (git / "worktrees/tree/commondir").write_text("../..\n")
    assert module._commit(tree) == "c" * 40


def test_plain_problem_that_counts_or_caches_goes_on_with_itself(tmp_path):
    problem = get_problem("zdt1", n_var=4)
    run = opt.minimize(problem, n_gen=6, pop_size=6, out=tmp_path)
    problem.pareto_front()
    lines = (run.path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run.path / "journal.jsonl").write_bytes(b"".join(lines[:3]))
    (run.path / "manifest.json").write_text(json.dumps(run.manifest | {"status": "running"}))
    assert opt.minimize(problem, resume=run.path).status == "finished"
    assert (run.path / "journal.jsonl").read_bytes() == b"".join(lines)


def test_attribute_called_inner_is_the_problems_own(tmp_path):
    class Own(samples.Slope):
        def __init__(self):
            super().__init__()
            self.inner = 3

    assert opt.minimize(Own(), n_gen=2, pop_size=6, out=tmp_path).status == "finished"


class Counting(samples.Slope):
    """Counts the candidates that are really evaluated."""

    n_counted = 0

    def evaluate(self, X):
        Counting.n_counted += len(X)
        return super().evaluate(X)

    def references(self):
        return []


@pytest.mark.parametrize("algo", ["nsga2", "sa", "deap-nsga2", "random", "cma-es"])
@pytest.mark.parametrize("n_records", [0, 1, 4, 7])
def test_resumed_run_serves_recorded_values_and_evaluates_the_rest_only(algo, n_records, tmp_path):
    Counting.n_counted = 0
    whole = opt.minimize(Counting(), algo, n_gen=7, out=tmp_path)
    assert Counting.n_counted == whole.manifest["n_eval"]
    lines = (whole.path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    recorded = sum(record["new"] for record in whole.journal()[:n_records])
    (whole.path / "journal.jsonl").write_bytes(b"".join(lines[: 1 + n_records]))
    (whole.path / "manifest.json").write_text(json.dumps(whole.manifest | {"status": "running"}))
    Counting.n_counted = 0
    resumed = opt.minimize(Counting(), resume=whole.path)
    assert Counting.n_counted == resumed.manifest["n_eval"] - recorded
    assert (whole.path / "journal.jsonl").read_bytes() == b"".join(lines)


def test_arguments_are_the_same_in_another_order_and_beside_a_new_default():
    class Before(samples.Slope):
        def __init__(self, *, width: int = 3, name: str = "a") -> None:
            super().__init__()

    class After(samples.Slope):
        def __init__(self, *, name: str = "a", depth: int = 1, width: int = 3) -> None:
            super().__init__()

    recorded = arguments_digest(Before(width=5))
    then = {"width": 5, "name": "a"}
    assert arguments_digest(After(width=5)) != recorded
    assert arguments_digest(After(width=5), recorded=then) == recorded
    assert arguments_digest(After(width=6), recorded=then) != recorded
    assert arguments_digest(After(width=5, depth=2), recorded=then) != recorded

"""What the documents say works: the example problem, and every command line in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from opt.flags.command_line import scan
from opt.plots.trace import trace_figure
from opt.runs.run_check import check_run
from opt.runs.run_listing import list_runs
from opt.studies.sweep import parsed, settings_of_command, settings_of_study

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    (page.name, line.split("#")[0].strip())
    for page in PAGES
    for line in page.read_text(encoding="utf-8").splitlines()
    if line.startswith(("python -m opt.solve problems/", "python -m opt.solve docs/", "opt-solve "))
]


def test_commands_are_found():
    assert len(COMMANDS) > 5


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{p}-{i}" for i, (p, _) in enumerate(COMMANDS)])
def test_command_of_the_documents_is_understood(page, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = shlex.split(command)
    scanned = scan(words[1:] if words[0] == "opt-solve" else words[3:])
    assert scanned.problem is not None
    assert parsed(settings_of_command(scanned.problem, scanned.algo.split(","), scanned.tokens))


def test_study_file_of_the_documents_is_what_they_say(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/studies.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "study.yaml").write_text(text)
    settings = settings_of_study(tmp_path / "study.yaml")
    assert len(settings) == 9
    assert all(options.runs == 10 for options in parsed(settings))


def test_files_named_in_the_documents_exist():
    missing = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            if not (page.parent / link).exists():
                missing.append(f"{page.name}: {link}")
    assert not missing


def test_tree_of_the_readme_is_that_of_the_checkout():
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Where things are")[2].split("```")[1]
    told: dict[Path, set[str]] = {}
    for line in text.strip().splitlines():
        if not line.startswith(" "):
            top = ROOT / line.split()[0]
        told.setdefault(top, set()).update(re.findall(r"[\w.]+(?:/|\.py)", line))
    for top, names in told.items():
        here = {path.name for path in top.rglob("*")} | {top.name}
        assert not {name.rstrip("/") for name in names} - here
        if top.name in ("opt", "problems", "operators"):
            assert not {f"{path.parent.name}/" for path in top.glob("*/__init__.py")} - names


def test_own_problem_of_the_documents_runs(tmp_path, solve, no_plots):
    answer = solve(
        ROOT / "docs/own_problem.py", "--n-gen", "3", "--algo.pop_size", "8", "--problem.hidden", "8", "--out", tmp_path
    )
    assert (answer.code, answer.err) == (0, "")
    (run,) = list_runs(tmp_path)
    assert {"error", "size", "test_accuracy", "bits_1", "bits_3"} <= set(run.front.columns)
    assert run.front["error"].between(0, 1).all()
    assert run.front["size"].between(2, 8).all()


def test_own_algorithm_of_the_documents_runs(tmp_path, solve, no_plots):
    small = ("--problem.network", "mlp-8-8", "--problem.epochs", "1", "--problem.n_search", "100")
    options = ("--algo", "late-acceptance", "--algo.n_climbers", "4", "--algo.patience", "3", "--n-eval", "60")
    answer = solve(ROOT / "docs/own_algorithm.py", *options, *small, "--quiet", "--out", tmp_path)
    assert answer.code == 0, answer.err
    (run,) = list_runs(tmp_path)
    assert {"current", "late", "accepted"} <= set(run.trace.columns) and len(run.trace) >= run.manifest["n_gen"] - 1
    assert run.manifest["stop_reason"] in ("60 evaluations done", "no climber went up for 3 generations")
    assert trace_figure(run).axes
    assert "wrong" not in {finding.verdict for finding in check_run(run.path)}
    answer = solve(ROOT / "docs/own_algorithm.py", "--list")
    assert "late-acceptance" in answer.out

"""What comes from files of strangers never steers the terminal: shown escaped by every command."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from rich.table import Table

import opt
from opt import show
from opt.compare import compare
from opt.compare import main as compare_main
from opt.comparison.output_files import write_comparison
from opt.console.command import complain, execute
from opt.console.terminal import SafeConsole, printable, tell
from opt.files import csv_table
from opt.plot import main as plot_main
from opt.search.progress import SearchProgress
from tests.sample_problems import Slope

ROOT = Path(__file__).parents[3]
EVIL = "x\x1b[31m\x1b]0;title\x07\r\x08\x9b2J\u202egnp.exe\u2066 [bold]b[/bold] [/x] :smile: é"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ordinary, é, 日本, 🎉, a\u00a0b", "ordinary, é, 日本, 🎉, a\u00a0b"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\r\x07\x08\x7f\x9b", "\\x0d\\x07\\x08\\x7f\\x9b"),
        ("\u202e\u2066\u200e\u2028\ufeff", "\\u202e\\u2066\\u200e\\u2028\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
        ("\udcff\ud800", "\\xff\\ud800"),
        (Path("a\x1b"), "a\\x1b"),
        (3, "3"),
    ],
)
def test_what_would_steer_a_terminal_is_escaped(text, shown):
    assert printable(text) == shown
    assert printable(printable(text)) == shown


def test_consoles_show_text_and_tables_escaped_and_keep_their_styles(capsys):
    stream = io.StringIO()
    console = SafeConsole(file=stream, force_terminal=True, width=200, markup=False, emoji=False, highlight=False)
    console.print("\x1b[31mred")
    table = Table(header_style="bold")
    table.add_column("\x1b[1mname")
    table.add_row(EVIL)
    console.print(table)
    out = stream.getvalue()
    assert "\\x1b[31mred" in out and "\\x1b[1mname" in out and "[bold]b[/bold] [/x] :smile:" in out
    assert "\x1b[1m" in out, "the header's own style"
    assert not RAW.search(re.sub("\x1b\\[[0-9;]*m", "", out))
    tell(EVIL)
    complain(EVIL)
    answer = capsys.readouterr()
    assert not RAW.search(answer.out + answer.err)


def test_a_terminal_s_progress_takes_any_name(monkeypatch, capsys):
    from opt.search.budget import Budget
    from opt.search.search_state import State

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    progress = SearchProgress([opt.Objective(EVIL)], Budget.of(n_gen=3))
    import numpy as np

    progress.note(EVIL)
    progress.finish(State(n_gen=1, best=np.array([1.0])))
    out = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)
    assert "[/x]" in out and not RAW.search(out.replace("\r", ""))


def test_streams_that_cannot_hold_a_letter_show_it_escaped(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(SystemExit) as caught:
        execute(lambda argv: tell("é\udcff"))
    assert caught.value.code == 0
    assert stream.buffer.getvalue() == b"\\xe9\\xff\n"


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """Two finished runs with a terminal's commands in every text that their files hold."""
    out = tmp_path_factory.mktemp("runs")
    folders = []
    for seed in (1, 2):
        run = opt.minimize(Slope(), n_gen=2, pop_size=6, seed=seed, out=out)
        folder = run.path.rename(out / f"{seed}\x1b[32m\r\u202e\udcff")
        text = (folder / "manifest.json").read_text()
        manifest = json.loads(text.replace('"gain"', json.dumps("ga\x1bin")))
        manifest["problem"] |= {"name": EVIL, "class": EVIL, "file": f"\udcff{EVIL}.py", "parameters": {EVIL: EVIL}}
        manifest["algo"] |= {"name": f"nsga2\x1b[5m{seed}", "parameters": {EVIL: EVIL}}
        manifest |= {"failures": {EVIL: 3}, "n_failed": 3, "command": EVIL, "stop_reason": EVIL}
        manifest["data"] = EVIL + str(seed)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        for file in (folder / "front.csv", folder / "references.csv", folder / "history.csv"):
            file.write_text(file.read_text().replace("gain", "ga\x1bin"))
        front = opt.load_run(folder).front
        front["wo\x1brd"] = EVIL
        (folder / "front.csv").write_bytes(csv_table.encode(front))
        folders.append(folder)
    return folders


def run_command(main, argv, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", *map(str, argv)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        execute(main)
    return caught.value.code, *capsys.readouterr()


def test_show_passes_nothing_to_the_terminal(evil, monkeypatch, capsys):
    for argv in ([evil[0]], [evil[0], "--check"], ["--runs", evil[0].parent], [evil[0].parent / "no\x1bne"]):
        code, out, err = run_command(show.main, argv, monkeypatch, capsys)
        assert code in (0, 1, 2) and not RAW.search(out + err), argv
        assert "\\x1b" in out + err


def test_compare_passes_nothing_to_the_terminal_or_the_page(evil, monkeypatch, capsys, tmp_path):
    out = tmp_path / "o\x1but"
    code, text, err = run_command(compare_main, [*evil, "--out", out], monkeypatch, capsys)
    assert (code, err) == (0, "") and not RAW.search(text)
    assert not RAW.search((out / "index.html").read_text(encoding="utf-8"))
    assert not RAW.search((out / "warnings.txt").read_text(encoding="utf-8"))


def test_the_page_escapes_markup_everywhere(evil, tmp_path):
    mark = '<img src=x onerror="alert(1)">\'&</script>'
    folders = []
    for folder in evil:
        folders.append(tmp_path / folder.name[:1])
        shutil.copytree(folder, folders[-1])
        text = (folders[-1] / "manifest.json").read_text()
        for name in ("\\u001b[31m", "ga\\u001bin", "nsga2"):
            text = text.replace(name, json.dumps(mark)[1:-1])
        (folders[-1] / "manifest.json").write_text(text)
        history = opt.load_run(folder).history
        history.columns = [str(name).replace("ga\x1bin", mark) for name in history.columns]
        (folders[-1] / "history.csv").write_bytes(csv_table.encode(history))
        front = opt.load_run(folder).front.rename(columns={"ga\x1bin": mark, "wo\x1brd": f"w{mark}"})
        front[f"w{mark}"] = mark
        (folders[-1] / "front.csv").write_bytes(csv_table.encode(front))
    write_comparison(compare([opt.load_run(f) for f in folders]), tmp_path / "c", command=mark)
    page = (tmp_path / "c" / "index.html").read_text()
    assert "onerror" in page and "<img src=x" not in page
    assert page.count("</script>") == 2, "one of the data, one of the code"


def test_plot_passes_nothing_to_the_terminal(evil, monkeypatch, capsys, tmp_path):
    for runs in (evil[:1], evil):
        code, out, err = run_command(plot_main, [*runs, "--out", tmp_path / "p\x1b.png"], monkeypatch, capsys)
        assert code == 0 and "p\\x1b.png" in out and not RAW.search(out) and not RAW.search(err)
        assert all(line.startswith("warning: ") for line in err.splitlines()), "runs that this test has altered"


def test_an_error_of_thousands_of_letters_keeps_its_beginning_and_its_end(capsys):
    assert complain("begins " + "x" * 9000 + "\n ends") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: begins xxx") and err.endswith("xxx ends\n") and len(err) < 1200


def test_commands_print_by_one_way_only():
    """`print` stands where the text is our own or goes to no terminal."""
    own = {"opt/console/terminal.py", "opt/console/command.py", "opt/execution/stopping.py", "opt/studies/isolated.py"}
    own |= {"problems/networks/training/training.py", "problems/networks/training/sgd.py"}  # numbers of epochs
    for file in sorted([*(ROOT / "opt").rglob("*.py"), *(ROOT / "problems").rglob("*.py")]):
        if str(file.relative_to(ROOT)) in own:
            continue
        calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        assert not names & {"print", "Console"}, f"{file}: use opt.console.terminal.tell or SafeConsole"

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import opt
from opt import show
from opt.runs import journal
from opt.runs.run import Run


class Fragile(opt.CompressionProblem):
    """Two objectives; a part of the candidates fails."""

    objectives = (opt.Objective("error", unit="fraction"), opt.Objective("size", opt.maximise))

    def __init__(self) -> None:
        super().__init__(n_var=2, xl=0.0, xu=1.0)

    def evaluate(self, X):
        if len(X) == 1 and X[0, 0] > 0.9:
            raise RuntimeError("singular matrix [1]")
        if (X[:, 0] > 0.9).any():
            raise RuntimeError("one of them")
        return np.stack([X[:, 0] + X[:, 1] ** 2, -np.sqrt(1 - X[:, 1])], axis=1)

    def test(self, x):
        return {"error": float(x[0])}


class Moving(Fragile):
    def begin_generation(self, n_gen):
        self.n_gen = n_gen
        return n_gen > 1

    def evaluate(self, X):
        return np.stack([X[:, 0], -X[:, 1]], axis=1) * (1 + 0.1 * np.sin(2 * getattr(self, "n_gen", 0)))


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Run:
    return opt.minimize(Fragile(), "nsga2", n_gen=6, out=tmp_path_factory.mktemp("made"), pop_size=30)


@pytest.fixture
def run(original, tmp_path) -> Run:
    """A run whose files a test may change."""
    return opt.load_run(shutil.copytree(original.path, tmp_path / "runs" / original.path.name))


def check(run: Run, capsys) -> tuple[int, list[str]]:
    code = show.main([str(run.path), "--check"])
    return code, capsys.readouterr().out.splitlines()


def wrong(lines: list[str]) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in lines if line.split()[0] == "wrong"]


def rewrite(run: Run, change) -> None:
    """Change the journal's records and write them with valid checks."""
    records = run.journal()
    change(records)
    head = journal.encode({"format": journal.FORMAT, "version": journal.VERSION})
    (run.path / "journal.jsonl").write_bytes(head + b"".join(journal.encode(r) for r in records))


def test_list_shows_every_run(run, capsys):
    assert show.main(["--runs", str(run.path.parent)]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:8] == ["run", "problem", "algorithm", "seed", "status", "n_gen", "n_eval", "hypervolume"]
    assert row.split()[:5] == [str(run.path), run.manifest["problem"]["name"], "nsga2", "1", "finished"]
    assert row.split()[5:7] == ["6", str(run.manifest["n_eval"])]


def test_list_of_an_unfinished_run_reads_its_history(run, capsys):
    manifest = {k: v for k, v in run.manifest.items() if k not in ("n_gen", "n_eval", "hypervolume")}
    (run.path / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    assert show.main(["--runs", str(run.path.parent)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[4:6] == ["interrupted", "6"]


def test_list_of_nothing_says_how_to_start(tmp_path, capsys):
    assert show.main(["--runs", str(tmp_path)]) == 0
    assert "opt.solve" in capsys.readouterr().out


def test_show_tells_what_was_asked_and_how_it_ended(run, capsys):
    assert show.main([str(run.path)]) == 0
    out = capsys.readouterr().out
    for text in ("pop_size=30", "n_gen=6", "6 generations done", "minimise error [fraction]", "maximise size"):
        assert text in out
    assert f"{run.manifest['n_failed']}  RuntimeError: singular matrix [1]" in out
    assert "journal.jsonl" in out and f"python -m opt.plot {run.path}" in out


def test_show_prints_at_most_15_rows_spread_along_the_front(run, capsys):
    show.main([str(run.path)])
    ids = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("e0")]
    front = run.front
    assert len(ids) == min(15, len(front)) and set(ids) <= set(front["id"])
    assert front["id"].iloc[0] in ids and front["id"].iloc[-1] in ids


def test_show_finds_a_run_by_its_name(run, capsys):
    assert show.main([run.path.name, "--runs", str(run.path.parent)]) == 0
    assert str(run.path) in capsys.readouterr().out


def test_check_of_a_sound_run_is_fine(run, capsys):
    code, lines = check(run, capsys)
    assert code == 0
    assert {line.split()[0] for line in lines[1:]} == {"ok"}
    subjects = {line.split()[1] for line in lines[1:]}
    assert subjects >= {"manifest.json", "journal.jsonl", "generations", "evaluations", "front.csv", "hypervolume"}


def test_check_without_a_run_checks_all(run, capsys):
    shutil.copytree(run.path, run.path.parent / "second")
    assert show.main(["--check", "--runs", str(run.path.parent)]) == 0
    assert sum(not line.startswith(" ") for line in capsys.readouterr().out.splitlines()) == 2


def test_check_reports_a_torn_tail_as_droppable(run, capsys):
    (run.path / "manifest.json").write_text(json.dumps(run.manifest | {"status": "running"}))
    with open(run.path / "journal.jsonl", "ab") as file:
        file.write(b'{"crc":"0123')
    code, lines = check(run, capsys)
    assert code == 0
    assert any(line.split()[:2] == ["note", "journal.jsonl"] and "12 bytes" in line for line in lines)


def test_check_accepts_values_that_changed_their_meaning(tmp_path, capsys):
    for algo in ("nsga2", "random"):
        code, lines = check(opt.minimize(Moving(), algo, n_gen=6, out=tmp_path), capsys)
        assert code == 0 and any(line.split()[:2] == ["note", "hypervolume"] for line in lines)


def test_check_accepts_a_run_killed_before_its_history_row(run, capsys):
    (run.path / "manifest.json").write_text(json.dumps(run.manifest | {"status": "running"}))
    history = (run.path / "history.csv").read_text().splitlines(keepends=True)
    (run.path / "history.csv").write_text("".join(history[:-1]))
    (run.path / "front.csv").unlink()
    code, lines = check(run, capsys)
    assert code == 0 and not wrong(lines)


def replace(name: str, old: str, new: str):
    def damage(run: Run) -> None:
        path = run.path / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return damage


def flip_journal_byte(run: Run) -> None:
    data = bytearray((run.path / "journal.jsonl").read_bytes())
    data[len(data) // 2] ^= 1
    (run.path / "journal.jsonl").write_bytes(data)


def drop_generation(run: Run) -> None:
    rewrite(run, lambda records: records.pop(2))


def miscount(run: Run) -> None:
    def change(records):
        records[3]["new"] += 1

    rewrite(run, change)


def shift_history(run: Run) -> None:
    history = run.history
    history.loc[2:, "n_eval"] += 1
    history.to_csv(run.path / "history.csv", index=False)


def repeat_id(run: Run) -> None:
    front = run.front
    front.loc[1, "id"] = front.loc[0, "id"]
    front.to_csv(run.path / "front.csv", index=False)


def lose_id(run: Run) -> None:
    front = run.front
    front.loc[1, "id"] = None
    front.to_csv(run.path / "front.csv", index=False)


def better_front(run: Run) -> None:
    front = run.front
    front.loc[0, "error"] *= 0.99
    front.to_csv(run.path / "front.csv", index=False)


def shorter_front(run: Run) -> None:
    run.front.iloc[1:].to_csv(run.path / "front.csv", index=False)


def cut_solution(run: Run) -> None:
    path = next((run.path / "solutions").iterdir())
    path.write_bytes(path.read_bytes()[:20])


def stray_solution(run: Run) -> None:
    path = next((run.path / "solutions").iterdir())
    shutil.copy(path, path.with_name("e999999.safetensors"))


@pytest.mark.parametrize(
    ("damage", "subject"),
    [
        (replace("manifest.json", "{", "["), "manifest.json"),
        (replace("manifest.json", '"seed"', '"sead"'), "manifest.json"),
        (replace("manifest.json", '"n_eval": 1', '"n_eval": 2'), "totals"),
        (flip_journal_byte, "journal.jsonl"),
        (drop_generation, "generations"),
        (miscount, "evaluations"),
        (shift_history, "evaluations"),
        (lambda run: (run.path / "history.csv").unlink(), "history.csv"),
        (lambda run: (run.path / "front.csv").unlink(), "front.csv"),
        (repeat_id, "front.csv"),
        (lose_id, "front.csv"),
        (better_front, "objectives"),
        (shorter_front, "hypervolume"),
        (cut_solution, "solutions"),
        (stray_solution, "solutions"),
    ],
)
def test_check_finds_damage(run, capsys, damage, subject):
    damage(run)
    code, lines = check(run, capsys)
    assert code == 1
    assert any(line.split()[0] == subject for line in wrong(lines))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is not a run directory: it does not exist"),
        (["nowhere", "--check"], "not a run directory"),
        (["--runs", "nowhere"], "nowhere is not a folder"),
        (["--check", "--runs", "nowhere"], "nowhere is not a folder"),
        (["--chekc"], "unknown option '--chekc'; did you mean '--check'?"),
        (["--runs"], "expected one argument"),
    ],
)
def test_main_refuses_bad_input_in_one_line(arguments, message):
    with pytest.raises(opt.UsageError) as caught:
        show.main(arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_command_ends_with_exit_code_2_and_one_line(tmp_path):
    root = Path(show.__file__).parents[1]
    command = [sys.executable, "-m", "opt.show", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1

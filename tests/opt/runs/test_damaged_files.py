"""Damaged files of runs and studies: noticed, answered in one line, and mended where they can be made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import damaged_files
import pytest
import sample_problems as samples
from damaged_files import Damage, ask, files_of, trial
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import opt
from opt.execution.mending import damage
from opt.runs import journal
from opt.runs import manifest as manifests
from opt.runs.run_check import check_run

SUBJECTS = ("finished", "traced", "killed", "old", "study")
SETTINGS = {
    "derandomize": True,
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


@pytest.fixture(scope="module")
def subjects(tmp_path_factory) -> dict[str, Path]:
    return damaged_files.make_subjects(tmp_path_factory.mktemp("subjects"))


@st.composite
def damages(draw) -> Damage:
    value = st.one_of(st.sampled_from(b'0e-.,"\n{}[]\xff'), st.integers(0, 255))
    at = st.floats(0, 1, exclude_max=True)
    kind = st.sampled_from((*damaged_files.KINDS, "flip", "flip", "cut"))
    return Damage(draw(st.sampled_from(SUBJECTS)), "", draw(kind), draw(at), draw(value))


def answer(subjects, some: Damage, file: int, command: str) -> damaged_files.Answer:
    names = files_of(subjects[some.subject])
    return trial(subjects[some.subject], Damage(**(vars(some) | {"file": names[file % len(names)]})), command)


@settings(max_examples=150, **SETTINGS)
@given(damages(), st.integers(0, 99), st.sampled_from(["show", "list", "check", "resume"]))
def test_every_command_answers_to_damage_in_one_line(subjects, no_plots, some, file, command):
    assert not answer(subjects, some, file, command).fault


@settings(max_examples=12, **SETTINGS)
@given(damages(), st.integers(0, 99), st.sampled_from(["plot", "compare"]))
def test_drawing_answers_to_damage_in_one_line(subjects, some, file, command):
    assert not answer(subjects, some, file, command).fault


def test_undamaged_files_are_answered_as_ever(subjects, tmp_path):
    for name in SUBJECTS:
        path = shutil.copytree(subjects[name], tmp_path / name)
        for command in ("show", "list", "check"):
            given = ask(command, path)
            assert (given.code, given.fault) == (0, ""), (name, command, given)
        if name in ("finished", "traced", "study"):
            assert "wrong" not in ask("check", path).out and not ask("resume", path).err


@pytest.mark.parametrize("subject", ["finished", "traced"])
def test_check_notices_every_altered_byte(subjects, tmp_path, subject):
    path = shutil.copytree(subjects[subject], tmp_path / subject)
    for name in files_of(path):
        whole = (path / name).read_bytes()
        n = len(whole)
        positions = sorted({*range(12), *range(n - 12, n), *range(0, n, max(1, n // 20))} & set(range(n)))
        for at in positions:
            altered = bytearray(whole)
            altered[at] ^= 1 << (at % 8)
            (path / name).write_bytes(altered)
            assert any(finding.verdict == "wrong" for finding in check_run(path)), (name, at)
        for cut in (0, n // 2, n - 1):
            (path / name).write_bytes(whole[:cut])
            assert any(finding.verdict == "wrong" for finding in check_run(path)), (name, cut)
        (path / name).write_bytes(whole)
    (path / "solutions" / "more.txt").write_text("")
    assert any(finding.verdict == "wrong" for finding in check_run(path))


def test_check_of_a_study_notices_every_altered_byte(subjects, tmp_path):
    path = shutil.copytree(subjects["study"], tmp_path / "study")
    for name in ("study.json", "index.csv"):
        whole = (path / name).read_bytes()
        for at in range(0, len(whole), 61):
            altered = bytearray(whole)
            altered[at] ^= 1
            (path / name).write_bytes(altered)
            assert ask("check", path).code == 1, (name, at)
        (path / name).write_bytes(whole)
    assert ask("check", path).code == 0


class Counted(samples.Slope):
    """Counts the candidates that it evaluates, without those of its references."""

    n_evaluated = 0

    def evaluate(self, X):
        if len(X) > 2:
            type(self).n_evaluated += len(X)
        return super().evaluate(X)


@pytest.fixture(scope="module")
def counted(tmp_path_factory) -> Path:
    return opt.minimize(Counted(), n_gen=4, pop_size=6, out=tmp_path_factory.mktemp("counted")).path


def contents(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in files_of(path)}


@pytest.mark.parametrize("kind", ["flip", "cut", "remove", "folder", "empty"])
@pytest.mark.parametrize("file", ["front.csv", "references.csv", "solutions/*"])
def test_resume_mends_what_can_be_made_again_without_evaluating(counted, tmp_path, file, kind, no_plots):
    path = shutil.copytree(counted, tmp_path / "run")
    before = contents(path)
    name = str(sorted(path.glob(file))[0].relative_to(path))
    Damage("", name, kind, 0.6, 0).apply(path)
    Counted.n_evaluated = 0
    assert list(damage(opt.load_run(path))) == [name]
    assert opt.minimize(Counted(), resume=path).status == "finished"
    assert contents(path) == before
    assert Counted.n_evaluated == 0


def test_resume_draws_pictures_again_without_a_replay(counted, tmp_path):
    path = shutil.copytree(counted, tmp_path / "run")
    before = contents(path)
    Damage("", "plots/front.png", "flip", 0.6, 0).apply(path)
    Damage("", "plots/convergence.png", "folder").apply(path)
    assert sorted(damage(opt.load_run(path))) == ["plots/convergence.png", "plots/front.png"]
    assert opt.minimize(samples.Slope(n_var=9), resume=path).status == "finished"  # the problem is not asked
    assert contents(path) == before


def test_resume_draws_what_a_kill_between_two_pictures_left_out(counted, tmp_path):
    path = shutil.copytree(counted, tmp_path / "run")
    before = contents(path)
    (path / "plots" / "convergence.png").unlink()
    run = opt.load_run(path)
    manifests.write(path, {k: v for k, v in run.manifest.items() if k != "plots"}, run.files)
    assert opt.minimize(samples.Slope(n_var=9), resume=path).status == "finished"
    assert contents(path) == before


@pytest.mark.parametrize("kind", ["flip", "cut", "remove"])
def test_resume_mends_the_history_but_for_lost_times(counted, tmp_path, kind, no_plots):
    path = shutil.copytree(counted, tmp_path / "run")
    whole = opt.load_run(path).history
    Damage("", "history.csv", kind, 0.6, 0).apply(path)
    run = opt.minimize(Counted(), resume=path)
    assert run.history.drop(columns="seconds").equals(whole.drop(columns="seconds"))
    assert run.history["seconds"].iloc[-1] == pytest.approx(whole["seconds"].iloc[-1], abs=1e-3)
    assert kind != "remove" or run.history["seconds"].iloc[:-1].isna().all()
    assert run.manifest["seconds"] == opt.load_run(counted).manifest["seconds"]


def test_resume_evaluates_again_only_what_the_journal_lost(counted, tmp_path, no_plots):
    path = shutil.copytree(counted, tmp_path / "run")
    whole = (path / "journal.jsonl").read_bytes()
    altered = bytearray(whole)
    altered[-20] ^= 1
    (path / "journal.jsonl").write_bytes(altered)
    Counted.n_evaluated = 0
    assert opt.minimize(Counted(), resume=path).status == "finished"
    assert Counted.n_evaluated == 6
    assert (path / "journal.jsonl").read_bytes() == whole and not damage(opt.load_run(path))


def test_resume_does_not_search_again_when_the_journal_is_lost(counted, tmp_path):
    for content in (None, b"", journal.encode(journal.HEADER)):
        path = shutil.copytree(counted, tmp_path / str(content and len(content)))
        (path / "journal.jsonl").unlink()
        if content is not None:
            (path / "journal.jsonl").write_bytes(content)
        before = contents(path)
        with pytest.raises(opt.UsageError, match="journal"):
            opt.minimize(Counted(), resume=path)
        assert contents(path) == before


def test_mending_ends_where_the_run_ended_whatever_its_times_were(tmp_path, no_plots):
    run = opt.minimize(samples.Slope(nap=0.02), time=0.15, pop_size=6, out=tmp_path)
    journal_before = (run.path / "journal.jsonl").read_bytes()
    (run.path / "history.csv").unlink()
    mended = opt.minimize(samples.Slope(nap=0.02), resume=run.path)
    assert (run.path / "journal.jsonl").read_bytes() == journal_before
    for name in ("status", "stop_reason", "n_gen", "n_eval", "seconds", "ended"):
        assert mended.manifest[name] == run.manifest[name]


def test_mending_that_is_refused_leaves_the_run_finished(counted, tmp_path, no_plots):
    path = shutil.copytree(counted, tmp_path / "run")
    (path / "front.csv").unlink()
    with pytest.raises(opt.UsageError, match="the problem's parameters"):
        opt.minimize(samples.Slope(n_var=5), resume=path)
    with pytest.raises(opt.UsageError, match="does not replay"):
        opt.minimize(samples.Slope(n_var=5), resume=path, force=True)
    assert opt.load_run(path).status == "finished"
    assert opt.minimize(Counted(), resume=path).front.equals(opt.load_run(counted).front)


def test_resume_tells_what_it_mended(subjects, tmp_path, no_plots):
    path = shutil.copytree(subjects["finished"], tmp_path / "run")
    (path / "front.csv").unlink()
    told = ask("resume", path).out
    assert f"{path}: front.csv is missing: made anew" in told and "mended" in told
    assert "nothing was changed" in ask("resume", path).out


def test_resume_of_a_study_mends_its_runs_and_its_index(subjects, tmp_path, no_plots):
    path = shutil.copytree(subjects["study"], tmp_path / "mine")
    index = (path / "index.csv").read_bytes()
    front = next(path.glob("*/front.csv"))
    whole = front.read_bytes()
    front.write_bytes(whole[:-5])
    (path / "index.csv").unlink()
    assert ask("check", path).code == 1
    told = ask("resume", path)
    assert told.code == 0 and f"not as they ended, to be mended: {front.parent.name}" in told.out
    assert front.read_bytes() == whole and (path / "index.csv").read_bytes() == index
    assert ask("check", path).code == 0


def test_run_of_a_study_whose_manifest_is_lost_does_not_stop_the_others(subjects, tmp_path, no_plots):
    path = Path(shutil.copytree(subjects["study"], tmp_path / "mine"))
    first, second = (path / str(name) for name in ("slope-nsga2-s1", "slope-nsga2-s2"))
    (first / "manifest.json").write_bytes(b"{")
    (second / "front.csv").unlink()
    told = ask("resume", path)
    assert told.code == 2 and "manifest.json cannot be read" in told.err and not told.fault
    assert (second / "front.csv").exists()
    assert ask("show", path).code == 0


def test_run_that_is_killed_while_it_draws_is_mended(tmp_path, monkeypatch):
    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("opt.plots.run_pictures.plot_runs", killed)
        with pytest.raises(KeyboardInterrupt):
            opt.minimize(Counted(), n_gen=2, pop_size=6, out=tmp_path)
    (path,) = tmp_path.iterdir()
    assert opt.load_run(path).status == "finished" and not list(path.glob("plots/*.png"))
    Counted.n_evaluated = 0
    run = opt.minimize(Counted(), resume=path)
    assert Counted.n_evaluated == 0
    assert run.manifest["plots"] == ["convergence.png", "front.png"] and not damage(run)


def test_drawing_again_is_no_damage(counted, tmp_path):
    path = shutil.copytree(counted, tmp_path / "run")
    assert opt.plot.main([str(path)]) == 0
    (path / "plots" / "front.png").write_bytes((path / "plots" / "convergence.png").read_bytes())
    (path / "plots" / "mine.svg").write_text("<svg/>")
    assert all(finding.verdict == "ok" for finding in check_run(path))


def test_plots_that_could_not_be_drawn_are_no_damage(tmp_path, monkeypatch):
    def failing(*args, **kwargs):
        raise OverflowError("too large")

    monkeypatch.setattr("opt.plots.run_pictures.plot_runs", failing)
    run = opt.minimize(Counted(), n_gen=2, pop_size=6, out=tmp_path)
    assert run.manifest["plots"] == [] and not damage(run)
    # a run that has no note of its pictures is tried again, once
    manifests.write(run.path, {k: v for k, v in run.manifest.items() if k != "plots"}, run.files)
    assert opt.minimize(Counted(), resume=run.path).manifest["plots"] == []


def test_leftovers_of_writers_that_died_are_removed(subjects, tmp_path, no_plots):
    for name, source in (("killed", subjects["killed"]), ("finished", subjects["finished"])):
        path = shutil.copytree(source, tmp_path / name)
        strays = [path / ".manifest.json.999999999", path / ".front.csv.999999999"]
        (path / "plots").mkdir(exist_ok=True)
        strays.append(path / "plots" / ".front.png.999999999")
        mine = path / ".notes.txt"
        for file in (*strays, mine):
            file.write_text("half")
        assert "left by a process that died" in ask("check", path).out
        assert ask("resume", path).code == 0
        assert not any(file.exists() for file in strays) and mine.exists()


@pytest.mark.parametrize("key", ["gen", "new", "n", "x", "F"])
@pytest.mark.parametrize("value", [None, "text", -1, [[1]], {"a": 1}])
def test_record_that_passes_its_check_and_is_none_is_one_line(subjects, tmp_path, key, value, no_plots):
    path = shutil.copytree(subjects["killed"], tmp_path / "run")
    records = journal.read(path / "journal.jsonl")[0]
    if value is None:
        del records[1][key]
    else:
        records[1][key] = value
    (path / "journal.jsonl").write_bytes(b"".join(map(journal.encode, [journal.HEADER, *records])))
    for command in ("show", "check", "resume"):
        told = ask(command, path)
        assert not told.fault and (told.code or (key, value) == ("x", "text")), (command, told)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "ended"), ("status", None), ("problem", "Slope"), ("problem.name", 3), ("problem.parameters", []),
        ("objectives", []), ("objectives", {}), ("objectives", [{"name": 1}]), ("objectives", [{"sense": "minimise"}]),
        ("objectives", [{"name": "a", "sense": "least"}]), ("objectives", [{"name": "a", "more": 1}]),
        ("objectives", [{"name": "a"}, {"name": "a"}]), ("algo", None), ("algo.name", None), ("seed", "1"),
        ("seed", True), ("seed", -1), ("seed", 1.5), ("budget", []), ("budget.n_gen", "4"), ("budget.n_gen", 0),
        ("budget.seconds", "1"), ("request", 1), ("request.budget", None), ("request.threads", "2"),
        ("request.weights", 3), ("request.weights", [1]), ("request.fail_fast", 1), ("request.parameters", None),
        ("n_eval", "24"), ("n_gen", 1e300), ("seconds", "1"), ("seconds", 10**400), ("hypervolume", []),
        ("ref_point", [1]), ("ref_point", ["a", "b"]), ("failures", []), ("failures", {"a": "b"}), ("versions", "1"),
        ("stationary", "yes"), ("plots", "front.png"), ("plots", ["../../x"]), ("files", {"../../x": "0"}),
        ("files", {"/dev/zero": "0"}), ("created", 5), ("stop_reason", {}),
    ],
)  # fmt: skip
def test_manifest_of_another_shape_is_refused_by_its_field(counted, tmp_path, field, value):
    path = shutil.copytree(counted, tmp_path / "run")
    manifest = json.loads((path / "manifest.json").read_text())
    *levels, last = field.split(".")
    inner = manifest
    for level in levels:
        inner = inner[level]
    inner[last] = value
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(opt.UsageError) as caught:
        opt.load_run(path)
    assert field in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600
    for command in ("show", "check", "resume", "list"):
        assert not ask(command, path).fault


@pytest.mark.parametrize("value", [6.0, "6", None, [6], True, 1e30])
def test_manifest_without_a_seal_whose_parameter_is_of_another_type_is_one_line(subjects, tmp_path, value):
    path = shutil.copytree(subjects["killed"], tmp_path / "run")
    fields = manifests.read(path).fields
    fields["request"]["parameters"]["pop_size"] = value
    (path / "manifest.json").write_text(json.dumps(fields))
    told = ask("resume", path)
    assert told.code == 2 and "--algo.pop_size must be int" in told.err and not told.fault


def test_plot_and_comparison_say_that_a_file_was_altered(subjects, tmp_path):
    path = Path(shutil.copytree(subjects["finished"], tmp_path / "run"))
    front = opt.load_run(path).front
    front["cost"] += 0.125
    front.to_csv(path / "front.csv", index=False)
    told = ask("plot", path)
    assert told.code == 0 and "front.csv was altered since the run ended" in told.err and told.err.count("\n") == 1
    told = ask("compare", path)
    assert told.code == 0 and "files were altered since their run ended" in told.out


def test_altered_manifest_is_not_resumed(subjects, tmp_path):
    for name in ("finished", "killed"):
        path = shutil.copytree(subjects[name], tmp_path / name)
        text = (path / "manifest.json").read_text()
        (path / "manifest.json").write_text(text.replace('"n_gen": 4', '"n_gen": 5'))
        told = ask("resume", path)
        assert told.code == 2 and "manifest.json was altered" in told.err
        assert "manifest.json was altered" in ask("show", path).out

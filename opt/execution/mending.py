"""Repair of a finished run: its pictures drawn from its tables, all else made anew by replaying its journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.files import atomic
from opt.runs import journal
from opt.runs import manifest as manifests
from opt.runs.damage import altered_files, damaged_plots
from opt.runs.file_digests import PLOTS, SOLUTIONS
from opt.runs.run import Run, load_run
from opt.runs.run_check import check_run

PICTURES = ("convergence.png", "front.png", "trace.png")


def mend(run: Run, replay: Callable[[], Run]) -> list[str]:
    """Make anew what is missing or altered of a finished run, and remove what writers that died left in it.

    Nothing is evaluated again but what the journal lost at its end; solutions are tested and described anew.

    Args:
        run: A finished run.
        replay: Goes on with it from its journal and writes its files, as for a run that was killed.

    Returns:
        What was mended, a line each; none where nothing was damaged.

    Raises:
        UsageError: Its manifest is altered or its journal is lost, so that nothing can be made from them.
    """
    check_unaltered(run)
    atomic.remove_stray_files([run.path, run.path / SOLUTIONS, run.path / PLOTS])
    reasons = damage(run)
    if not reasons:
        return []
    if is_only_plots(reasons):
        notes: list[str] = []
        draw_again(run, notes.append)
        return notes or [f"{name} {reason}: drawn again" for name, reason in reasons.items()]
    # tables and solutions are written by the end of a search, so that the search is gone through again
    again = replay()
    lines = [f"{name} {reason}: made anew" for name, reason in reasons.items()]
    # an altered file that is now as it was is mended for certain; another may hold times that nobody knows any more
    differing = [name for name, digest in run.files.items() if again.files.get(name) != digest]
    return lines + [f"{name} is not as it was to the byte" for name in differing]


def damage(run: Run) -> dict[str, str]:
    """What of a finished run is not as it ended, and is to be made anew: files, each with how it differs.

    A run of an earlier release has no digests of its files: of it, what does not agree with the rest.
    """
    if run.files:
        return altered_files(run) | damaged_plots(run)
    wrong = {f.subject: f.text for f in check_run(run.path) if f.verdict == "wrong" and f.subject != manifests.NAME}
    return wrong | damaged_plots(run)


def is_only_plots(reasons: Mapping[str, str]) -> bool:
    """Whether all that is damaged are pictures, which need no replay."""
    return all(name.startswith(f"{PLOTS}/") for name in reasons)


def draw_again(run: Run, say: Callable[[str], None]) -> Run:
    """Draw a finished run's pictures, and note them in its manifest; the run as it is then.

    Args:
        run: A finished run.
        say: As `draw` takes it.

    Raises:
        UsageError: They cannot be written, or another process works on the run.
    """
    # who holds the journal holds the run: nobody else may write its manifest meanwhile
    lock = journal.Journal(run.path / "journal.jsonl")
    try:
        manifests.write(run.path, run.manifest | {"plots": draw(run, say)}, run.files)
    finally:
        lock.close()
    return load_run(run.path)


def draw(run: Run, say: Callable[[str], None]) -> list[str]:
    """Draw the pictures of a run that has ended; their names.

    A run whose manifest has no note of its pictures was killed meanwhile: whoever calls this notes them.

    Args:
        run: The run, its files written.
        say: Called with one line where a picture cannot be drawn, for whatever reason: that is no fault of the run.

    Raises:
        UsageError: They cannot be written.
    """
    from opt.plots.run_pictures import plot_runs

    folder = run.path / PLOTS
    if folder.exists() and not folder.is_dir():
        folder.unlink()
    folder.mkdir(exist_ok=True)
    try:
        plot_runs([run])
    except UsageError as error:
        later = f"{spelled('plot')} {run.path}"
        raise UsageError(f"{error}; the run is saved whole without its plots, draw them with {later}") from None
    except Exception as error:
        say(f"the plots could not be drawn ({type(error).__name__}: {error}); the run is saved whole")
    return [name for name in PICTURES if (folder / name).is_file()]


def check_unaltered(run: Run) -> None:
    """Refuse to go on with a run whose manifest is not as it was written: it may ask for something else.

    Raises:
        UsageError: It is altered.
    """
    if run.seal == "altered":
        raise UsageError(
            f"{run.path / manifests.NAME} was altered since it was written; restore it from a copy, or, where the "
            'change is meant, remove its last two lines "sealed" and "digest" with the comma before them'
        )


def check_replayable(run: Run) -> None:
    """Refuse to replay a finished run whose journal holds nothing: all of it would be evaluated again.

    Raises:
        UsageError: The journal is missing, empty or cannot be read.
    """
    if not run.journal() and run.manifest.get("n_gen"):
        raise UsageError(f"{run.path / 'journal.jsonl'} holds no record any more; restore it from a copy")

"""python -m opt.compare STUDY_OR_RUN... [--by FIELD] [--out DIR]: which algorithm is better, and how sure that is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console

from opt.comparison.grouped_runs import Comparison, compare_runs
from opt.comparison.report import print_comparison, print_ranks
from opt.comparison.significance import RankTest
from opt.comparison.tables import Tables, make_tables
from opt.comparison.warnings_of_runs import check_field, doubts, same_objectives, usable_runs, value_of
from opt.console.command import execute
from opt.console.errors import UsageError
from opt.console.options import OptionParser
from opt.console.picture import rendered
from opt.console.terminal import printable
from opt.files import atomic, csv_table
from opt.runs.front_table import make_console, say
from opt.runs.run import Run, find_runs

FOLDER = "comparison"
DPI = 110
LONGEST_NAME = 60


@dataclass(frozen=True)
class Verdict:
    """What a comparison found.

    Attributes:
        comparisons: One a problem.
        tables: The same in numbers.
        ranks: Friedman and Nemenyi over several problems, by measure; empty where they cannot be computed.
        warnings: What is doubtful about the whole; each comparison has its own besides.
    """

    comparisons: list[Comparison]
    tables: Tables
    ranks: dict[str, RankTest]
    warnings: list[str]

    @property
    def all_warnings(self) -> list[str]:
        """Every warning, those of one problem with its name before them."""
        return self.warnings + [f"{c.problem}: {text}" for c in self.comparisons for text in c.warnings]


def compare(runs: Sequence[Run], *, by: str = "algo", split: str | None = None) -> Verdict:
    """Compare runs, problem by problem.

    Args:
        runs: Of one problem or several.
        by: The manifest's field that names what is compared, such as `problem.parameters.crossover`.
        split: A field whose values make problems of their own, such as `problem.parameters.data`.

    Raises:
        UsageError: There are no finished runs, no run has the field, or a run cannot be read.
    """
    distinct = list({run.path.resolve(): run for run in runs}.values())
    for name in (by, *([split] if split else [])):
        check_field(distinct, name)
    usable, warnings = usable_runs(distinct)
    if not usable:
        raise UsageError(f"none of the {len(distinct)} runs is finished; `python -m opt.show` lists them")
    problems: dict[str, list[Run]] = {}
    for run in sorted(usable, key=lambda r: (r.manifest["seed"], str(r.path))):
        name = str(run.manifest["problem"]["name"])
        problems.setdefault(f"{name} {value_of(run, split)}" if split else name, []).append(run)
    order = list(dict.fromkeys(value_of(run, by) for run in usable))
    comparisons = []
    for problem in sorted(problems):
        same, left_out = same_objectives(problems[problem])
        same.sort(key=lambda run: order.index(value_of(run, by)))
        groups = [value_of(run, by) for run in same]
        try:
            comparison = compare_runs(problem, same, groups)
        except UsageError as error:
            raise UsageError(f"{problem}: {error}") from None
        comparison.warnings += left_out + doubts(same, groups, by=[by, *([split] if split else [])])
        comparisons.append(comparison)
    all_groups = [group for group in order if any(group in c.groups for c in comparisons)]
    for comparison in comparisons:
        comparison.all_groups = all_groups
    tables, ranks, over_problems = make_tables(comparisons)
    return Verdict(comparisons, tables, ranks, warnings + over_problems)


def write_comparison(verdict: Verdict, out: Path, *, command: str | None = None) -> list[Path]:
    """Write the tables, the pictures and the page.

    Args:
        verdict: What to write.
        out: The folder; made where it is missing.
        command: The command line, for the page.

    Returns:
        Every file written, the page first.

    Raises:
        UsageError: Nothing can be written there.
    """
    from opt.comparison.page import page

    pictures = {name: _png(figure) for name, figure in draw(verdict).items()}
    files = {"index.html": page(verdict, pictures, command=command).encode()}
    files["warnings.txt"] = "".join(printable(text) + "\n" for text in verdict.all_warnings).encode()
    for field in fields(verdict.tables):
        files[f"{field.name}.csv"] = csv_table.encode(getattr(verdict.tables, field.name))
    files |= {f"{name}.png": data for name, data in pictures.items()}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            atomic.write_bytes(out / name, data)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}; give another --out DIR") from None
    return [out / name for name in files]


def draw(verdict: Verdict) -> dict[str, Figure]:
    """Every picture, by the name of its file."""
    from opt.comparison.comparison_plots import box_figure, growth_figure, rank_figure
    from opt.comparison.joint_front import joint_front_figure
    from opt.plots.attainment import attainment_figure

    names = file_names([c.problem for c in verdict.comparisons])
    figures = {}
    for c in verdict.comparisons:
        name = names[c.problem]
        if len(c.objectives) > 1:
            figures[f"{name}-attainment"] = attainment_figure(c)
            figures[f"{name}-joint-front"] = joint_front_figure(c)
        figures[f"{name}-growth"] = growth_figure(c)
        figures[f"{name}-indicators"] = box_figure(c)
    groups = verdict.comparisons[0].all_groups
    for measure, test in verdict.ranks.items():
        figures[f"ranks-{measure}"] = rank_figure(measure, test, groups)
    return figures


def report(verdict: Verdict, console: Console) -> None:
    """Print the warnings, and the tables of each problem."""
    for text in verdict.warnings:
        say(console, f"warning: {text}")
    for comparison in verdict.comparisons:
        print_comparison(comparison, verdict.tables, console)
    print_ranks(verdict.ranks, console)


def file_names(problems: Sequence[str]) -> dict[str, str]:
    """Problems' names as parts of files' names: short, plain, and each its own."""
    found: dict[str, str] = {}
    for problem in problems:
        plain = "".join(c if c.isalnum() or c in "+,._=-" else "-" for c in problem.lower())[:LONGEST_NAME]
        is_taken = plain in found.values()
        found[problem] = f"{plain}-{len(found) + 1}" if is_taken else plain
    return found


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = OptionParser(prog="python -m opt.compare", description="Compare the algorithms of finished runs.")
    parser.add_argument("runs", nargs="+", metavar="STUDY_OR_RUN", help="run directories, or folders that hold runs")
    parser.add_argument(
        "--by",
        default="algo",
        metavar="FIELD",
        help="what is compared: a field of manifest.json such as problem.parameters.crossover (default: algo)",
    )
    parser.add_argument(
        "--split",
        metavar="FIELD",
        help="a field whose values are problems of their own, such as problem.parameters.data",
    )
    parser.add_argument(
        "--out", metavar="DIR", help=f"where tables, pictures and page go (default: {FOLDER}/ in or beside the first)"
    )
    options = parser.read(argv)
    verdict = compare(find_runs(options.runs), by=options.by, split=options.split)
    first = Path(options.runs[0])
    beside = first.resolve().parent if (first / "manifest.json").exists() else first
    out = beside / FOLDER if options.out is None else Path(options.out)
    # first the files: whoever reads only the top of what is printed, as `| head` does, has them too
    written = write_comparison(verdict, out, command=shlex.join(["python", "-m", "opt.compare", *argv]))
    console = make_console()
    report(verdict, console)
    say(console, f"\nwrote {len(written)} files to {out}; the page: {written[0]}")
    return 0


def _png(figure: Figure) -> bytes:
    # without the date and version that a PNG would carry, the same runs give the same file
    return rendered(figure, dpi=DPI, metadata={"Software": None})


if __name__ == "__main__":
    execute(main)

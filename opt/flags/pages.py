"""What --list and --help of opt.solve show: the algorithms, and the options of a problem and an algorithm."""

from __future__ import annotations

from rich.table import Table

from opt.algorithms import algorithms, find_algorithm
from opt.console.command import spelled
from opt.console.tables import make_console
from opt.console.terminal import tell
from opt.flags.algorithm_names import algorithm_names
from opt.flags.command_line import CommandLine, check_one_problem
from opt.problem.loading import load_problem_class


def print_algorithms(target: str | None) -> int:
    """Print every algorithm, and those that the problem at `target` brings; the exit code."""
    problem_class = None if target is None else load_problem_class(target)
    table = Table(title="algorithms", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    table.add_column("what it needs", overflow="fold")
    for spec in algorithms(problem_class).values():
        table.add_row(spec.name, spec.summary, spec.requirement)
    make_console().print(table)
    if problem_class is None:
        tell(f"A problem may bring algorithms of its own: {spelled('solve')} PROBLEM.py --list shows them too.")
    return 0


def print_help(line: CommandLine) -> int:
    """Print the options, with a problem's and an algorithm's where a problem is named; the exit code.

    Raises:
        UsageError: The problem or the algorithm is not found.
    """
    from opt.flags.own_arguments import arguments_help  # the list needs none of these
    from opt.flags.parser import build_parser, help_text

    check_one_problem(line)
    if line.problem is None:
        tell(help_text(build_parser(None, None)))
        if line.study is None:
            tell("With a PROBLEM.py, --help also lists the parameters of the problem and of the algorithm.")
        return 0
    names = algorithm_names(line.algo)
    problem = load_problem_class(line.problem)
    parser = build_parser(problem, find_algorithm(names[0], problem))
    tell(help_text(parser) + arguments_help(parser.parameters, line.tokens))
    if len(names) > 1:
        tell(f"Parameters of {', '.join(names[1:])}: --help with that algorithm alone.")
    return 0

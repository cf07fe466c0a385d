"""python -m opt.solve: search a problem with any algorithm, and save the run; or many runs, and save the study."""

from __future__ import annotations

from collections.abc import Sequence

from opt.console.command import execute


def main(argv: Sequence[str]) -> int:
    """Run the command; its exit code."""
    from opt.flags.command_line import scan

    line = scan(argv)
    if line.is_list:
        from opt.flags.pages import print_algorithms

        return print_algorithms(line.problem)
    if line.is_help and line.resume is None:
        from opt.flags.pages import print_help

        return print_help(line)
    from opt.studies.solving import solve  # the help needs none of it

    return solve(line)


if __name__ == "__main__":
    execute(main)

"""What every command shares: one place where a usage error becomes one line and exit code 2."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from opt.console.errors import UsageError
from opt.console.terminal import printable, ready_for_any_text, say_no_more, tell

LONGEST_ERROR = 1000
"""Letters of an error's line; of a longer one, as with a path of thousands, the middle is left out."""

_OF_THE_DISK = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR,
    errno.EISDIR, errno.ELOOP, errno.EIO, errno.EMFILE, errno.ENFILE,
)  # fmt: skip


def execute(main: Callable[[Sequence[str]], int | None]) -> None:
    """Run `main(argv)` and exit with its code; 2 and one line on stderr for what the user can put right."""
    ready_for_any_text()
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except UsageError as error:
        code = complain(str(error))
    except BrokenPipeError:
        # the reader of our output went away, as `| head` does: nothing more can be said to it
        say_no_more()
        code = 0
    except OSError as error:
        if error.errno not in _OF_THE_DISK and error.filename is None:
            raise
        where = _cut(str(error.filename or "a file"))
        code = complain(f"cannot read or write {where}: {error.strerror}; free space or choose another")
    except MemoryError as error:
        code = complain(f"memory does not suffice{': ' if str(error) else ''}{error}; ask for less of something")
    except KeyboardInterrupt:
        code = 130
    sys.exit(code or 0)


def _cut(path: str) -> str:
    return path if len(path) <= 100 else f"{path[:60]}..."


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    """A library's warning, which may quote a name, as Python shows it, but `printable`."""
    tell(warnings.formatwarning(message, category, filename, lineno), file=sys.stderr, end="")


def warn(message: str) -> None:
    """Print one line of warning to stderr: what failed without failing the command."""
    tell(f"warning: {' '.join(message.split())}", file=sys.stderr)


def complain(message: str) -> int:
    """Print one error line to stderr; the exit code of a usage error."""
    line = printable(" ".join(message.split()))
    if len(line) > LONGEST_ERROR:
        line = f"{line[: LONGEST_ERROR // 2]} ... {line[-LONGEST_ERROR // 2 :]}"
    print(f"error: {line}", file=sys.stderr)
    return 2


def spelled(name: str) -> str:
    """How a command of this program is called here: as this one was, `opt-plot` or `python -m opt.plot`.

    Args:
        name: The command, such as `plot`.
    """
    is_script = bool(sys.argv) and Path(sys.argv[0]).name.startswith("opt-")
    return f"opt-{name}" if is_script else f"python -m opt.{name}"

"""What every command shares: one place where a usage error becomes one line and exit code 2."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence

from opt.errors import UsageError

_OF_THE_DISK = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR,
    errno.EISDIR, errno.ELOOP, errno.EIO, errno.EMFILE, errno.ENFILE,
)  # fmt: skip


def execute(main: Callable[[Sequence[str]], int | None]) -> None:
    """Run `main(argv)` and exit with its code; 2 and one line on stderr for what the user can put right."""
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except UsageError as error:
        code = complain(str(error))
    except BrokenPipeError:
        # the reader of our output went away, as `| head` does: nothing more can be said to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
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


def warn(message: str) -> None:
    """Print one line of warning to stderr: what failed without failing the command."""
    print(f"warning: {' '.join(message.split())}", file=sys.stderr)


def complain(message: str) -> int:
    """Print one error line to stderr; the exit code of a usage error."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2

"""Mistakes a user can mend, told in one line, and the exit codes of every command."""

import argparse
import difflib
import errno
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USER_ERROR = 2


class UserError(Exception):
    """A mistake that the user can mend; the message names the file or setting and what is right."""


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """See `argparse`."""
        raise UserError(f"{message} (--help shows the usage)")


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest valid one, or all of them if none is near."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(names)}"


def run_command_line(main: Callable[[], int | None]) -> NoReturn:
    """Runs `main` and exits with its exit code; a `UserError` becomes one line and exit code 2.

    Args:
        main: The command. Returns an exit code; None counts as 0.

    Raises:
        SystemExit: Always.
    """
    try:
        code = main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"error: {no_room(error.filename)}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    sys.exit(code or EXIT_DONE)


def no_room(path: object) -> str:
    """The one line for a full disk."""
    where = f" for {path}" if path else ""
    return f"no room on the disk{where}: free some space, or choose another output folder"

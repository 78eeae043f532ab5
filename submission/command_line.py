"""What every command of this project has in common: its arguments, its one line, its exit code."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from submission.errors import UserError, disk_errors_told
from submission.interruption import Interruption
from submission.output import never_fail
from submission.values import LAST_SEED

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USER_ERROR = 2


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """See `argparse`."""
        raise UserError(f"{message} (--help shows the usage)")


def parse_seed(text: str) -> int:
    """Reads a seed; the type of an argument.

    Args:
        text: A whole number.

    Returns:
        The seed.

    Raises:
        ArgumentTypeError: numpy takes no such seed.
    """
    return _parse_whole(text, 0, LAST_SEED)


def parse_count(text: str) -> int:
    """Reads a number of things, at least one; the type of an argument.

    Args:
        text: A whole number.

    Returns:
        The number.

    Raises:
        ArgumentTypeError: It is none, or too large for anything here.
    """
    return _parse_whole(text, 1, LAST_SEED)


def parse_port(text: str) -> int:
    """Reads the number of a TCP port; the type of an argument.

    Args:
        text: A whole number; 0 stands for any port that is free.

    Returns:
        The port.

    Raises:
        ArgumentTypeError: There is no such port.
    """
    return _parse_whole(text, 0, 65535)


def _parse_whole(text: str, least: int, most: int) -> int:
    number = int(text) if text.lstrip("-").isdecimal() else None
    if number is None or not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number between {least} and {most}")
    return number


def run_command_line(
    main: Callable[[], int | None], interruption: Interruption | None = None
) -> NoReturn:
    """Runs `main` and exits with its exit code.

    A `UserError` becomes one line and exit code 2; the end by a signal one line and exit code 1.
    Output that can't be written is dropped: it is no reason to stop.

    Args:
        main: The command. Returns an exit code; None counts as 0.
        interruption: What a signal does, if it was installed before the imports; else the first
            one ends the command.

    Raises:
        SystemExit: Always.
    """
    never_fail()
    if interruption is None:
        interruption = Interruption(at_once=True)
        interruption.install()
    try:
        with disk_errors_told():
            code = main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except BaseException:
        if not interruption.ended:
            raise
        print(interruption.line, file=sys.stderr)
        sys.exit(EXIT_FAILED)
    sys.exit(code or EXIT_DONE)

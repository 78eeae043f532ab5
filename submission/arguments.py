"""What the commands of all packages read in the same way from their command lines."""

import argparse

from submission.values import LAST_SEED


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


def _parse_whole(text: str, least: int, most: int) -> int:
    number = int(text) if text.lstrip("-").isdecimal() else None
    if number is None or not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number between {least} and {most}")
    return number

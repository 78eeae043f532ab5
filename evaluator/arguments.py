"""What the commands of this package read in the same way: arguments, and a training's record."""

import argparse
from pathlib import Path
from typing import Any

from submission.record import read_record
from submission.run_folder import RunFolder

# Of numpy's RandomState.
LAST_SEED = 2**32 - 1


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


def training_record(representation: Path) -> dict[str, Any]:
    """What the training beside a representation recorded in `training/run.json`.

    Args:
        representation: The representation folder.

    Returns:
        The record; empty where there was no training.

    Raises:
        UserError: The record is damaged.
    """
    return read_record(RunFolder(representation.absolute().parent).record)

"""What the commands of this package read in the same way: a training's record."""

from pathlib import Path
from typing import Any

from submission.runs.folder import RunFolder
from submission.runs.record import read_record


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

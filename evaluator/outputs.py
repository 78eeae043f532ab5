"""Where scores go: the default folder, whether it can be written, and scores that stand there."""

import os
import tempfile
from pathlib import Path

from submission.errors import UserError
from submission.runs.folder import RunFolder

REPRESENTATION = "representation"
"""The challenge's name of the folder that is scored; what it leaves stands beside it."""

SCORES = "scores.json"


def folder_for(representation: Path) -> Path:
    """Where the scores of a representation go by default.

    Args:
        representation: Its folder, as the user named it.

    Returns:
        The run's folder, which holds one called `representation`, links unresolved. Of any other
        name several may stand side by side, so that each keeps its own.
    """
    path = Path(os.path.abspath(representation))
    return path.parent if path.name == REPRESENTATION else path


def representation_of(scores: Path) -> Path:
    """The folder whose `scores.json` this is, where it went by default; inverts `folder_for`.

    Args:
        scores: The file.

    Returns:
        The folder `representation` beside it, or the folder that it stands in.
    """
    beside = scores.parent / REPRESENTATION
    return beside if beside.is_dir() else scores.parent


def check_writable(folder: Path) -> None:
    """Refuses a folder that can't be written, before hours go into what should stand there.

    Args:
        folder: It needn't exist; nothing is made.

    Raises:
        UserError: It can't be made or written, or something is in the way.
    """
    run = RunFolder(folder)
    try:
        for path in (run.scores, run.report):
            if path.is_dir():
                raise UserError(f"{path} is a folder: move it, or choose another --output")
        nearest = run.metrics
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        if not nearest.is_dir():
            raise UserError(f"{nearest} is a file, not a folder: choose another --output")
        # Modes don't tell of read-only file systems, nor root of those that nobody may write.
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise UserError(
            f"{folder} can't be written ({error.strerror}): choose another --output"
        ) from error


def set_aside(folder: Path) -> Path:
    """Moves earlier scores out of the way: `scores.json` and `metrics/`, to the first free number.

    Args:
        folder: Holds `scores.json`.

    Returns:
        Where `scores.json` is now.
    """
    run = RunFolder(folder)
    number = 1
    while (other := folder / f"scores.{number}.json").exists():
        number += 1
    if run.metrics.is_dir():
        run.metrics.rename(folder / f"metrics.{number}")
    run.scores.rename(other)
    return other

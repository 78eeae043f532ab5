"""What the commands of this package read in the same way: a run, and its training's record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from submission import datasets
from submission.datasets import Dataset
from submission.errors import UserError
from submission.runs.folder import RunFolder
from submission.runs.record import dataset_of, read_record


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


def check_is_run(run: Path) -> None:
    """Refuses what is no folder.

    Raises:
        UserError: It isn't one.
    """
    if not run.is_dir():
        raise UserError(f"{run} is no folder: give a run's, such as scratch/shared/experiment_name")


def dataset_of_run(run: Path, named: str | None, record: Mapping[str, Any]) -> Dataset:
    """Loads the data set that a run's report shows.

    Args:
        run: The run's folder.
        named: What `--dataset` says; None where it isn't given.
        record: The run's `training_record`.

    Raises:
        UserError: Nothing tells which it is, or it can't be read.
    """
    name = named or dataset_of(record)
    if name is None:
        raise UserError(f"--dataset is missing, and {run} holds no training/run.json to tell it")
    return datasets.load(name)

"""The data sets of disentanglement_lib, by its names and in its folder layout, and `mpi3d_mini`."""

from pathlib import Path

from submission.datasets.catalogue import CATALOGUE, entry_of
from submission.datasets.images import Dataset
from submission.datasets.origin import warn_if_unknown
from submission.environment import Environment

NAMES: tuple[str, ...] = tuple(CATALOGUE)

__all__ = ["NAMES", "Dataset", "checked_name", "load", "load_unchecked"]


def load(name: str, data_root: Path | None = None) -> Dataset:
    """Opens a data set; `mpi3d_mini` is rendered first if need be.

    Args:
        name: One of `NAMES`.
        data_root: The folder of the data sets; the default is `DISENTANGLEMENT_LIB_DATA`, else
            ./scratch/dataset.

    Returns:
        The data set, its images mapped from a file wherever possible.

    Raises:
        UserError: The name is unknown, a file is missing, or it isn't what it should be.
    """
    dataset = load_unchecked(name, data_root)
    warn_if_unknown(dataset)
    return dataset


def load_unchecked(name: str, data_root: Path | None = None) -> Dataset:
    """Opens a data set without a warning of files unknown; otherwise as `load`."""
    return entry_of(name).load(name, data_root or Environment.read().data_root)


def checked_name(name: str) -> str:
    """Returns the name of a data set if there is such a one.

    Args:
        name: What the user wrote.

    Returns:
        The same name.

    Raises:
        UserError: It is none of `NAMES`; the message names the nearest.
    """
    return entry_of(name).name

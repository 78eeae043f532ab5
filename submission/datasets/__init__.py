"""The data sets of disentanglement_lib, `mpi3d_mini`, and one's own, named by a path."""

from pathlib import Path

from submission.datasets import own
from submission.datasets.catalogue import CATALOGUE, entry_of
from submission.datasets.images import Dataset
from submission.datasets.origin import warn_if_unknown
from submission.environment import Environment

NAMES: tuple[str, ...] = tuple(CATALOGUE)

__all__ = ["NAMES", "Dataset", "checked_name", "load", "load_unchecked"]


def load(name: str, data_root: Path | None = None) -> Dataset:
    """Opens a data set; `mpi3d_mini` is rendered first if need be.

    Args:
        name: One of `NAMES`, or the path of one's own data (`own.load`).
        data_root: The folder of the data sets of these names; the default is
            `DISENTANGLEMENT_LIB_DATA`, else ./scratch/dataset.

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
    if _is_own(name):
        return own.load(name, reserved=NAMES)
    return entry_of(name).load(name, data_root or Environment.read().data_root)


def checked_name(name: str) -> str:
    """Returns the name of a data set, or the path of one's own, if there is such a one.

    Args:
        name: What the user wrote.

    Returns:
        The same name; a path as an absolute one.

    Raises:
        UserError: It is none of `NAMES`, of which the message names the nearest, and no path.
    """
    return str(own.checked_path(name)) if _is_own(name) else entry_of(name).name


def _is_own(name: str) -> bool:
    return name not in CATALOGUE and own.is_path(name)

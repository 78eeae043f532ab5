"""The data sets of disentanglement_lib, by its names and in its folder layout, and `mpi3d_mini`."""

from collections.abc import Callable
from pathlib import Path

from submission.datasets import cars3d, dsprites, mpi3d, rendered, shapes3d, smallnorb
from submission.datasets.dataset import Dataset
from submission.datasets.origin import warn_if_unknown
from submission.environment import Environment
from submission.errors import UserError, nearest

_LOADERS: dict[str, Callable[[str, Path], Dataset]] = {
    "mpi3d_mini": rendered.load,
    "mpi3d_mini_full": rendered.load,
    "mpi3d_toy": mpi3d.load,
    "mpi3d_realistic": mpi3d.load,
    "mpi3d_real": mpi3d.load,
    "mpi3d_real_complex": mpi3d.load,
    "dsprites_full": dsprites.load,
    "dsprites_noshape": dsprites.load,
    "color_dsprites": dsprites.load,
    "noisy_dsprites": dsprites.load,
    "scream_dsprites": dsprites.load,
    "cars3d": cars3d.load,
    "smallnorb": smallnorb.load,
    "shapes3d": shapes3d.load,
}

NAMES: tuple[str, ...] = tuple(_LOADERS)

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
    return _LOADERS[checked_name(name)](name, data_root or Environment.read().data_root)


def checked_name(name: str) -> str:
    """Returns the name of a data set if there is such a one.

    Args:
        name: What the user wrote.

    Returns:
        The same name.

    Raises:
        UserError: It is none of `NAMES`; the message names the nearest.
    """
    if name in _LOADERS:
        return name
    raise UserError(f"unknown data set {name!r}: {nearest(name, NAMES)}")

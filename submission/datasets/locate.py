"""Finding a data set's files, also where they lie one step off, and how to get those missing."""

import gzip
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from submission.datasets.image_cache import damage_named, exclusive
from submission.errors import UserError
from submission.runs.files import write_atomically

COPY_BYTES = 2**20

log = logging.getLogger(__name__)

OtherNames = Mapping[str, Sequence[str]]
"""What files were called where they were published, by the name disentanglement_lib gives them."""

Finder = Callable[[Path, Path], Path | None]
"""Finds a file in a data root, given where it belongs, as `find` does."""


def find(data_root: Path, expected: Path, other_names: OtherNames | None = None) -> Path | None:
    """Finds a file or folder where it belongs, or one step off.

    A step is: in the data root instead of its folder, written in another case, under the name it
    was published by, or packed by gzip. What is found is checked by its reader as any other.

    Args:
        data_root: The folder of the data sets.
        expected: Where disentanglement_lib looks for it, relative to the data root.
        other_names: What it was called where it was published.

    Returns:
        Its path, ending in `.gz` if only that is there; None when there is nothing of the kind.

    Raises:
        UserError: A folder can't be read.
    """
    home = data_root
    for part in expected.parent.parts:
        home = _entry(home, part) or home / part
    others = (other_names or {}).get(expected.name, ())
    for folder in (home, data_root):
        for name in (expected.name, *others):
            for ending in ("", ".gz"):
                found = _entry(folder, name + ending)
                if found is not None:
                    return found
    return None


def require(
    data_root: Path, expected: Path, name: str, other_names: OtherNames | None = None
) -> Path:
    """Finds a file or folder as `find` does, and unpacks one that is packed by gzip beside it.

    Args:
        data_root: The folder of the data sets.
        expected: Where disentanglement_lib looks for it, relative to the data root.
        name: The data set that needs it.
        other_names: As for `find`.

    Returns:
        Its path.

    Raises:
        UserError: There is nothing of the kind, or it can't be read or unpacked.
    """
    found = find(data_root, expected, other_names)
    if found is None:
        raise missing(data_root / expected, name)
    if found.suffix.lower() != ".gz":
        return found
    unpacked = found.with_suffix("")
    if not os.access(found.parent, os.W_OK):
        raise UserError(
            f"{found} is packed and its folder can't be written: unpack it with `gunzip`"
        )
    with exclusive(found.parent):
        # Another process may have done the work while this one waited.
        if not unpacked.exists():
            log.warning("unpacking %s", found)
            gunzip(found, unpacked)
    return unpacked


def missing(path: Path, name: str) -> UserError:
    """The one line for a data set that isn't there: where it should be, and how to get it."""
    return UserError(
        f"the data set {name} is missing: there is no {path}; get it with "
        f"`python -m submission.datasets download {name}`, "
        "or set DISENTANGLEMENT_LIB_DATA to the folder that holds it"
    )


def gunzip(packed: Path, target: Path) -> None:
    """Unpacks a `.gz` file, whole or not at all.

    Args:
        packed: The `.gz` file.
        target: Where its content goes.

    Raises:
        UserError: It is damaged, or the content can't be written.
    """
    with damage_named(packed), gzip.open(packed) as content:
        write_atomically(target, lambda file: shutil.copyfileobj(content, file, COPY_BYTES))


def _entry(folder: Path, name: str) -> Path | None:
    """The entry of that name, else the one that differs from it in case only."""
    try:
        entries = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{folder} can't be read: {error.strerror}") from error
    if name in entries:
        return folder / name
    return next((folder / entry for entry in entries if entry.lower() == name.lower()), None)

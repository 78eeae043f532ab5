"""Whether MPI3D files are those that were published.

The files moved several times, and one that was published for a year, with the right shape, held
scrambled images (rr-learning/disentanglement_dataset, issue 5). No reader can tell: a file that has
none of the checksums known is to be looked at once.
"""

import hashlib
import logging
import zipfile
from pathlib import Path
from typing import IO

from submission.datasets import mpi3d
from submission.datasets.image_cache import damage_named, read_notes, write_note
from submission.datasets.images import Dataset
from submission.datasets.progress import progress

# Of whole files: those that nmichlo/disent checks, of the address that was closed in 2023, before
# the scrambled file came.
MD5_OF_FILE = {
    "mpi3d_toy": "55889cb7c7dfc655d6e0277beee88868",
    "mpi3d_realistic": "59a6225b88b635365f70c91b3e52f70f",
    "mpi3d_real": "0f33f609918fb5c97996692f91129802",
}
# Of the member images.npy, however the file is compressed.
SHA256_OF_IMAGES = {
    "mpi3d_realistic": "f6124f358e02846695cb3795acf8714f990c84cf02d495796898c133cf1ae866",
}
PIECE_BYTES = 16 * 2**20

log = logging.getLogger(__name__)


def warn_if_unknown(dataset: Dataset) -> None:
    """Warns of an MPI3D file that neither has a known checksum nor has been looked at.

    Args:
        dataset: Any data set; those of other families are left alone.
    """
    if dataset.name in mpi3d.NAMES and not is_known(dataset):
        log.warning(
            "%s has none of the checksums known of %s, and a file with scrambled images was once "
            "published: look at it with `python -m submission.datasets check %s`",
            dataset.path,
            dataset.name,
            dataset.name,
        )


def is_known(dataset: Dataset) -> bool:
    """Whether the images of an MPI3D data set have a known checksum or have been looked at.

    Args:
        dataset: One of `mpi3d.NAMES`; its checksums are computed once and remembered.

    Returns:
        False when nothing vouches for them.

    Raises:
        UserError: The file is damaged.
    """
    path, fingerprint = _path(dataset), dataset.fingerprint()
    for note in read_notes(_note(path)):
        if note.get("fingerprint") == fingerprint:
            return note.get("known") is True
    known = is_published(dataset.name, path)
    write_note(_note(path), {"fingerprint": fingerprint, "known": known})
    return known


def remember_as_known(dataset: Dataset) -> None:
    """Remembers that someone has looked at the images, so that no later load warns of them."""
    write_note(_note(_path(dataset)), {"fingerprint": dataset.fingerprint(), "known": True})


def is_published(name: str, path: Path) -> bool:
    """Whether a file has a checksum that is known of the published file.

    Args:
        name: The data set.
        path: Its `.npz` file.

    Returns:
        False also when no checksum is known of it.

    Raises:
        UserError: The file can't be read or is damaged.
    """
    if name in MD5_OF_FILE:
        with damage_named(path), open(path, "rb") as file:
            digest = _digest("md5", path, file, path.stat().st_size)
        if digest == MD5_OF_FILE[name]:
            return True
    if name not in SHA256_OF_IMAGES:
        return False
    with damage_named(path), zipfile.ZipFile(path) as archive:
        member = archive.getinfo("images.npy")
        with archive.open(member) as file:
            digest = _digest("sha256", path, file, member.file_size)
    return digest == SHA256_OF_IMAGES[name]


def _digest(algorithm: str, path: Path, file: IO[bytes], total: int) -> str:
    digest = hashlib.new(algorithm)
    with progress(f"{algorithm} of {path.name}", total, "B") as advance:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            advance(len(piece))
    return digest.hexdigest()


def _path(dataset: Dataset) -> Path:
    if dataset.path is None:
        raise ValueError(f"{dataset.name} was read from no file")
    return dataset.path


def _note(path: Path) -> Path:
    return path.with_name(f"{path.stem}.origin.json")

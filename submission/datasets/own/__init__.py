"""A data set of one's own, named by its path: a `.npz` or HDF5 file, or a folder of pictures."""

import hashlib
import logging
from collections.abc import Collection
from pathlib import Path

from submission.datasets.image_cache import open_images
from submission.datasets.images import Dataset
from submission.datasets.own import arrays, pictures
from submission.datasets.own.content import Factors, rows_of_states
from submission.errors import UserError

log = logging.getLogger(__name__)


def is_path(name: str) -> bool:
    """Whether a data set's name is the path of a file or a folder."""
    path = Path(name)
    return "/" in name or path.suffix.lower() in arrays.FORMATS or path.expanduser().exists()


def checked_path(name: str) -> Path:
    """Returns the absolute path of one's own data.

    Args:
        name: What the user wrote.

    Returns:
        The path of a file that some reader knows, or of a folder.

    Raises:
        UserError: There is none, or it is of no known kind.
    """
    path = Path(name).expanduser().absolute()
    kinds = f"{', '.join(arrays.FORMATS)} or a folder of PNG or JPEG files"
    if not path.exists():
        raise UserError(f"there is no {path}: a data set of your own is a {kinds}")
    if not path.is_dir() and path.suffix.lower() not in arrays.FORMATS:
        raise UserError(f"{path} is no data set: give a {kinds}")
    return path


def load(name: str, reserved: Collection[str] = ()) -> Dataset:
    """Opens one's own data.

    Images of other sizes than 64 by 64, or other types than uint8, are converted once and kept in
    a cache beside the file or in the folder.

    Args:
        name: Its path.
        reserved: Names that the data set may not have.

    Returns:
        The data set, which is called by the path's stem. Its factors are a grid where the images
        cover every combination once, in whatever order; else it has the `factors` of every image;
        or none.

    Raises:
        UserError: The data are missing, damaged, or not what they must be.
    """
    path = checked_path(name)
    content = pictures.read(path) if path.is_dir() else arrays.read(path)
    images, fingerprint = open_images(content.source)
    # Without reading all of most data sets: in few of them the first images are as dark as that.
    is_binary = images[:1000].max() <= 1 and images.max() <= 1
    stem = path.resolve().name if path.is_dir() else path.stem
    factors = content.factors or Factors((), (), None)
    rows = None if factors.indices is None else rows_of_states(factors)
    is_grid = factors.indices is None or rows is not None
    one_valued = [name for name, size in zip(factors.names, factors.sizes, strict=True) if size < 2]
    if one_valued:
        log.warning(
            "%s: not scored, since one value is all they take: %s", path, ", ".join(one_valued)
        )
    return Dataset(
        name=f"own_{stem}" if stem in reserved else stem,
        images=images,
        factor_names=factors.names,
        factor_sizes=factors.sizes,
        scored_factors=tuple(place for place, size in enumerate(factors.sizes) if size > 1),
        image_of_state=rows,
        white=1 if is_binary else 255,
        path=path,
        known_fingerprint=_fingerprint(fingerprint, factors),
        factors=None if is_grid else factors.indices,
        factor_values=factors.values,
        is_own=True,
    )


def _fingerprint(of_images: str, factors: Factors) -> str:
    """The sha256 of the images and of which values of the factors they have."""
    if not factors.names:
        return of_images
    digest = hashlib.sha256(f"{of_images} {list(factors.sizes)}".encode())
    if factors.indices is not None:
        digest.update(factors.indices.data)
    return digest.hexdigest()

"""`mpi3d_mini` and `mpi3d_mini_full`: rendered on first use, kept in an MPI3D-like `.npz` file."""

import hashlib
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from submission.datasets import mpi3d_mini, rendering
from submission.datasets.image_cache import (
    ImageSource,
    damage_named,
    exclusive,
    has_room,
    open_images,
    user_cache_folder,
)
from submission.datasets.images import Dataset
from submission.datasets.npz import npz_source, open_npz_array
from submission.datasets.progress import progress
from submission.errors import UserError
from submission.runs.files import out_of_room, write_atomically

GRIDS = {
    "default": tuple(mpi3d_mini.DEFAULT_SIZES),
    "full": tuple(mpi3d_mini.FULL_SIZES),
    "published": tuple(mpi3d_mini.PUBLISHED_SIZES),
}
GRID_OF_NAME = {"mpi3d_mini": "default", "mpi3d_mini_full": "full"}
FOLDER = "mpi3d_mini"
IMAGE_SHAPE = (rendering.PICTURE_SIZE, rendering.PICTURE_SIZE, 3)
SPARE_BYTES = 2**20  # of a file beside its images

log = logging.getLogger(__name__)


def load(name: str, data_root: Path) -> Dataset:
    """Opens the rendered data set, rendering it if it isn't there or an older renderer made it.

    It is kept in the data root; if that can't be written, in the user's cache folder; if that can't
    either, in memory.

    Args:
        name: `mpi3d_mini` or `mpi3d_mini_full`.
        data_root: The folder of the data sets; the file is `mpi3d_mini/<name>.npz` in it.

    Returns:
        The data set.

    Raises:
        UserError: A file is there but damaged.
    """
    sizes = GRIDS[GRID_OF_NAME[name]]
    places = possible_paths(name, data_root)
    for path in places:
        if is_current(path):
            return _open(name, path)
    images = None
    for path in places:
        obstacle = _obstacle(path, sizes)
        if obstacle:
            log.warning("%s isn't kept in %s: %s", name, path.parent, obstacle)
            continue
        if path != places[0]:
            log.warning("%s is kept in %s", name, path)
        with exclusive(path.parent):
            # Another process may have rendered it while this one waited.
            if not is_current(path):
                images = render(sizes) if images is None else images
                try:
                    write_file(path, images, sizes)
                except UserError as error:
                    if not out_of_room(error):
                        raise
                    log.warning("%s isn't kept in %s: the disk is full", name, path.parent)
                    continue
        return _open(name, path)
    log.warning("%s stays in memory: there is no folder to keep it in", name)
    images = render(sizes) if images is None else images
    images.flags.writeable = False
    return _dataset(name, images, sizes, None, None)


def possible_paths(name: str, data_root: Path) -> list[Path]:
    """Lists where the rendered file may stand, the best place first."""
    folders = [data_root, user_cache_folder()]
    return [folder / file_of(name) for folder in folders if folder is not None]


def file_of(name: str) -> Path:
    """Where the rendered file belongs, relative to the data root."""
    return Path(FOLDER) / f"{name}.npz"


def find_file(data_root: Path, expected: Path) -> Path | None:
    """Finds a rendered file in one of the places where it may stand.

    Args:
        data_root: The folder of the data sets.
        expected: `file_of` its name.

    Returns:
        Its path; None when it is in none of them.
    """
    places = possible_paths(expected.stem, data_root)
    return next((place for place in places if os.path.exists(place)), None)


def render(factor_sizes: Sequence[int], scene: ModuleType = mpi3d_mini) -> np.ndarray:
    """Renders a grid with a progress bar; arguments and result as `mpi3d_mini.render`.

    Args:
        factor_sizes: The number of values of every factor.
        scene: `mpi3d_mini`, or a copy of it with another appearance.
    """
    count = math.prod(factor_sizes)
    done = 0
    with progress("rendering mpi3d_mini", count, "images") as advance:

        def show(fraction: float) -> None:
            nonlocal done
            amount = round(fraction * count) - done
            done += amount
            advance(amount)

        return scene.render(factor_sizes, show)


def write_file(path: Path, images: np.ndarray, factor_sizes: Sequence[int]) -> None:
    """Writes images and their grid as an uncompressed `.npz`, whole or not at all.

    Args:
        path: The file; disentanglement_lib's MPI3D class reads its key `images`.
        images: uint8 [prod(factor_sizes), 64, 64, 3].
        factor_sizes: The number of values of every factor.

    Raises:
        UserError: The file can't be written, or the disk is full.
    """
    write_atomically(
        path,
        lambda file: np.savez(
            file,
            images=images,
            factor_sizes=np.array(factor_sizes, dtype=np.int64),
            factor_names=np.array(mpi3d_mini.FACTOR_NAMES),
            renderer=np.array(renderer_version()),
        ),
    )


def renderer_version() -> str:
    """Tells which renderer this is: the sha256 of its source files."""
    digest = hashlib.sha256()
    for module in (mpi3d_mini, rendering):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def is_current(path: Path) -> bool:
    """Whether a file is there that needn't be rendered again.

    A file that doesn't say what made it is the user's own and counts as current.

    Raises:
        UserError: The file is damaged.
    """
    if not os.path.exists(path):  # False as well where the folder can't be entered
        return False
    with damage_named(path), np.load(path) as archive:
        current = "renderer" not in archive or str(archive["renderer"]) == renderer_version()
    if not current:
        log.warning("%s was made by another version of the renderer", path)
    return current


def open_file(path: Path) -> tuple[ImageSource, tuple[int, ...]]:
    """Checks that a file has the structure that `write_file` gives it.

    Args:
        path: The `.npz` file.

    Returns:
        Its images, and the number of values of every factor.

    Raises:
        UserError: It is damaged, or has other keys, types or shapes.
    """
    array = open_npz_array(path, "images")
    with damage_named(path), np.load(path) as archive:
        if "factor_sizes" not in archive:
            raise UserError(f"{path} holds no array 'factor_sizes': delete it to render it anew")
        sizes = tuple(int(size) for size in archive["factor_sizes"])
    if array.shape != (math.prod(sizes), *IMAGE_SHAPE):
        raise UserError(
            f"{path}: 'images' has the shape {list(array.shape)}; the grid {list(sizes)} needs "
            f"{[math.prod(sizes), *IMAGE_SHAPE]}"
        )
    if len(sizes) != len(mpi3d_mini.FACTOR_NAMES):
        raise UserError(f"{path}: 'factor_sizes' has {len(sizes)} entries; it must have 7")
    return npz_source(array, IMAGE_SHAPE), sizes


def _open(name: str, path: Path) -> Dataset:
    source, sizes = open_file(path)
    if sizes != GRIDS[GRID_OF_NAME[name]]:
        raise UserError(
            f"{path} holds the grid {list(sizes)}; {name} is {list(GRIDS[GRID_OF_NAME[name]])}: "
            "delete it to render it anew"
        )
    images, fingerprint = open_images(source)
    return _dataset(name, images, sizes, path, fingerprint)


def _dataset(
    name: str,
    images: np.ndarray,
    sizes: tuple[int, ...],
    path: Path | None,
    fingerprint: str | None,
) -> Dataset:
    return Dataset(
        name=name,
        images=images,
        factor_names=tuple(mpi3d_mini.FACTOR_NAMES),
        factor_sizes=sizes,
        scored_factors=tuple(range(len(sizes))),
        path=path,
        float64=True,
        known_fingerprint=fingerprint,
    )


def _obstacle(path: Path, sizes: tuple[int, ...]) -> str | None:
    """Why a file can't be written; None when it can."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"it can't be made ({error.strerror})"
    if not os.access(path.parent, os.W_OK):
        return "it can't be written"
    wanted = math.prod(sizes) * math.prod(IMAGE_SHAPE) + SPARE_BYTES
    return None if has_room(path.parent, wanted) else f"it has no room for {wanted:,} bytes"

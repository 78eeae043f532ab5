"""MPI3D: a robot arm that holds an object (Gondal et al., 2019, arXiv:1906.03292)."""

import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from submission.datasets.image_cache import ImageSource, has_room, open_images
from submission.datasets.images import Dataset, require
from submission.datasets.npz import npz_source, open_npz_array, write_npz
from submission.errors import UserError

FACTOR_NAMES = (
    "object_color",
    "object_shape",
    "object_size",
    "camera_height",
    "background_color",
    "horizontal_axis",
    "vertical_axis",
)
IMAGE_SHAPE = (64, 64, 3)
CHALLENGE_SIZES = (4, 4, 2, 3, 3, 40, 40)
PUBLISHED_SIZES = (6, 6, 2, 3, 3, 40, 40)
SIZES_OF_COUNT = {460_800: CHALLENGE_SIZES, 1_036_800: PUBLISHED_SIZES}
NAMES = ("mpi3d_toy", "mpi3d_realistic", "mpi3d_real", "mpi3d_real_complex")
COMPLEX = "mpi3d_real_complex"
OTHER_NAMES = {
    "mpi3d_toy.npz": ("sim_toy_64x_ordered_without_heldout_factors.npz",),
    "mpi3d_realistic.npz": ("sim_realistic_64x_ordered_without_heldout_factors.npz",),
    "mpi3d_real.npz": ("real.npz",),
    "mpi3d_real_complex.npz": ("real3d_complicated_shapes_ordered.npz",),
}

# The values of the first two factors: the README of rr-learning/disentanglement_dataset for those
# published, its version of 2019 (006e7f7) for the challenge's, whose file left the others out.
PUBLISHED_COLORS = ("white", "green", "red", "blue", "brown", "olive")
PUBLISHED_SHAPES = ("cone", "cube", "cylinder", "hexagonal", "pyramid", "sphere")
CHALLENGE_COLORS = ("green", "red", "blue", "brown")
CHALLENGE_SHAPES = ("cone", "cube", "hexagonal", "sphere")
COMPLEX_COLORS = ("yellow", "green", "olive", "red")
COMPLEX_SHAPES = ("coffee cup", "tennis ball", "croissant", "beer cup")
OTHER_VALUES = (
    ("small", "large"),
    ("top", "center", "bottom"),
    ("purple", "sea green", "salmon"),
)


def load(name: str, data_root: Path) -> Dataset:
    """Opens mpi3d_toy, mpi3d_realistic, mpi3d_real or mpi3d_real_complex.

    disentanglement_lib takes 460,800 images for granted in the first two and then labels the files
    published today, of 1,036,800, wrongly without a word. Here the number of images decides.

    Args:
        name: The data set.
        data_root: The folder of the data sets; the file is `<name>/<name>.npz` in it.

    Returns:
        The data set.

    Raises:
        UserError: The file is missing, damaged or no MPI3D file.
    """
    path = require(data_root, file_of(name), name, OTHER_NAMES)
    images, fingerprint = open_images(open_file(path, name))
    return Dataset(
        name=name,
        images=images,
        factor_names=FACTOR_NAMES,
        factor_sizes=SIZES_OF_COUNT[len(images)],
        scored_factors=tuple(range(len(FACTOR_NAMES))),
        path=path,
        float64=True,
        known_fingerprint=fingerprint,
    )


def file_of(name: str) -> Path:
    """Where the file of a data set belongs, relative to the data root."""
    return Path(name) / f"{name}.npz"


def published_sizes(name: str) -> tuple[int, ...]:
    """The factor sizes of the file that is published today."""
    return CHALLENGE_SIZES if name == COMPLEX else PUBLISHED_SIZES


def sizes_in(path: Path, name: str) -> tuple[int, ...]:
    """Reads the factor sizes of a file; arguments and errors as `open_file`."""
    return SIZES_OF_COUNT[open_file(path, name).shape[0]]


def value_names(name: str, factor_sizes: tuple[int, ...]) -> tuple[tuple[str, ...], ...]:
    """Names the values of the five factors that aren't angles.

    Args:
        name: The data set.
        factor_sizes: Its number of values of every factor.

    Returns:
        A name for every value of object colour and shape, size, camera and background.
    """
    if name == COMPLEX:
        return (COMPLEX_COLORS, COMPLEX_SHAPES, *OTHER_VALUES)
    if factor_sizes == CHALLENGE_SIZES:
        return (CHALLENGE_COLORS, CHALLENGE_SHAPES, *OTHER_VALUES)
    return (PUBLISHED_COLORS, PUBLISHED_SHAPES, *OTHER_VALUES)


def open_file(path: Path, name: str | None = None) -> ImageSource:
    """Checks that a file has the structure of an MPI3D file.

    Args:
        path: The `.npz` file, under whatever name. Its images may stand in one row, or in the grid
            that the authors' README reshapes them to.
        name: The data set; None for any.

    Returns:
        Its images.

    Raises:
        UserError: It is damaged, or has another key, type, image shape or number of images.
    """
    array = open_npz_array(path, "images")
    before, image_shape = array.shape[:-3], array.shape[-3:]
    if image_shape != IMAGE_SHAPE:
        raise UserError(
            f"{path}: 'images' has the shape {list(array.shape)}; "
            f"it must be [count, {', '.join(map(str, IMAGE_SHAPE))}]"
        )
    grids = SIZES_OF_COUNT
    if name == COMPLEX:
        grids = {math.prod(CHALLENGE_SIZES): CHALLENGE_SIZES}
    count = math.prod(before)
    if count not in grids or before not in ((count,), grids[count]):
        known = " or ".join(f"{n:,} ({list(sizes)})" for n, sizes in grids.items())
        standing = "" if len(before) == 1 else f" in a grid {list(before)}"
        raise UserError(f"{path} holds {count:,} images{standing}; an MPI3D grid has {known}")
    return npz_source(array, IMAGE_SHAPE)


def open_challenge_file(path: Path) -> ImageSource:
    """As `open_file`, for a file of the challenge's grid.

    Raises:
        UserError: Also when it holds the published grid.
    """
    source = open_file(path)
    if SIZES_OF_COUNT[source.shape[0]] != CHALLENGE_SIZES:
        raise UserError(
            f"{path} holds the {source.shape[0]:,} images published since the challenge: move it "
            "away, or name another folder with --data-root"
        )
    return source


def keep_published(path: Path) -> None:
    """Refuses to put the challenge's images in the place of a whole file with more of them.

    Args:
        path: The `.npz` file that stands there.

    Raises:
        UserError: It is whole and holds the published grid.
    """
    try:
        open_file(path)
    except UserError:  # damaged: it will be fetched again
        return
    open_challenge_file(path)


def cut_challenge(published: Path, target: Path) -> None:
    """Writes the images of a published file that show the challenge's colours and shapes.

    Args:
        published: The `.npz` file with the published grid.
        target: The `.npz` file to write, with the challenge's grid.

    Raises:
        UserError: The published file is damaged or has another grid, or there is no room.
    """
    source = open_file(published)
    if SIZES_OF_COUNT[source.shape[0]] != PUBLISHED_SIZES:
        raise UserError(f"{published} doesn't hold the published grid {list(PUBLISHED_SIZES)}")
    count = math.prod(CHALLENGE_SIZES)
    wanted = count * math.prod(IMAGE_SHAPE)
    if not has_room(target.parent, wanted):
        raise UserError(
            f"no room on the disk for {target}: it takes {wanted:,} bytes"
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    kept = np.outer(
        np.isin(PUBLISHED_COLORS, CHALLENGE_COLORS), np.isin(PUBLISHED_SHAPES, CHALLENGE_SHAPES)
    ).ravel()
    rows = kept.repeat(math.prod(PUBLISHED_SIZES[2:]))

    def pieces() -> Iterator[np.ndarray]:
        start = 0
        for chunk in source.chunks():
            yield chunk[rows[start : start + len(chunk)]]
            start += len(chunk)

    write_npz(target, "images", (count, *IMAGE_SHAPE), pieces())

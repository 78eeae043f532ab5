"""3D Shapes: an object in a coloured room (Kim and Mnih, 2018, Disentangling by Factorising)."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from submission.datasets.image_cache import ImageSource, damage_named, open_images
from submission.datasets.images import Dataset, find, require
from submission.datasets.npz import npz_source, open_npz_array
from submission.errors import UserError

FOLDER = "3dshapes"
HDF5_FILE = "3dshapes.h5"
NPZ_FILE = "look-at-object-room_floor-hueXwall-hueXobj-hueXobj-sizeXobj-shapeXview-azi.npz"
FACTOR_NAMES = (
    "floor_color",
    "wall_color",
    "object_color",
    "object_size",
    "object_type",
    "azimuth",
)
FACTOR_SIZES = (10, 10, 10, 8, 4, 15)
IMAGE_SHAPE = (64, 64, 3)
IMAGES_PER_PIECE = 1000


def load(name: str, data_root: Path) -> Dataset:
    """Opens 3D Shapes: the published HDF5 file, or the `.npz` that disentanglement_lib looks for.

    disentanglement_lib turns all images into float32 at once (23.6 GB); here they stay uint8.

    Args:
        name: `shapes3d`.
        data_root: The folder of the data sets; the file is in `3dshapes` in it.

    Returns:
        The data set.

    Raises:
        UserError: The file is missing, damaged or not 3D Shapes.
    """
    has_archive = find(data_root, Path(FOLDER) / NPZ_FILE) is not None
    path = require(data_root, Path(FOLDER) / (NPZ_FILE if has_archive else HDF5_FILE), name)
    images, fingerprint = open_images(open_file(path))
    return Dataset(
        name=name,
        images=images,
        factor_names=FACTOR_NAMES,
        factor_sizes=FACTOR_SIZES,
        scored_factors=tuple(range(len(FACTOR_SIZES))),
        path=path,
        known_fingerprint=fingerprint,
    )


def find_file(data_root: Path, expected: Path) -> Path | None:
    """Finds the `.npz`, else the HDF5 file where it is expected, as `images.find` does."""
    return find(data_root, Path(FOLDER) / NPZ_FILE) or find(data_root, expected)


def open_file(path: Path) -> ImageSource:
    """Checks that a file has the structure of 3D Shapes, its images in the grid's order.

    Args:
        path: The HDF5 file (under whatever name), or the `.npz`.

    Returns:
        Its images.

    Raises:
        UserError: It is damaged, or has other keys, types or shapes.
    """
    count = math.prod(FACTOR_SIZES)
    if path.suffix == ".npz":
        array = open_npz_array(path, "images")
        if array.shape[-3:] != IMAGE_SHAPE or math.prod(array.shape[:-3]) != count:
            raise UserError(f"{path}: {_wrong_shape(array.shape)}")
        return npz_source(array, IMAGE_SHAPE)
    _check_hdf5(path)
    return ImageSource(
        files=(path,),
        cache=path.with_name(f"{path.stem}.cache"),
        shape=(count, *IMAGE_SHAPE),
        chunks=lambda: _decode(path),
    )


def _check_hdf5(path: Path) -> None:
    # Imported where it is needed: it costs every other command a third of a second.
    import h5py

    with damage_named(path), h5py.File(path) as file:
        for key in ("images", "labels"):
            if key not in file:
                raise UserError(
                    f"{path} holds no array '{key}', only {', '.join(file) or 'nothing'}"
                )
        images, labels = file["images"], file["labels"]
        if images.dtype != np.uint8 or images.shape != (math.prod(FACTOR_SIZES), *IMAGE_SHAPE):
            raise UserError(f"{path}: {_wrong_shape(images.shape)}")
        if labels.shape != (len(images), len(FACTOR_SIZES)):
            raise UserError(f"{path}: 'labels' has the shape {list(labels.shape)}")
        values = labels[:]
    grid = np.indices(FACTOR_SIZES).reshape(len(FACTOR_SIZES), -1)
    for factor, expected in enumerate(grid):
        if not np.array_equal(np.unique(values[:, factor], return_inverse=True)[1], expected):
            raise UserError(f"{path}: 'labels' aren't in the order of the published file")


def _decode(path: Path) -> Iterator[np.ndarray]:
    import h5py

    with damage_named(path), h5py.File(path) as file:
        images = file["images"]
        for start in range(0, len(images), IMAGES_PER_PIECE):
            yield images[start : start + IMAGES_PER_PIECE]


def _wrong_shape(shape: tuple[int, ...]) -> str:
    right = [math.prod(FACTOR_SIZES), *IMAGE_SHAPE]
    return f"'images' has the shape {list(shape)}; it must be uint8 {right}"

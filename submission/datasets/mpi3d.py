"""MPI3D: a robot arm that holds an object (Gondal et al., 2019, arXiv:1906.03292)."""

from pathlib import Path

from submission.datasets.dataset import Dataset
from submission.datasets.image_cache import ImageSource, npz_source, open_images, open_npz_array
from submission.datasets.locate import require
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


def load(name: str, data_root: Path) -> Dataset:
    """Opens mpi3d_toy, mpi3d_realistic or mpi3d_real.

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
    path = require(data_root / name / f"{name}.npz", name)
    source = open_file(path)
    images, fingerprint = open_images(source)
    return Dataset(
        name=name,
        images=images,
        factor_names=FACTOR_NAMES,
        factor_sizes=SIZES_OF_COUNT[len(images)],
        scored_factors=tuple(range(len(FACTOR_NAMES))),
        path=path,
        known_fingerprint=fingerprint,
    )


def open_file(path: Path) -> ImageSource:
    """Checks that a file has the structure of an MPI3D file.

    Args:
        path: The `.npz` file, under whatever name.

    Returns:
        Its images.

    Raises:
        UserError: It is damaged, or has another key, type, image shape or number of images.
    """
    array = open_npz_array(path, "images")
    if array.shape[1:] != IMAGE_SHAPE:
        raise UserError(
            f"{path}: 'images' has the shape {list(array.shape)}; "
            f"it must be [count, {', '.join(map(str, IMAGE_SHAPE))}]"
        )
    if array.shape[0] not in SIZES_OF_COUNT:
        grids = " or ".join(f"{n:,} ({list(sizes)})" for n, sizes in SIZES_OF_COUNT.items())
        raise UserError(f"{path} holds {array.shape[0]:,} images; an MPI3D grid has {grids}")
    return npz_source(array, IMAGE_SHAPE)

"""smallNORB: toys of five categories under varied light (LeCun et al., 2004)."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from submission.datasets.image_cache import ImageSource, damage_named, open_images
from submission.datasets.images import Dataset, require
from submission.errors import UserError

FOLDER = "small_norb"
CHUNKS = ("smallnorb-5x46789x9x18x6x2x96x96-training", "smallnorb-5x01235x9x18x6x2x96x96-testing")
FILES = tuple(
    Path(FOLDER) / f"{chunk}-{kind}.mat" for chunk in CHUNKS for kind in ("dat", "cat", "info")
)
FACTOR_NAMES = ("category", "instance", "elevation", "azimuth", "lighting")
FACTOR_SIZES = (5, 10, 9, 18, 6)
SCORED_FACTORS = (0, 2, 3, 4)
SIDE = 64
IMAGES_PER_PIECE = 1024
# The format's page, https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/: little-endian.
MATRIX_TYPES: dict[int, np.dtype[Any]] = {
    0x1E3D4C55: np.dtype("u1"),
    0x1E3D4C54: np.dtype("<i4"),
}

Files = dict[str, Path]  # the six files, by their published name without its ending


def load(name: str, data_root: Path) -> Dataset:
    """Opens the left camera's images of smallNORB, resized to 64x64 once and kept beside the files.

    The ten instances of each category are no scored factor: they are drawn at random.

    disentanglement_lib reads the pixels, unsigned bytes, as signed ones. Pillow happens to undo
    that, but then resizes in 32-bit integers, where the Lanczos filter overshoots at edges: its
    images leave [0, 1]. Here the same resizing is clipped to [0, 255]; all other pixels are equal.

    Args:
        name: `smallnorb`.
        data_root: The folder of the data sets; the files are `small_norb/smallnorb-*.mat` in it.

    Returns:
        The data set.

    Raises:
        UserError: Files are missing, damaged or not those of smallNORB.
    """
    files = {path.stem: require(data_root, path, name) for path in FILES}
    images, fingerprint = open_images(open_files(files))
    return Dataset(
        name=name,
        images=images,
        factor_names=FACTOR_NAMES,
        factor_sizes=FACTOR_SIZES,
        scored_factors=SCORED_FACTORS,
        image_of_state=_image_of_state(files),
        path=files[f"{CHUNKS[0]}-dat"],
        known_fingerprint=fingerprint,
    )


def open_files(files: Files) -> ImageSource:
    """Checks that the six files hold as many images as the grid has states.

    Args:
        files: The `.mat` files (the data set's own format, not Matlab's).

    Returns:
        Their images, in the files' order.

    Raises:
        UserError: A file is damaged, or has the wrong number of images.
    """
    folder = files[f"{CHUNKS[0]}-dat"].parent
    count = sum(len(_pixels(files, chunk)) for chunk in CHUNKS)
    if count != math.prod(FACTOR_SIZES):
        raise UserError(
            f"{folder} holds {count:,} images; there must be {math.prod(FACTOR_SIZES):,}"
        )
    return ImageSource(
        files=tuple(files.values()),
        cache=folder / "smallnorb.cache",
        shape=(count, SIDE, SIDE, 1),
        chunks=lambda: _decode(files),
    )


def read_matrix(path: Path) -> np.ndarray:
    """Maps a file in the data set's binary matrix format.

    Args:
        path: The file: a number for the type, the number of dimensions, at least three sizes, then
            the elements, row-major.

    Returns:
        A read-only array of bytes or 32-bit integers.

    Raises:
        UserError: The file is damaged or no such matrix.
    """
    with damage_named(path):
        head = np.fromfile(path, "<i4", 2)
        if len(head) < 2 or int(head[0]) not in MATRIX_TYPES or not 1 <= head[1] <= 8:
            raise ValueError("no matrix of bytes or integers")
        stored_sizes = max(3, int(head[1]))
        sizes = np.fromfile(path, "<i4", stored_sizes, offset=8)
        shape = tuple(int(size) for size in sizes[: head[1]])
        offset = 8 + 4 * stored_sizes
        dtype = MATRIX_TYPES[int(head[0])]
        if path.stat().st_size != offset + math.prod(shape) * dtype.itemsize:
            raise EOFError(f"its length doesn't fit its sizes {list(shape)}")
        return np.memmap(path, dtype, mode="r", offset=offset, shape=shape)


def _pixels(files: Files, chunk: str) -> np.ndarray:
    """Maps uint8 [count, camera, height, width]."""
    path = files[f"{chunk}-dat"]
    pixels = read_matrix(path)
    if pixels.ndim != 4 or pixels.dtype != np.uint8:
        raise UserError(f"{path} holds {pixels.dtype} {list(pixels.shape)}, no pairs of pictures")
    return pixels


def _decode(files: Files) -> Iterator[np.ndarray]:
    for chunk in CHUNKS:
        pixels = _pixels(files, chunk)
        for start in range(0, len(pixels), IMAGES_PER_PIECE):
            yield np.stack([_resize(pair[0]) for pair in pixels[start : start + IMAGES_PER_PIECE]])


def _resize(pixels: np.ndarray) -> np.ndarray:
    """Resizes uint8 [h, w] to [64, 64, 1] in integers, as disentanglement_lib does, and clips."""
    picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("I")
    resized = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.clip(np.array(resized), 0, 255).astype(np.uint8)[..., np.newaxis]


def _image_of_state(files: Files) -> np.ndarray:
    """Reads which row of the images shows which state: int64 [prod(FACTOR_SIZES)]."""
    columns = []
    for chunk in CHUNKS:
        category = read_matrix(files[f"{chunk}-cat"])
        others = read_matrix(files[f"{chunk}-info"])
        if len(category) != len(others) or others.shape[1:] != (len(FACTOR_SIZES) - 1,):
            raise UserError(f"{files[f'{chunk}-info']} doesn't fit {chunk}-cat.mat")
        columns.append(np.column_stack((category, others)))
    folder = files[f"{CHUNKS[0]}-cat"].parent
    factors = np.concatenate(columns)
    factors[:, FACTOR_NAMES.index("azimuth")] //= 2  # stored as 0, 2, 4, …, 34
    states = np.full(math.prod(FACTOR_SIZES), -1, dtype=np.int64)
    if (factors < 0).any() or (factors >= FACTOR_SIZES).any():
        raise UserError(f"{folder}: the -info.mat files hold values outside the factors' ranges")
    states[np.ravel_multi_index(tuple(factors.T), FACTOR_SIZES)] = np.arange(len(factors))
    if len(factors) != len(states) or (states < 0).any():
        raise UserError(f"{folder}: the images don't cover every combination of factors once")
    return states

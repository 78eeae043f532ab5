"""Images and factors in a `.npz` or an HDF5 file."""

import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from submission.datasets.image_cache import ImageSource, damage_named, images_per_chunk
from submission.datasets.npz import npz_chunks, npz_names, open_npz_array
from submission.datasets.own.content import (
    Content,
    Factors,
    factors_of_columns,
    factors_of_grid,
)
from submission.datasets.own.resizing import SIDE, as_network_takes
from submission.errors import UserError, require_packages

# dSprites calls them imgs and latents_classes, 3D Shapes calls the factors labels.
IMAGES = ("images", "imgs")
FACTORS = ("factors", "latents_classes", "labels")
SIZES = "factor_sizes"
NAMES = "factor_names"

ImageShape = tuple[int, int, int]


@dataclass(frozen=True)
class Stored:
    """An array of images in a file.

    Attributes:
        shape: Its shape.
        dtype: The type of its numbers.
        offset: Where in the file it stands uncompressed and row-major; None where it doesn't.
        pieces: Reads it, given the shape of an image, a piece [n, h, w, c] at a time.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int | None
    pieces: Callable[[ImageShape], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Format:
    """How to read a kind of file.

    Attributes:
        keys: Lists its arrays.
        images: Describes one that is too large to be read at once.
        small: Reads one.
    """

    keys: Callable[[Path], list[str]]
    images: Callable[[Path, str], Stored]
    small: Callable[[Path, str], np.ndarray]


def read(path: Path) -> Content:
    """Reads what a file holds.

    Args:
        path: A `.npz` or HDF5 file with `images`; `factors` or `factor_sizes`; `factor_names`.

    Returns:
        Its images, and their factors if it tells any.

    Raises:
        UserError: It is damaged, or an array isn't what it must be.
    """
    kind = FORMATS[path.suffix.lower()]
    keys = kind.keys(path)
    key = next((name for name in IMAGES if name in keys), None)
    if key is None:
        raise UserError(f"{path} holds no array 'images', only {', '.join(keys) or 'nothing'}")
    stored = kind.images(path, key)
    if stored.dtype.kind not in "biuf":
        raise UserError(f"{path}: '{key}' is {stored.dtype}; it must be uint8")
    grid, image_shape = _split(f"{path}: '{key}'", stored.shape)
    count = math.prod(grid)
    if not count:
        raise UserError(f"{path}: '{key}' holds no image: its shape is {list(stored.shape)}")
    *size, channels = image_shape
    as_it_is = stored.dtype == np.uint8 and size == [SIDE, SIDE]

    def pieces() -> Iterator[np.ndarray]:
        with damage_named(path):
            yield from stored.pieces(image_shape)

    source = ImageSource(
        files=(path,),
        cache=path.with_name(f"{path.name}.cache"),
        shape=(count, SIDE, SIDE, channels),
        chunks=pieces if as_it_is else lambda: as_network_takes(pieces, f"{path}: '{key}'"),
        mappable=(path, stored.offset) if as_it_is and stored.offset is not None else None,
    )
    return Content(source, _factors(path, kind, keys, grid))


def _split(what: str, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ImageShape]:
    """Parts the shape of an array into that of the grid (or the count) and that of an image."""
    told = f"{what} has the shape {list(shape)}"
    right = "it must be [images, height, width, channels], with 1 or 3 channels"
    if len(shape) < 3 or (len(shape) == 3 and shape[2] <= 4):
        raise UserError(f"{told}; {right}")
    if len(shape) == 3:
        return shape[:1], (shape[1], shape[2], 1)
    if shape[-1] in (1, 3):
        return shape[:-3], (shape[-3], shape[-2], shape[-1])
    if shape[-3] in (1, 3):
        raise UserError(f"{told}, channels first; {right}: turn it by np.moveaxis(images, -3, -1)")
    if shape[-1] == 4:
        raise UserError(f"{told}; {right}: drop the alpha channel by images[..., :3]")
    raise UserError(f"{told}; {right}: images[..., np.newaxis] adds the one of grey images")


def _factors(path: Path, kind: Format, keys: list[str], grid: tuple[int, ...]) -> Factors | None:
    count = math.prod(grid)
    key = next((name for name in FACTORS if name in keys), None)
    told = _sizes(path, kind.small(path, SIZES)) if SIZES in keys else None
    if key is None:
        sizes = told or (grid if len(grid) > 1 else None)
        if sizes is None:
            return None
        if math.prod(sizes) != count:
            raise UserError(
                f"{path}: {SIZES} {list(sizes)} makes {math.prod(sizes):,} combinations, of "
                f"{count:,} images: give 'factors' [images, factors] instead"
            )
        return factors_of_grid(_names(path, kind, keys, len(sizes)), sizes)
    table = kind.small(path, key)
    if table.shape[: len(grid)] == grid:
        table = table.reshape(count, *table.shape[len(grid) :])
    if table.ndim == 1:
        table = table[:, np.newaxis]
    if table.ndim != 2 or not table.shape[1]:
        raise UserError(
            f"{path}: '{key}' has the shape {list(table.shape)}; it must be [images, factors]"
        )
    if len(table) != count:
        raise UserError(f"{path}: '{key}' has {len(table):,} rows for {count:,} images")
    names = _names(path, kind, keys, table.shape[1])
    columns = dict(zip(names, table.T, strict=True))
    factors = factors_of_columns(columns, f"{path}: '{key}'")
    if told is not None and told != factors.sizes:
        raise UserError(
            f"{path}: {SIZES} is {list(told)}, but '{key}' takes {list(factors.sizes)} values: "
            f"leave {SIZES} out"
        )
    return factors


def _sizes(path: Path, sizes: np.ndarray) -> tuple[int, ...]:
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or not sizes.size or sizes.min() < 1:
        raise UserError(f"{path}: {SIZES} is {sizes.tolist()}; it must be sizes such as [4, 4, 2]")
    return tuple(int(size) for size in sizes)


def _names(path: Path, kind: Format, keys: list[str], count: int) -> tuple[str, ...]:
    if NAMES not in keys:
        return tuple(f"factor_{number}" for number in range(count))
    given = kind.small(path, NAMES)
    if given.dtype.kind == "S":
        given = np.char.decode(given, "utf-8", "replace")
    names = tuple(map(str, given.reshape(-1)))
    if len(names) != count or len(set(names)) != count:
        raise UserError(
            f"{path}: {NAMES} is {list(names)}; it must be {count} different names, one a factor"
        )
    return names


def _npz_keys(path: Path) -> list[str]:
    with damage_named(path), zipfile.ZipFile(path) as archive:
        return npz_names(archive)


def _npz_images(path: Path, key: str) -> Stored:
    array = open_npz_array(path, key, any_type=True)
    return Stored(array.shape, array.dtype, array.offset, lambda shape: npz_chunks(array, shape))


def _npz_small(path: Path, key: str) -> np.ndarray:
    with damage_named(path), np.load(path, allow_pickle=False) as archive:
        try:
            return archive[key]
        except ValueError as error:
            raise UserError(
                f"{path}: '{key}' can't be read ({error}): save it as numbers or texts"
            ) from error


def _hdf5_keys(path: Path) -> list[str]:
    require_packages(str(path), "h5py")
    # Imported where it is needed: it costs every other command a third of a second.
    import h5py

    with damage_named(path), h5py.File(path) as file:
        return [name for name in file if isinstance(file.get(name), h5py.Dataset)]


def _hdf5_images(path: Path, key: str) -> Stored:
    import h5py

    with damage_named(path), h5py.File(path) as file:
        array = file[key]
        if array.dtype.hasobject:
            raise UserError(f"{path}: '{key}' holds objects; it must be uint8")
        return Stored(
            array.shape,
            array.dtype,
            # None for what is compressed, or stands in chunks or in other files.
            array.id.get_offset(),
            lambda shape: _hdf5_pieces(path, key, shape),
        )


def _hdf5_pieces(path: Path, key: str, image_shape: ImageShape) -> Iterator[np.ndarray]:
    import h5py

    with h5py.File(path) as file:
        array = file[key]
        grey = 1 if array.ndim == 3 else 0
        *before, last = array.shape[: array.ndim - 3 + grey]
        step = images_per_chunk((last, *image_shape))
        for state in np.ndindex(*before):
            for start in range(0, last, step):
                yield array[(*state, slice(start, start + step))].reshape(-1, *image_shape)


def _hdf5_small(path: Path, key: str) -> np.ndarray:
    import h5py

    with damage_named(path), h5py.File(path) as file:
        array = file[key]
        if h5py.check_string_dtype(array.dtype):
            return array.asstr()[...].astype(str)
        if array.dtype.hasobject:
            raise UserError(f"{path}: '{key}' holds objects; it must be numbers or texts")
        return array[...]


_HDF5 = Format(_hdf5_keys, _hdf5_images, _hdf5_small)
FORMATS = {
    ".npz": Format(_npz_keys, _npz_images, _npz_small),
    ".h5": _HDF5,
    ".hdf5": _HDF5,
}

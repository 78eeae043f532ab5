"""Cars3D: 183 car models from 96 sides (Reed et al., 2015, Deep Visual Analogy-Making)."""

import functools
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from submission.datasets.image_cache import ImageSource, damage_named, open_images
from submission.datasets.images import Dataset, find, missing
from submission.datasets.progress import progress
from submission.errors import UserError
from submission.runs.files import write_atomically

FOLDER = "cars"
FACTOR_NAMES = ("elevation", "azimuth", "object_type")
FACTOR_SIZES = (4, 24, 183)
SIDE = 64


def load(name: str, data_root: Path) -> Dataset:
    """Opens Cars3D, shrunk to 64x64 once and kept beside its files.

    The object types are the files in the order of their names. disentanglement_lib numbers them in
    the order in which the file system happens to list them, which differs between machines.

    Args:
        name: `cars3d`.
        data_root: The folder of the data sets; the files are `cars/*.mat` in it.

    Returns:
        The data set.

    Raises:
        UserError: Files are missing, damaged or not those of Cars3D.
    """
    folder = find_folder(data_root)
    if folder is None:
        raise missing(data_root / FOLDER, name)
    source = open_folder(folder)
    images, fingerprint = open_images(source)
    return Dataset(
        name=name,
        images=images,
        factor_names=FACTOR_NAMES,
        factor_sizes=FACTOR_SIZES,
        scored_factors=(0, 1, 2),
        path=source.files[0],
        known_fingerprint=fingerprint,
    )


def find_folder(data_root: Path) -> Path | None:
    """Finds the folder of the `.mat` files: `cars`, `data/cars` as its archive has it, or the root.

    Args:
        data_root: The folder of the data sets.

    Returns:
        The folder; None when there is none.

    Raises:
        UserError: A folder can't be read.
    """
    found = find(data_root, Path(FOLDER)) or find(data_root, Path("data") / FOLDER)
    return found or (data_root if any(data_root.glob("car_*.mat")) else None)


def unpack(archive: Path, folder: Path) -> None:
    """Takes the .mat files of the cars out of the archive, which holds other data sets too.

    Args:
        archive: The published `.tar.gz` file.
        folder: Where they go.

    Raises:
        UserError: It is damaged, or they can't be written.
    """
    with damage_named(archive), tarfile.open(archive) as packed:
        for member in packed:
            # Only the last part of a member's name is used: it can't lead out of the folder.
            if member.isfile() and re.search(r"(^|/)cars/[^./][^/]*\.mat$", member.name):
                content = packed.extractfile(member)
                if content is not None:
                    write_atomically(
                        folder / Path(member.name).name,
                        functools.partial(shutil.copyfileobj, content),
                    )


def open_folder(folder: Path) -> ImageSource:
    """Checks that a folder holds as many files as there are cars.

    Args:
        folder: The folder of the `.mat` files.

    Returns:
        Their images.

    Raises:
        UserError: The number of files is wrong.
    """
    # A name that begins with a dot is no car: macOS adds "._car_001_mesh.mat" to what it copies.
    files = tuple(sorted(path for path in folder.glob("*.mat") if path.name[0] != "."))
    elevations, azimuths, types = FACTOR_SIZES
    if len(files) != types:
        raise UserError(f"{folder} holds {len(files)} .mat files; there must be {types}")
    return ImageSource(
        files=files,
        cache=folder / "cars3d.cache",
        shape=(elevations * azimuths * types, SIDE, SIDE, 3),
        chunks=lambda: _decode(files),
    )


def _decode(files: tuple[Path, ...]) -> Iterator[np.ndarray]:
    """Yields the images by elevation; a file holds all views of one car, so all are read first."""
    elevations, azimuths, types = FACTOR_SIZES
    images = np.empty((elevations, azimuths, types, SIDE, SIDE, 3), dtype=np.uint8)
    with progress("reading Cars3D", len(files), "files") as advance:
        for number, path in enumerate(files):
            images[:, :, number] = _read_car(path)
            advance(1)
    for elevation in images:
        yield elevation.reshape(-1, SIDE, SIDE, 3)


def _read_car(path: Path) -> np.ndarray:
    """Reads uint8 [elevation, azimuth, 64, 64, 3]."""
    # SciPy's readers take most of a second to import, and only the first reading needs them.
    from scipy.io import loadmat

    with damage_named(path):
        content = loadmat(path)
    views = content.get("im")
    elevations, azimuths, _ = FACTOR_SIZES
    if views is None or views.dtype != np.uint8 or views.shape[2:] != (3, azimuths, elevations):
        found = "no 'im'" if views is None else f"'im' {views.dtype} {list(views.shape)}"
        raise UserError(
            f"{path} holds {found}; it must be uint8 [h, w, 3, {azimuths}, {elevations}]"
        )
    car = np.empty((elevations, azimuths, SIDE, SIDE, 3), dtype=np.uint8)
    for azimuth, elevation in np.ndindex(azimuths, elevations):
        picture = Image.fromarray(np.ascontiguousarray(views[..., azimuth, elevation]))
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        if picture.size != (SIDE, SIDE):
            raise UserError(
                f"{path} holds pictures that aren't square or smaller than {SIDE}x{SIDE}"
            )
        car[elevation, azimuth] = np.array(picture)
    return car

"""dSprites (Higgins et al., 2017) and three variants of it (Locatello et al., 2019)."""

import functools
import math
from pathlib import Path

import numpy as np
from PIL import Image

from submission.datasets.image_cache import ImageSource, damage_named, open_images
from submission.datasets.images import Dataset, require
from submission.datasets.npz import npz_source, open_npz_array
from submission.errors import UserError

FILE = Path("dsprites") / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
SCREAM_FILE = Path("scream") / "scream.jpg"
OTHER_NAMES = {"scream.jpg": ("The_Scream.jpg",)}
FACTOR_NAMES = ("color", "shape", "scale", "orientation", "position_x", "position_y")
FACTOR_SIZES = (1, 3, 6, 40, 32, 32)
SIDE = 64
SCREAM_SIZE = (350, 274)  # width and height that the picture is shrunk to fit in


def load(name: str, data_root: Path) -> Dataset:
    """Opens dSprites or one of its variants.

    The pixels are stored as 0 and 1, and `white` is 1. The file's own `metadata` is a pickle and is
    left alone: the grid has been the same in every publication.

    Args:
        name: dsprites_full, dsprites_noshape, color_dsprites, noisy_dsprites or scream_dsprites.
        data_root: The folder of the data sets.

    Returns:
        The data set.

    Raises:
        UserError: A file is missing, damaged or not dSprites.
    """
    path = require(data_root, FILE, name)
    paint = None
    if name == "color_dsprites":
        paint = paint_color
    elif name == "noisy_dsprites":
        paint = paint_noise
    elif name == "scream_dsprites":
        scream = read_scream(require(data_root, SCREAM_FILE, name, OTHER_NAMES))
        paint = functools.partial(paint_scream, scream=scream)
    images, fingerprint = open_images(open_file(path))
    return Dataset(
        name=name,
        images=images,
        factor_names=FACTOR_NAMES,
        factor_sizes=FACTOR_SIZES,
        scored_factors=(2, 3, 4, 5) if name == "dsprites_noshape" else (1, 2, 3, 4, 5),
        white=1,
        paint=paint,
        path=path,
        known_fingerprint=fingerprint,
    )


def open_file(path: Path) -> ImageSource:
    """Checks that a file has the structure of the dSprites file.

    Args:
        path: The `.npz` file, under whatever name.

    Returns:
        Its images.

    Raises:
        UserError: It is damaged, or has another key, type, image shape or number of images.
    """
    array = open_npz_array(path, "imgs")
    right = (math.prod(FACTOR_SIZES), SIDE, SIDE)
    if array.shape != right:
        raise UserError(
            f"{path}: 'imgs' has the shape {list(array.shape)}; it must be {list(right)}"
        )
    return npz_source(array, (SIDE, SIDE, 1), largest=1)


def paint_color(images: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
    """Gives every sprite a colour of its own, each channel uniform in [0.5, 1].

    Args:
        images: float [n, h, w, 1], the sprites in white on black.
        random_state: Where the colours come from.

    Returns:
        float [n, h, w, 3].
    """
    return images * random_state.uniform(0.5, 1, (len(images), 1, 1, 3))


def paint_noise(images: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
    """Fills the background with noise, every pixel and channel uniform in [0, 1].

    Args:
        images: float [n, h, w, 1], the sprites in white on black.
        random_state: Where the noise comes from.

    Returns:
        float [n, h, w, 3].
    """
    return np.minimum(images + random_state.uniform(0, 1, (*images.shape[:3], 3)), 1.0)


def paint_scream(
    images: np.ndarray, random_state: np.random.RandomState, scream: np.ndarray
) -> np.ndarray:
    """Puts a tinted patch of the picture behind every sprite, and its negative on the sprite.

    Args:
        images: float [n, h, w, 1], the sprites in white on black.
        random_state: Where the patches and tints come from.
        scream: float [height, width, 3] in [0, 1], the picture.

    Returns:
        float32 [n, h, w, 3].
    """
    count, height, width = images.shape[:3]
    painted = np.empty((count, height, width, 3), dtype=np.float32)
    for row, image in enumerate(images):
        top = random_state.randint(0, scream.shape[0] - height)
        left = random_state.randint(0, scream.shape[1] - width)
        patch = scream[top : top + height, left : left + width]
        background = (patch + random_state.uniform(0, 1, size=3)) / 2
        painted[row] = np.where(image == 1, 1 - background, background)
    return painted


def read_scream(path: Path) -> np.ndarray:
    """Reads Munch's picture, shrunk as disentanglement_lib shrinks it.

    Args:
        path: The JPEG file.

    Returns:
        float64 [height, width, 3] in [0, 1].

    Raises:
        UserError: It is no picture, or too small to cut patches from.
    """
    with damage_named(path), Image.open(path) as picture:
        picture.thumbnail(SCREAM_SIZE)
        pixels = np.array(picture.convert("RGB"))
    if min(pixels.shape[:2]) <= SIDE:
        height, width = pixels.shape[:2]
        raise UserError(f"{path} is {width}x{height} when shrunk; it must be over {SIDE}x{SIDE}")
    return pixels / 255.0

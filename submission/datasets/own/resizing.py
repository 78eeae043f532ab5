"""Images of any number type and size as the networks take them: uint8, 64 by 64."""

import logging
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from submission.errors import UserError

SIDE = 64  # that the paper's networks take

log = logging.getLogger(__name__)

Pieces = Callable[[], Iterator[np.ndarray]]
"""Starts reading images, a piece [n, h, w, c] at a time."""


def as_network_takes(pieces: Pieces, what: str) -> Iterator[np.ndarray]:
    """Turns images into uint8 [n, 64, 64, c], and says what is done to them.

    Args:
        pieces: bool, integers from 0 to 255, or floating-point numbers in [0, 1].
        what: What messages call them.

    Yields:
        uint8 [n, 64, 64, c]; truth values become 0 and 255.

    Raises:
        UserError: A number is outside its range.
    """
    told = False
    binary = None
    for piece in pieces():
        height, width = piece.shape[1:3]
        is_resized = (height, width) != (SIDE, SIDE)
        pixels = _uint8(piece, what)
        if not told:
            told = True
            _tell(what, piece.dtype, height, width)
        if is_resized:
            if binary is None:
                # What is between 0 and 1 would be lost.
                binary = piece.dtype.kind in "iu" and all(one.max() <= 1 for one in pieces())
            pixels = np.stack([resized(image * 255 if binary else image) for image in pixels])
        yield pixels


def resized(image: np.ndarray) -> np.ndarray:
    """Resizes one uint8 image [h, w, c] to [64, 64, c], whatever its aspect."""
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))
    pixels = np.array(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return pixels.reshape(SIDE, SIDE, image.shape[2])


def _uint8(images: np.ndarray, what: str) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    if images.dtype == np.bool_:
        return images * np.uint8(255)
    least, most = images.min(), images.max()
    largest = 1 if images.dtype.kind == "f" else 255
    # Written so that NaN fails too.
    if not (least >= 0 and most <= largest):
        raise UserError(
            f"{what} is {images.dtype} with values from {least} to {most}; it must be uint8, or "
            f"hold values from 0 to {largest}"
        )
    scaled = (images * 255.0).round() if images.dtype.kind == "f" else images
    return scaled.astype(np.uint8)


def _tell(what: str, dtype: np.dtype, height: int, width: int) -> None:
    if (height, width) != (SIDE, SIDE):
        squashed = "" if height == width else ", which changes their aspect"
        log.warning(
            "%s: images of %d x %d pixels are resized to %d x %d%s",
            *(what, width, height, SIDE, SIDE, squashed),
        )
    if dtype.kind == "f":
        log.warning("%s: %s in [0, 1] is rounded to 256 levels", what, dtype)

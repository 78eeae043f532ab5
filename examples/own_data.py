"""Scores a model on images of your own, and codes of which you know the factors.

After `pip install .`, or with `PYTHONPATH=.` in a checkout: python examples/own_data.py
"""

import tempfile
from pathlib import Path

import numpy as np
import rich

import evaluator

SIZES = (4, 8, 8)  # shades, and places from left to right and from top to bottom


def squares() -> tuple[np.ndarray, np.ndarray]:
    """uint8 images [256, 64, 64, 3] of a grey square, and its factors [256, 3]."""
    factors = np.stack(np.unravel_index(np.arange(np.prod(SIZES)), SIZES), axis=1)
    images = np.zeros((len(factors), 64, 64, 3), np.uint8)
    for image, (shade, x, y) in zip(images, factors, strict=True):
        image[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 60 * (shade + 1)
    return images, factors


def centre_and_light(images: np.ndarray) -> np.ndarray:
    """Where an image is bright, and how bright: codes [n, 3] of float32 [n, c, h, w]."""
    light = images.mean(axis=1)
    total = light.sum(axis=(1, 2))
    places = np.arange(64)
    x = (light.sum(axis=1) * places).sum(axis=1) / total
    y = (light.sum(axis=2) * places).sum(axis=1) / total
    return np.stack([x, y, total], axis=1)


def main() -> None:
    """Writes a file, scores a function on it, and then the codes alone."""
    images, factors = squares()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "squares.npz"
        np.savez(path, images=images, factors=factors, factor_names=["shade", "x", "y"])
        of_images = evaluator.score(centre_and_light, str(path), metrics=["mig", "dci"])
    rich.print(of_images.table())

    codes = centre_and_light(np.moveaxis(images, 3, 1) / np.float32(255))
    of_codes = evaluator.score_codes(codes, factors, metrics=["mig", "dci"])
    rich.print(of_codes.table())


if __name__ == "__main__":
    main()

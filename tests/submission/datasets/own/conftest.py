"""Images that tell their factors: a square whose colour, row and column vary."""

from pathlib import Path

import numpy as np
import pytest

SIZES = (3, 4, 5)


@pytest.fixture
def grid() -> np.ndarray:
    """uint8 [3, 4, 5, 64, 64, 3]."""
    images = np.zeros((*SIZES, 64, 64, 3), np.uint8)
    for shade, row, column in np.ndindex(*SIZES):
        square = images[
            shade, row, column, 12 * row : 12 * row + 16, 10 * column : 10 * column + 16
        ]
        square[:] = (60 * (shade + 1), 255, 255 - 60 * shade)
    return images


@pytest.fixture
def images(grid: np.ndarray) -> np.ndarray:
    """The same as uint8 [60, 64, 64, 3]."""
    return grid.reshape(-1, 64, 64, 3)


@pytest.fixture
def factors() -> np.ndarray:
    """int64 [60, 3], of `images`."""
    return np.indices(SIZES).reshape(3, -1).T


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file may go: with a space, in no folder of data sets."""
    folder = tmp_path / "my data"
    folder.mkdir()
    return folder / "squares.npz"

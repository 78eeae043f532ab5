"""uint8 pixels as numbers in [0, 1]: one division for arrays, one for tensors, for all who read.

In float32 both round the same quotient, so a network sees the same bits whichever way an image
comes to it on a CPU.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def in_unit_range(
    pixels: np.ndarray, white: int, dtype: type[np.floating] = np.float32
) -> np.ndarray:
    """Divides an array, whatever its layout.

    Args:
        pixels: uint8, of any shape.
        white: The pixel value that means 1.0.
        dtype: Of the answer, and of the division.

    Returns:
        The same shape, in [0, 1].
    """
    return np.divide(pixels, dtype(white), dtype=dtype)


def tensor_in_unit_range(pixels: "Tensor", white: int) -> "Tensor":
    """Divides a tensor where it is, and keeps its layout.

    Args:
        pixels: uint8, of any shape.
        white: The pixel value that means 1.0.

    Returns:
        The same shape, in [0, 1], in PyTorch's default type.
    """
    return pixels.div(white)

"""The codes of a data set's images, each image encoded once for all metrics and seeds.

disentanglement_lib encodes whatever it draws, 970,000 images for the FactorVAE metric alone; but a
representation is a function of the image, so its codes can be looked up by the image's number.
"""

import numpy as np

from evaluator.representations import Representation
from submission.datasets.dataset import Dataset


class Codes:
    """A table of codes by image, filled as images are asked for.

    Attributes:
        dataset: The data set whose images are encoded; it must be deterministic.
        representation: What encodes them.
    """

    def __init__(self, dataset: Dataset, representation: Representation) -> None:
        """Makes an empty table; memory is taken as rows are filled."""
        self.dataset = dataset
        self.representation = representation

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """The codes of images, encoding those that were never asked for.

        Args:
            indices: Integers [n], rows of `dataset.images`.

        Returns:
            [n, latents], contiguous, in the representation's own number type.

        Raises:
            UserError: The representation fails, or gives codes that aren't finite.
        """
        raise NotImplementedError

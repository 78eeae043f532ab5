"""A data set as disentanglement_lib's metrics want it."""

import numpy as np

from submission.datasets import Dataset
from submission.datasets.pixels import in_unit_range


class GroundTruth:
    """The data set with disentanglement_lib's interface: the same draws, the same images.

    It has the methods of `GroundTruthData` there, and doesn't derive from it so that whoever needs
    none of the metrics there needn't import it.

    Attributes:
        dataset: The data set that is sampled.
    """

    def __init__(self, dataset: Dataset) -> None:
        """Wraps a data set."""
        self.dataset = dataset

    @property
    def num_factors(self) -> int:
        """How many factors are scored."""
        return self.dataset.num_factors

    @property
    def factors_num_values(self) -> list[int]:
        """How many values each scored factor takes."""
        return list(self.dataset.factors_num_values)

    @property
    def observation_shape(self) -> list[int]:
        """Height, width and channels of an image."""
        return list(self.dataset.observation_shape)

    def sample_factors(self, num: int, random_state: np.random.RandomState) -> np.ndarray:
        """Draws factors uniformly.

        Args:
            num: How many combinations.
            random_state: The generator to draw from.

        Returns:
            int64 [num, num_factors].
        """
        return self.dataset.sample_factors(num, random_state)

    def sample_observations_from_factors(
        self, factors: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Gives an image of each combination of factors.

        Args:
            factors: int64 [n, num_factors].
            random_state: Draws the factors that are not scored, and the random part of the image.

        Returns:
            [n, h, w, c] in [0, 1]; see `observe`.
        """
        return self.observe(self.dataset.image_indices(factors, random_state), random_state)

    def observe(self, indices: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
        """Gives images by their number.

        Args:
            indices: int64 [n], rows of the data set's images.
            random_state: Draws the random part of the image.

        Returns:
            [n, h, w, c] in [0, 1], float64 for MPI3D as disentanglement_lib's reader gives it and
            float32 otherwise (colour and noisy dSprites are float64 there and rounded here). A
            network in float32 sees no difference; a dilled function of numpy may.
        """
        if self.dataset.float64:
            return in_unit_range(self.dataset.images[indices], self.dataset.white, np.float64)
        return self.dataset.observe(indices, random_state)

    def sample(
        self, num: int, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws factors and an image of each: int64 [num, num_factors] and [num, h, w, c]."""
        factors = self.sample_factors(num, random_state)
        return factors, self.sample_observations_from_factors(factors, random_state)

    def sample_observations(self, num: int, random_state: np.random.RandomState) -> np.ndarray:
        """Draws images alone, [num, h, w, c]: where there is no grid, all are equally likely."""
        if not self.dataset.is_grid:
            return self.observe(
                random_state.randint(len(self.dataset.images), size=num), random_state
            )
        return self.sample(num, random_state)[1]

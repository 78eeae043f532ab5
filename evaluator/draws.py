"""disentanglement_lib's draws without its encodings: which images a metric asks for, in which order.

Every function takes a `RandomState` and leaves it as disentanglement_lib's own loop would.
"""

from dataclasses import dataclass

import numpy as np

from submission.datasets.dataset import Dataset


@dataclass(frozen=True)
class Draws:
    """Images and what was drawn to get them.

    Attributes:
        indices: int64 [n], rows of the data set's images.
        factors: int64 [n, factors].
    """

    indices: np.ndarray
    factors: np.ndarray


def draw(dataset: Dataset, num: int, batch_size: int, random_state: np.random.RandomState) -> Draws:
    """Draws as `generate_batch_factor_code`: a batch after the other, the last one smaller.

    Args:
        dataset: A deterministic data set.
        num: How many images.
        batch_size: How many are drawn at a time; it decides which factors are drawn.
        random_state: Where the draws come from.

    Returns:
        The draws.
    """
    raise NotImplementedError


def draw_votes(
    dataset: Dataset, votes: int, batch_size: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Draws as the FactorVAE metric: for each vote a factor, and images that share its value.

    Args:
        dataset: A deterministic data set.
        votes: How many.
        batch_size: Images a vote.
        random_state: Where the draws come from.

    Returns:
        The fixed factor of each vote, int64 [votes], and the images, int64 [votes, batch_size].
    """
    raise NotImplementedError

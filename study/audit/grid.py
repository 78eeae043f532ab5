"""A grid of factors without images: what codes of every state are scored on."""

import math
from dataclasses import dataclass

import numpy as np

from submission.datasets import Dataset


@dataclass(frozen=True, eq=False)
class Grid(Dataset):
    """A data set's factors that are scored, an image each that nobody reads.

    Attributes:
        coupling: In this share of draws the factors 1, 3, … follow 0, 2, …: a value of the same
            rank. With 0 all are drawn independently.
    """

    coupling: float = 0.0

    def sample_factors(self, num: int, random_state: np.random.RandomState) -> np.ndarray:
        """See `Dataset.sample_factors`; without coupling the draws are the same."""
        factors = super().sample_factors(num, random_state)
        if self.coupling:
            for first in range(0, self.num_factors - 1, 2):
                size, follower = self.factor_sizes[first : first + 2]
                follows = random_state.uniform(size=num) < self.coupling
                same = factors[:, first] * follower // size
                factors[:, first + 1] = np.where(follows, same, factors[:, first + 1])
        return factors


def grid_of(dataset: Dataset, coupling: float = 0.0) -> Grid:
    """The grid of the factors that a data set is scored on.

    Args:
        dataset: The data set.
        coupling: See `Grid`.

    Returns:
        The grid; row i of its images is state i of the scored factors.
    """
    sizes = tuple(dataset.factors_num_values)
    return Grid(
        name=dataset.name,
        images=np.broadcast_to(np.zeros(1, np.uint8), (math.prod(sizes), 1, 1, 1)),
        factor_names=tuple(dataset.factor_names[index] for index in dataset.scored_factors),
        factor_sizes=sizes,
        scored_factors=tuple(range(len(sizes))),
        coupling=coupling,
    )


def factors_of(grid: Dataset) -> np.ndarray:
    """The factors of every state, int64 [states, factors], the last one fastest."""
    states = np.arange(math.prod(grid.factor_sizes))
    return np.stack(np.unravel_index(states, grid.factor_sizes), axis=1)

"""disentanglement_lib's draws without its encodings: the images that a metric asks for, in order.

Every function leaves its `RandomState` as disentanglement_lib's own loop would. Factors that are
not scored are drawn as well, so a code depends on nothing but the image's number.
"""

from dataclasses import dataclass

import numpy as np

from submission.datasets import Dataset


@dataclass(frozen=True)
class Draws:
    """Images and the factors they were drawn with.

    Attributes:
        indices: int64 [n], rows of the data set's images.
        factors: int64 [n, factors].
    """

    indices: np.ndarray
    factors: np.ndarray


def draw(dataset: Dataset, num: int, batch_size: int, random_state: np.random.RandomState) -> Draws:
    """Draws as `generate_batch_factor_code`: a batch after the other, the last one smaller.

    Args:
        dataset: A data set that draws no part of the image at random.
        num: How many images.
        batch_size: How many are drawn at a time; it decides which factors are drawn.
        random_state: Where the draws come from.

    Returns:
        The draws.
    """
    factors, indices = [], []
    for start in range(0, num, batch_size):
        factors.append(dataset.sample_factors(min(batch_size, num - start), random_state))
        indices.append(dataset.image_indices(factors[-1], random_state))
    return Draws(np.concatenate(indices), np.concatenate(factors))


def draw_train_and_test(
    dataset: Dataset, seed: int, *, num_train: int, num_test: int, batch_size: int
) -> tuple[Draws, Draws]:
    """Draws two samples, one after the other.

    Args:
        dataset: A data set that draws no part of the image at random.
        seed: Where the draws start.
        num_train: Images of the first.
        num_test: Images of the second.
        batch_size: How many are drawn at a time.

    Returns:
        Both.
    """
    random_state = np.random.RandomState(seed)
    train = draw(dataset, num_train, batch_size, random_state)
    return train, draw(dataset, num_test, batch_size, random_state)


def images_of_train_and_test(dataset: Dataset, seed: int, **settings: int) -> np.ndarray:
    """The images of both, int64 [num_train + num_test]; settings it has no use for are left."""
    sizes = {name: settings[name] for name in ("num_train", "num_test", "batch_size")}
    return np.concatenate([one.indices for one in draw_train_and_test(dataset, seed, **sizes)])


def images_of_train(dataset: Dataset, seed: int, **settings: int) -> np.ndarray:
    """The images of one sample, int64 [num_train]; settings it has no use for are left."""
    random_state = np.random.RandomState(seed)
    return draw(dataset, settings["num_train"], settings["batch_size"], random_state).indices


def draw_votes(
    dataset: Dataset, votes: int, batch_size: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Draws as the FactorVAE metric: for each vote a factor, and images that share its value.

    Args:
        dataset: A data set that draws no part of the image at random.
        votes: How many.
        batch_size: Images a vote.
        random_state: Where the draws come from.

    Returns:
        The fixed factor of each vote, int64 [votes], and the images, int64 [votes, batch_size].
    """
    fixed = np.empty(votes, dtype=np.int64)
    indices = np.empty((votes, batch_size), dtype=np.int64)
    for vote in range(votes):
        fixed[vote] = random_state.randint(dataset.num_factors)
        factors = dataset.sample_factors(batch_size, random_state)
        factors[:, fixed[vote]] = factors[0, fixed[vote]]
        indices[vote] = dataset.image_indices(factors, random_state)
    return fixed, indices

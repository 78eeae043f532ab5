"""Representations that nobody has trained: what a score is worth nothing below.

Each is made once, with the most latents that are asked for; fewer are the first of these. Of the
untrained encoder that is what one with fewer would be: PyTorch draws the weights of a layer's
outputs independently, from a range that depends on its inputs alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from submission.datasets import Dataset

LATENTS = (1, 2, 5, 10, 20, 50)
"""How many each has."""

_MOST = max(LATENTS)
# The activations of so many images fit the processor's cache.
_BATCH = 64
# Images that principal components are found in: their matrix of inner products is quick to solve.
_FITTED = 2048

Table = Callable[[Dataset, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Baseline:
    """A kind of representation without training.

    Attributes:
        name: In files.
        title: What it is.
        seeds: How many are made.
        table: Makes one: from the data set, the image of each state and the seed, codes
            [states, 50].
    """

    name: str
    title: str
    seeds: int
    table: Table


def constant(dataset: Dataset, images: np.ndarray, seed: int) -> np.ndarray:
    """The same code for every image."""
    code = np.random.RandomState(seed).standard_normal(_MOST)
    return np.broadcast_to(code, (len(images), _MOST))


def noise(dataset: Dataset, images: np.ndarray, seed: int) -> np.ndarray:
    """Normal noise, drawn once for each image."""
    return np.random.RandomState(seed).standard_normal((len(images), _MOST))


def untrained(dataset: Dataset, images: np.ndarray, seed: int) -> np.ndarray:
    """The means of the paper's encoder, of full width, as PyTorch initialises it."""
    import torch

    from submission.networks import Encoder, NetworkShape

    torch.manual_seed(seed)
    encoder = Encoder(NetworkShape(dataset.observation_shape[2], latents=_MOST)).eval()
    with torch.no_grad():
        batches = [
            encoder(torch.from_numpy(batch).permute(0, 3, 1, 2))[0].numpy()
            for batch in _observed(dataset, images)
        ]
    return np.concatenate(batches)


def projected(dataset: Dataset, images: np.ndarray, seed: int) -> np.ndarray:
    """Random projections of the pixels."""
    pixels = int(np.prod(dataset.observation_shape))
    directions = np.random.RandomState(seed).standard_normal((pixels, _MOST)) / np.sqrt(pixels)
    return _along(dataset, images, directions.astype(np.float32))


def principal(dataset: Dataset, images: np.ndarray, seed: int) -> np.ndarray:
    """The principal components of the pixels, found in 2,048 images drawn by the seed."""
    random = np.random.RandomState(seed)
    drawn = images[random.permutation(len(images))[:_FITTED]]
    sample = np.concatenate([_flat(batch) for batch in _observed(dataset, drawn)])
    sample = sample.astype(np.float64) - sample.mean(axis=0, dtype=np.float64)
    _, vectors = np.linalg.eigh(sample @ sample.T)
    directions = sample.T @ vectors[:, : -_MOST - 1 : -1]
    directions /= np.maximum(np.linalg.norm(directions, axis=0), 1e-12)
    return _along(dataset, images, directions.astype(np.float32))


def _along(dataset: Dataset, images: np.ndarray, directions: np.ndarray) -> np.ndarray:
    return np.concatenate([_flat(batch) @ directions for batch in _observed(dataset, images)])


def _observed(dataset: Dataset, images: np.ndarray) -> Iterator[np.ndarray]:
    """float32 [n, h, w, c], a batch after the other."""
    random = np.random.RandomState(0)
    for start in range(0, len(images), _BATCH):
        yield dataset.observe(images[start : start + _BATCH], random)


def _flat(batch: np.ndarray) -> np.ndarray:
    return batch.reshape(len(batch), -1)


BASELINES: Mapping[str, Baseline] = {
    baseline.name: baseline
    for baseline in (
        Baseline("constant", "A constant", 3, constant),
        Baseline("noise", "Noise", 5, noise),
        Baseline("untrained", "Untrained encoders", 20, untrained),
        Baseline("projected", "Random projections of the pixels", 5, projected),
        Baseline("principal", "Principal components of the pixels", 3, principal),
    )
}
"""By name, in the page's order."""

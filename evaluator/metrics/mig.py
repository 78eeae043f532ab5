"""MIG, the mutual information gap: how much more one latent tells of a factor than the next.

Ricky T. Q. Chen, Xuechen Li, Roger Grosse and David Duvenaud, "Isolating Sources of Disentanglement
in Variational Autoencoders", NeurIPS 2018, Section 4.1.
"""

import math
from typing import Any

import numpy as np

from evaluator.codes import Codes
from evaluator.metrics.codes_in_range import two_latents
from evaluator.metrics.discretizer import DISCRETIZER, binned
from evaluator.metrics.draws import draw, images_of_train
from evaluator.metrics.metric import Batch, Metric, Samples


def mig(
    codes: Codes, seed: int, *, num_train: int, batch_size: int, num_bins: int
) -> dict[str, Any]:
    """The mutual information gap (Chen et al., 2018, Section 4.1), of binned codes.

    Args:
        codes: The codes by image.
        seed: Of the draws.
        num_train: Samples.
        batch_size: Draws at a time.
        num_bins: Equal bins between a latent's smallest and largest code.

    Returns:
        `discrete_mig`, and the matrix `information`, in shares of each factor's entropy.
    """
    sample = draw(codes.dataset, num_train, batch_size, np.random.RandomState(seed))
    (latents,) = two_latents(codes[sample.indices])
    bins = [_positions(binned(latent, num_bins)) for latent in latents.T]
    values = [_positions(factor) for factor in sample.factors.T]
    information = np.array([[_mutual_information(v, b) for v in values] for b in bins])
    entropy = np.array([_mutual_information(v, v) for v in values])
    ordered = np.sort(information, axis=0)[::-1]
    return {
        "discrete_mig": float(np.mean(np.divide(ordered[0] - ordered[1], entropy))),
        "information": information / np.where(entropy > 0, entropy, 1),
    }


def _positions(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers distinct values from 0, by rising value; and how many there are."""
    distinct, positions = np.unique(values, return_inverse=True)
    return positions, len(distinct)


def _mutual_information(true: tuple[np.ndarray, int], other: tuple[np.ndarray, int]) -> float:
    """In nats; scikit-learn's `mutual_info_score`, of the same operations in the same order."""
    (rows, height), (columns, width) = true, other
    if height == 1 or width == 1:
        return 0.0
    table = np.bincount(rows * width + columns, minlength=height * width).reshape(height, width)
    row, column = np.nonzero(table)
    count, total = table[row, column], table.sum()
    share = count / total
    expected = table.sum(axis=1)[row] * table.sum(axis=0)[column]
    log_expected = -np.log(expected) + math.log(total) + math.log(total)
    terms = share * (np.log(count) - math.log(total)) + share * log_expected
    terms = np.where(np.abs(terms) < np.finfo(np.float64).eps, 0.0, terms)
    return float(np.clip(terms.sum(), 0.0, None))


MIG = Metric(
    name="mig",
    title="MIG",
    module="mig",
    function="compute_mig",
    configurable="mig",
    score="discrete_mig",
    settings={"mig.num_train": Samples, "mig.batch_size": Batch, **DISCRETIZER},
    compute=mig,
    images=images_of_train,
    least_latents=2,
)

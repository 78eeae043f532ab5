"""DCI: disentanglement, completeness and informativeness, read off boosted trees.

Cian Eastwood and Christopher K. I. Williams, "A Framework for the Quantitative Evaluation of
Disentangled Representations", ICLR 2018.
"""

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from evaluator.codes import Codes
from evaluator.metrics.codes_in_range import two_latents
from evaluator.metrics.draws import draw_train_and_test, images_of_train_and_test
from evaluator.metrics.metric import Batch, Metric, Samples

# disentanglement_lib keeps the logarithm of an importance of 0 finite with this.
_SMALLEST_IMPORTANCE = 1e-11


def dci(
    codes: Codes, seed: int, *, num_train: int, num_test: int, batch_size: int
) -> dict[str, Any]:
    """DCI disentanglement, completeness and informativeness (Eastwood and Williams, 2018).

    Args:
        codes: The codes by image.
        seed: Of the draws, and of the choice between splits that gain the same.
        num_train: Samples that the trees are fitted to.
        num_test: Samples that informativeness is measured on.
        batch_size: Draws at a time.

    Returns:
        `informativeness_train`, `informativeness_test`, `disentanglement`, `completeness`, and the
        matrix `importance`, of which each factor's add up to 1.
    """
    # numba takes a second to import, and a command line that is wrong needs none of it.
    from evaluator.metrics.boosting import importance_matrix

    train, test = draw_train_and_test(
        codes.dataset, seed, num_train=num_train, num_test=num_test, batch_size=batch_size
    )
    train_codes, test_codes = two_latents(codes[train.indices], codes[test.indices])
    importance, train_accuracy, test_accuracy = importance_matrix(
        train_codes, train.factors, test_codes, test.factors, seed
    )
    if importance.shape[1] == 1:
        warnings.warn("with one factor every latent is disentangled: DCI is 1", stacklevel=2)
    return {
        "informativeness_train": train_accuracy,
        "informativeness_test": test_accuracy,
        "disentanglement": concentration(importance),
        "completeness": concentration(importance.T),
        "importance": importance,
    }


def concentration(importance: np.ndarray) -> float:
    """One less each row's entropy, in units of the greatest, weighted by the row's importance."""
    shares = importance + _SMALLEST_IMPORTANCE
    shares = shares / shares.sum(axis=1, keepdims=True)
    entropy = -(shares * np.log(shares)).sum(axis=1)
    columns = importance.shape[1]
    per_row = 1 - entropy / math.log(columns) if columns > 1 else np.ones(len(importance))
    if importance.sum() == 0:
        importance = np.ones_like(importance)
    return float(np.sum(per_row * (importance.sum(axis=1) / importance.sum())))


DCI = Metric(
    name="dci",
    title="DCI",
    module="dci",
    function="compute_dci",
    configurable="dci",
    score="disentanglement",
    settings={"dci.num_train": Samples, "dci.num_test": Samples, "dci.batch_size": Batch},
    compute=dci,
    images=images_of_train_and_test,
)
COMPLETENESS = replace(
    DCI, name="dci_completeness", title="DCI completeness", score="completeness", part_of="dci"
)
INFORMATIVENESS = replace(
    DCI,
    name="dci_informativeness",
    title="DCI informativeness",
    score="informativeness_test",
    part_of="dci",
)

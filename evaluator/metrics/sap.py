"""SAP, the separated attribute predictability: how much better one latent predicts a factor.

Abhishek Kumar, Prasanna Sattigeri and Avinash Balakrishnan, "Variational Inference of Disentangled
Latent Concepts from Unlabeled Observations", ICLR 2018, Section 3.
"""

from typing import Any

import numpy as np

from evaluator.codes import Codes
from evaluator.metrics.codes_in_range import two_latents
from evaluator.metrics.draws import draw_train_and_test, images_of_train_and_test
from evaluator.metrics.metric import Batch, Metric, Samples


def sap_score(
    codes: Codes,
    seed: int,
    *,
    num_train: int,
    num_test: int,
    batch_size: int,
    continuous_factors: bool,
) -> dict[str, Any]:
    """The SAP score (Kumar et al., 2018, Section 3).

    Args:
        codes: The codes by image.
        seed: Of the draws.
        num_train: Samples that the SVMs are fitted to.
        num_test: Samples that their accuracy is measured on.
        batch_size: Draws at a time.
        continuous_factors: Whether the squared correlation is the score of a latent and a factor,
            instead of the accuracy.

    Returns:
        `SAP_score`, and the matrix that it is the gap of, `accuracy` or `squared_correlation`.
    """
    # numba takes a second to import, and a command line that is wrong needs none of it.
    from evaluator.metrics.linear_svc import score_matrix

    train, test = draw_train_and_test(
        codes.dataset, seed, num_train=num_train, num_test=num_test, batch_size=batch_size
    )
    train_codes, test_codes = two_latents(codes[train.indices], codes[test.indices])
    if continuous_factors:
        matrix = _squared_correlations(train_codes, train.factors)
    else:
        matrix = score_matrix(train_codes, train.factors, test_codes, test.factors)
    best = np.sort(matrix, axis=0)
    name = "squared_correlation" if continuous_factors else "accuracy"
    return {"SAP_score": float(np.mean(best[-1] - best[-2])), name: matrix}


def _squared_correlations(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """[latents, factors]; 0 for a latent that hardly varies, as in disentanglement_lib."""
    matrix = np.zeros((codes.shape[1], factors.shape[1]))
    for latent, code in enumerate(codes.T):
        for f, factor in enumerate(factors.T):
            covariance = np.cov(code, factor, ddof=1)
            if covariance[0, 0] > 1e-12:
                squared = covariance[0, 1] ** 2
                matrix[latent, f] = squared * 1.0 / (covariance[0, 0] * covariance[1, 1])
    return matrix


SAP = Metric(
    name="sap_score",
    title="SAP",
    module="sap_score",
    function="compute_sap",
    configurable="sap_score",
    score="SAP_score",
    settings={
        "sap_score.num_train": Samples,
        "sap_score.num_test": Samples,
        "sap_score.batch_size": Batch,
        "sap_score.continuous_factors": bool,
    },
    compute=sap_score,
    images=images_of_train_and_test,
    least_latents=2,
)

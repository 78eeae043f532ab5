"""IRS, the interventional robustness score: how still a latent stands while other factors change.

Raphael Suter, Djordje Miladinovic, Bernhard Schoelkopf and Stefan Bauer, "Robustly Disentangled
Causal Mechanisms", ICML 2019, Section 4.

Latents that are constant are left out, not only those whose variance isn't rounded to more than
zero, where that takes disentanglement_lib's score out of [0, 1]; a warning says so.
"""

import warnings

import numpy as np

from evaluator.codes import Codes
from evaluator.metrics.codes_in_range import divided, exponents_of
from evaluator.metrics.discretizer import DISCRETIZER, binned
from evaluator.metrics.draws import draw, images_of_train
from evaluator.metrics.metric import Batch, Metric, Samples, Values
from submission.values import Share


def irs(
    codes: Codes,
    seed: int,
    *,
    num_train: int,
    batch_size: int,
    diff_quantile: float,
    num_bins: int,
) -> Values:
    """The interventional robustness score (Suter et al., 2019, Section 4).

    Args:
        codes: The codes by image.
        seed: Of the draws.
        num_train: Samples.
        batch_size: Draws at a time.
        diff_quantile: Which quantile of the deviations counts as the largest.
        num_bins: Bins of the factors' values.

    Returns:
        `IRS`, and `num_active_dims`, in which disentanglement_lib adds up the codes that vary.
    """
    sample = draw(codes.dataset, num_train, batch_size, np.random.RandomState(seed))
    drawn = codes[sample.indices]
    with np.errstate(over="ignore"):
        means = np.mean(np.abs(drawn), axis=0)
    if not np.isfinite(means).all():
        warnings.warn(
            f"the mean of codes up to {np.abs(drawn).max():.2g} overflows {drawn.dtype}: "
            "computed from codes divided by a power of two",
            stacklevel=2,
        )
        drawn = divided(drawn, exponents_of(drawn).max())
    factors = [binned(factor, num_bins) for factor in sample.factors.T]
    # Constant latents divide zero by zero here; what comes of it is looked at below.
    with np.errstate(all="ignore"):
        score, active = _irs(drawn, factors, diff_quantile)
    constant = drawn.min(axis=0) == drawn.max(axis=0)
    if constant.any() and not 0 <= score <= 1:
        warnings.warn(
            f"{constant.sum()} latents are constant, and rounding makes disentanglement_lib's IRS "
            f"{score:.4g}: computed without them",
            stacklevel=2,
        )
        drawn = np.where(constant, drawn.dtype.type(0), drawn)
        score, active = _irs(drawn, factors, diff_quantile)
    return {"IRS": score, "num_active_dims": active}


def _irs(
    codes: np.ndarray, factors: list[np.ndarray], diff_quantile: float
) -> tuple[float, float | int]:
    """The score and the sum of the codes that vary.

    Args:
        codes: [n, latents].
        factors: Binned values [n] of each factor.
        diff_quantile: Which quantile of the deviations counts.
    """
    # The selection of rows of the transposed codes leaves them in the layout that the reference
    # sums them in.
    varying = codes.T[codes.T.var(axis=1) > 0, :]
    if not varying.any():
        return 0.0, _sum(varying)
    latents = varying.T
    largest = np.max(np.abs(latents - latents.mean(axis=0)), axis=0)
    deviations = np.zeros((latents.shape[1], len(factors)))
    for column, factor in enumerate(factors):
        values = np.unique(factor)
        for value in values:
            group = latents[factor == value, :]
            distances = np.abs(group - np.mean(group, axis=0))
            deviations[:, column] += np.percentile(distances, q=diff_quantile * 100, axis=0)
        deviations[:, column] /= len(values)
    robustness = (1.0 - deviations / largest[:, np.newaxis]).max(axis=1)
    if np.sum(largest) > 0.0:
        score = np.average(robustness, weights=largest)
    else:
        score = np.mean(robustness)
    return float(score), _sum(varying)


def _sum(codes: np.ndarray) -> float | int:
    """In the type of the codes, as disentanglement_lib; in float64 where that overflows."""
    with np.errstate(over="ignore"):
        total = np.sum(codes)
    return total.item() if np.isfinite(total) else np.sum(codes, dtype=np.float64).item()


IRS = Metric(
    name="irs",
    title="IRS",
    module="irs",
    function="compute_irs",
    configurable="irs",
    score="IRS",
    settings={
        "irs.num_train": Samples,
        "irs.batch_size": Batch,
        "irs.diff_quantile": Share,
        **DISCRETIZER,
    },
    compute=irs,
    images=images_of_train,
    drops_constants=True,
)

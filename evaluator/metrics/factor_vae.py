"""The FactorVAE metric: which latent varies least while one factor is held.

Hyunjik Kim and Andriy Mnih, "Disentangling by Factorising", ICML 2018, Section 4.
"""

import warnings
from typing import Annotated

import numpy as np

from evaluator.codes import Codes
from evaluator.metrics.codes_in_range import divided, exponents_of
from evaluator.metrics.draws import draw_votes
from evaluator.metrics.metric import Metric, Samples, Values
from submission.datasets import Dataset
from submission.values import Interval

# Votes whose codes are looked up at a time, to bound the memory.
_VOTES = 256


def factor_vae_metric(
    codes: Codes,
    seed: int,
    *,
    num_variance_estimate: int,
    num_train: int,
    num_eval: int,
    batch_size: int,
    threshold: float,
) -> Values:
    """The FactorVAE metric (Kim and Mnih, 2018, Section 4).

    Args:
        codes: The codes by image.
        seed: Of the draws.
        num_variance_estimate: Samples for each latent's variance.
        num_train: Votes that say which factor a latent stands for.
        num_eval: Votes that are checked against that.
        batch_size: Images a vote.
        threshold: Latents with a smaller standard deviation don't vote.

    Returns:
        `train_accuracy`, `eval_accuracy`, and `num_active_dims`, in which disentanglement_lib
        counts all latents (or none, where none votes).
    """
    random_state = np.random.RandomState(seed)
    factors = codes.dataset.sample_factors(num_variance_estimate, random_state)
    sample = codes[codes.dataset.image_indices(factors, random_state)]
    with np.errstate(over="ignore", invalid="ignore"):
        variances = np.var(sample, axis=0, ddof=1)
        deviations = np.sqrt(variances)
    exponents = None
    if not np.isfinite(variances).all():
        warnings.warn(
            f"the variance of codes up to {np.abs(sample).max():.2g} overflows {sample.dtype}: "
            "computed from codes divided by a power of two",
            stacklevel=2,
        )
        exponents = exponents_of(sample)
        variances = np.var(divided(sample, exponents), axis=0, ddof=1)
        with np.errstate(over="ignore"):
            deviations = np.ldexp(np.sqrt(variances), exponents)
    active = deviations >= threshold
    if not active.any():
        return {"train_accuracy": 0.0, "eval_accuracy": 0.0, "num_active_dims": 0}

    def count_votes(votes: int) -> np.ndarray:
        fixed, indices = draw_votes(codes.dataset, votes, batch_size, random_state)
        counts = np.zeros((codes.dataset.num_factors, len(active)), dtype=np.int64)
        for start in range(0, votes, _VOTES):
            block = codes[indices[start : start + _VOTES]]
            if exponents is not None:
                block = divided(block, exponents)
            # One by one: numpy sums a stack of votes in another order than a single one.
            for factor, batch in zip(fixed[start : start + _VOTES], block, strict=True):
                ratios = np.var(batch, axis=0, ddof=1)[active] / variances[active]
                counts[factor, np.argmin(ratios)] += 1
        return counts

    train = count_votes(num_train)
    factor_of_latent = np.argmax(train, axis=0)
    evaluation = count_votes(num_eval)
    latents = np.arange(len(active))
    return {
        "train_accuracy": float(train[factor_of_latent, latents].sum() / num_train),
        "eval_accuracy": float(evaluation[factor_of_latent, latents].sum() / num_eval),
        "num_active_dims": len(active),
    }


def images(
    dataset: Dataset,
    seed: int,
    *,
    num_variance_estimate: int,
    num_train: int,
    num_eval: int,
    batch_size: int,
    threshold: float,
) -> np.ndarray:
    """The images that the metric looks at, int64 [n]; all of them, where nearly all are drawn."""
    everything = np.arange(len(dataset.images))
    # Of which e^-4 = 2 % would be missed, and drawing takes longer than encoding them.
    if (num_train + num_eval) * batch_size >= 4 * len(everything):
        return everything
    random_state = np.random.RandomState(seed)
    factors = dataset.sample_factors(num_variance_estimate, random_state)
    sample = dataset.image_indices(factors, random_state)
    votes = [
        draw_votes(dataset, count, batch_size, random_state)[1] for count in (num_train, num_eval)
    ]
    return np.concatenate([sample, *(one.ravel() for one in votes)])


FACTOR_VAE = Metric(
    name="factor_vae_metric",
    title="FactorVAE",
    module="factor_vae",
    function="compute_factor_vae",
    configurable="factor_vae_score",
    score="eval_accuracy",
    settings={
        "factor_vae_score.num_variance_estimate": Samples,
        "factor_vae_score.num_train": Samples,
        "factor_vae_score.num_eval": Samples,
        # Of one image there is no variance.
        "factor_vae_score.batch_size": Annotated[int, Interval(ge=2, le=1_000_000)],
        "prune_dims.threshold": Annotated[float, Interval(ge=0, le=1e9)],
    },
    compute=factor_vae_metric,
    images=images,
)
